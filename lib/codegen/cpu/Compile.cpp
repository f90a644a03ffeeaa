//===- Compile.cpp - kernels to an object file ------------------------------===//

#include "lib/codegen/cpu/Compile.h"
#include "dialects/nn/ScalarBuilder.h"
#include "lib/codegen/cpu/VectorMath.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Triple.h"
#include <atomic>
#include <thread>

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// Replaces math functions on f32 vectors by polynomials (relative error at most 2e-7, study/).
/// Scalars keep the libm call: they are the reference.
struct ExpandVectorMath : PassWrapper<ExpandVectorMath, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandVectorMath)
  explicit ExpandVectorMath(const Target &target) : target(target) {}
  const Target &target;
  StringRef getArgument() const override { return "expand-vector-math"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, math::MathDialect, scf::SCFDialect, vector::VectorDialect>();
  }
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateVectorMathPatterns(patterns, target);
    populateMathPolynomialApproximationPatterns(patterns);
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (!isa<math::MathDialect>(op->getDialect()) || op->getNumResults() != 1)
        return;
      auto vector = dyn_cast<VectorType>(op->getResult(0).getType());
      if (vector && vector.getElementType().isF32())
        ops.push_back(op);
    });
    GreedyRewriteConfig config;
    config.setStrictness(GreedyRewriteStrictness::ExistingAndNewOps);
    if (failed(applyOpPatternsGreedily(ops, std::move(patterns), config)))
      signalPassFailure();
  }
};

/// Makes integers of f16 and bf16 values where the target has no instructions for them, from memory to conversions: LLVM
/// would call functions that no library has to have, also for comparisons that it makes of ours.
struct ExpandHalfFloats : PassWrapper<ExpandHalfFloats, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandHalfFloats)
  explicit ExpandHalfFloats(const Target &target) : target(target) {}
  const Target &target;
  StringRef getArgument() const override { return "expand-half-floats"; }
  bool isForeign(Type type) const {
    Type element = getElementTypeOrSelf(type);
    return (element.isF16() && !target.f16) || (element.isBF16() && !target.bf16);
  }

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    Type f32 = rewriter.getF32Type(), i16 = rewriter.getI16Type();
    getOperation()->walk([&](Operation *op) {
      rewriter.setInsertionPoint(op);
      nn::ScalarBuilder s{rewriter, op->getLoc()};
      auto bitsOf = [&](Value v) { return s.make<arith::BitcastOp>(nn::withElement(v.getType(), i16), v); };
      auto replace = [&](Value bits) {
        rewriter.replaceOp(op, s.make<arith::BitcastOp>(op->getResult(0).getType(), bits));
      };
      bool isForeignResult = op->getNumResults() == 1 && isForeign(op->getResult(0).getType());
      if (auto ext = dyn_cast<arith::ExtFOp>(op); ext && isForeign(ext.getIn().getType())) {
        Value wide = s.widenByBits(ext.getIn());
        rewriter.replaceOp(op, s.element(ext).isF64() ? s.make<arith::ExtFOp>(ext.getType(), wide) : wide);
      } else if (auto trunc = dyn_cast<arith::TruncFOp>(op); trunc && isForeignResult) {
        Value x = trunc.getIn();
        Value wide = s.element(x).isF64() ? s.make<arith::TruncFOp>(nn::withElement(x.getType(), f32), x) : x;
        rewriter.replaceOp(op, s.narrowByBits(wide, s.element(trunc)));
      } else if (auto select = dyn_cast<arith::SelectOp>(op); select && isForeignResult) {
        replace(s.select(select.getCondition(), bitsOf(select.getTrueValue()), bitsOf(select.getFalseValue())));
      } else if (auto load = dyn_cast<LLVM::LoadOp>(op); load && isForeignResult) {
        replace(s.make<LLVM::LoadOp>(nn::withElement(load.getType(), i16), load.getAddr(), load.getAlignment().value_or(0)));
      } else if (auto load = dyn_cast<LLVM::MaskedLoadOp>(op); load && isForeignResult) {
        auto bits = cast<VectorType>(nn::withElement(load.getType(), i16));
        replace(s.make<LLVM::MaskedLoadOp>(bits, load.getData(), load.getMask(), bitsOf(load.getPassThru()), load.getAlignment()));
      } else if (auto store = dyn_cast<LLVM::StoreOp>(op); store && isForeign(store.getValue().getType())) {
        store.getValueMutable().assign(bitsOf(store.getValue()));
      } else if (auto store = dyn_cast<LLVM::MaskedStoreOp>(op); store && isForeign(store.getValue().getType())) {
        store.getValueMutable().assign(bitsOf(store.getValue()));
      }
    });
  }
};

} // namespace

void registerCodegenDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, math::MathDialect, vector::VectorDialect, scf::SCFDialect, func::FuncDialect,
                  LLVM::LLVMDialect, cf::ControlFlowDialect, ub::UBDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertFuncToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  ub::registerConvertUBToLLVMInterface(registry);
}

static LogicalResult lowerToLLVMDialect(ModuleOp module, const Target &target) {
  PassManager pm(module.getContext());
  OpPassManager &functions = pm.nest<func::FuncOp>();
  functions.addPass(createCanonicalizerPass());
  functions.addPass(createCSEPass());
  functions.addPass(createLoopInvariantCodeMotionPass());
  functions.addPass(std::make_unique<ExpandVectorMath>(target));
  if (!target.f16 || !target.bf16)
    functions.addPass(std::make_unique<ExpandHalfFloats>(target));
  functions.addPass(createCSEPass());
  functions.addPass(createSCFToControlFlowPass());
  // Functions that only libm has are taken apart into scalars, by vector operations.
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(module);
}

//===----------------------------------------------------------------------===//
// LLVM
//===----------------------------------------------------------------------===//

static std::unique_ptr<llvm::TargetMachine> createMachine(const Target &target, int optLevel, std::string &error) {
  llvm::Triple triple(target.triple);
  const llvm::Target *llvmTarget = llvm::TargetRegistry::lookupTarget("", triple, error);
  if (!llvmTarget)
    return nullptr;
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast; // contraction is the only relaxation
  return std::unique_ptr<llvm::TargetMachine>(
      llvmTarget->createTargetMachine(triple, target.cpu, target.features, options, llvm::Reloc::PIC_, std::nullopt,
                                      optLevel ? llvm::CodeGenOptLevel::Default : llvm::CodeGenOptLevel::Less));
}

/// Adds the metadata blob, the kernel table and the exported descriptor.
static void addDescriptor(llvm::Module &m, const Program &program, ArrayRef<char> meta, const CompileOptions &options) {
  llvm::LLVMContext &ctx = m.getContext();
  auto *i32 = llvm::Type::getInt32Ty(ctx), *i64 = llvm::Type::getInt64Ty(ctx);
  auto *ptr = llvm::PointerType::get(ctx, 0);
  auto *blob = llvm::ConstantDataArray::getString(ctx, StringRef(meta.data(), meta.size()), /*AddNull=*/false);
  auto *metaVar = new llvm::GlobalVariable(m, blob->getType(), true, llvm::GlobalValue::InternalLinkage, blob, "nnopt.meta");
  metaVar->setAlignment(llvm::Align(16));
  SmallVector<llvm::Constant *> kernels;
  auto *kernelType = llvm::FunctionType::get(llvm::Type::getVoidTy(ctx), {ptr, ptr, i64, i64, i64}, false);
  for (const std::string &name : program.kernelNames) {
    llvm::Function *f = m.getFunction(name);
    if (!f) {
      f = llvm::Function::Create(kernelType, llvm::GlobalValue::ExternalLinkage, name, m);
      f->setVisibility(llvm::GlobalValue::HiddenVisibility);
    }
    kernels.push_back(f);
  }
  auto *tableType = llvm::ArrayType::get(ptr, kernels.size());
  auto *table = new llvm::GlobalVariable(m, tableType, true, llvm::GlobalValue::InternalLinkage,
                                         llvm::ConstantArray::get(tableType, kernels), "nnopt.kernels");
  auto elsewhere = [&](StringRef symbol) -> llvm::Constant * {
    if (symbol.empty())
      return llvm::ConstantPointerNull::get(ptr);
    auto *global =
        new llvm::GlobalVariable(m, llvm::Type::getInt8Ty(ctx), true, llvm::GlobalValue::ExternalLinkage, nullptr, symbol);
    global->setVisibility(llvm::GlobalValue::HiddenVisibility);
    return global;
  };
  auto *type = llvm::StructType::get(ctx, {i32, i32, ptr, ptr, i64, ptr, ptr});
  auto *init = llvm::ConstantStruct::get(
      type, {llvm::ConstantInt::get(i32, NNOPT_FORMAT_VERSION), llvm::ConstantInt::get(i32, kernels.size()), table,
             metaVar, llvm::ConstantInt::get(i64, meta.size()), elsewhere(options.deviceSymbol), elsewhere(options.versionsSymbol)});
  auto *descriptor =
      new llvm::GlobalVariable(m, type, true, llvm::GlobalValue::ExternalLinkage, init, options.descriptorSymbol);
  if (!options.exported)
    descriptor->setVisibility(llvm::GlobalValue::HiddenVisibility);
}

static void setAttributes(llvm::Module &m, const Target &target) {
  for (llvm::Function &f : m) {
    if (f.isDeclaration())
      continue;
    f.addFnAttr("target-cpu", target.cpu);
    f.addFnAttr("tune-cpu", target.tuneCpu);
    if (!target.features.empty())
      f.addFnAttr("target-features", target.features);
    if (target.isX86)
      f.addFnAttr("prefer-vector-width", std::to_string(target.vectorBits));
    f.addFnAttr("frame-pointer", "none");
    f.addFnAttr(llvm::Attribute::NoUnwind);
    if (f.getName().ends_with(".body")) {
      // Bodies stay functions of their own, so that profilers show one symbol for each kernel.
      f.setLinkage(llvm::GlobalValue::InternalLinkage);
      f.addFnAttr(llvm::Attribute::NoInline);
    } else {
      f.setVisibility(llvm::GlobalValue::HiddenVisibility);
    }
  }
}

static void optimize(llvm::Module &m, llvm::TargetMachine &machine, int optLevel) {
  llvm::LoopAnalysisManager lam;
  llvm::FunctionAnalysisManager fam;
  llvm::CGSCCAnalysisManager cgam;
  llvm::ModuleAnalysisManager mam;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(mam);
  builder.registerCGSCCAnalyses(cgam);
  builder.registerFunctionAnalyses(fam);
  builder.registerLoopAnalyses(lam);
  builder.crossRegisterProxies(lam, fam, cgam, mam);
  llvm::ModulePassManager mpm =
      builder.buildPerModuleDefaultPipeline(optLevel ? llvm::OptimizationLevel::O2 : llvm::OptimizationLevel::O1);
  mpm.run(m, mam);
}

static bool emitCode(llvm::Module &m, llvm::TargetMachine &machine, CodeKind kind, SmallVectorImpl<char> &out) {
  llvm::raw_svector_ostream os(out);
  if (kind == CodeKind::LLVMIR) {
    m.print(os, nullptr);
    return true;
  }
  llvm::legacy::PassManager codegen;
  auto type = kind == CodeKind::Assembly ? llvm::CodeGenFileType::AssemblyFile : llvm::CodeGenFileType::ObjectFile;
  if (machine.addPassesToEmitFile(codegen, os, nullptr, type))
    return false;
  codegen.run(m);
  return true;
}

namespace {

/// The kernels of one unit of compilation: units do not depend on the number of threads, so that
/// the artifact does not either.
struct Unit {
  SmallVector<llvm::StringRef> kernels;
  size_t instructions = 0;
  SmallVector<char, 0> object;
  std::string error;
};

} // namespace

static std::vector<Unit> partition(llvm::Module &m, const Program &program) {
  constexpr size_t unitSize = 4000; // instructions: some tens of milliseconds
  std::vector<Unit> units;
  for (const std::string &name : program.kernelNames) {
    size_t size = m.getFunction(name + ".body")->getInstructionCount();
    if (units.empty() || units.back().instructions + size > unitSize)
      units.emplace_back();
    units.back().kernels.push_back(name);
    units.back().instructions += size;
  }
  return units;
}

/// Compiles one unit from the bitcode of the whole module.
static void compileUnit(Unit &unit, StringRef bitcode, const Target &target, int optLevel) {
  llvm::LLVMContext ctx;
  auto m = llvm::getLazyBitcodeModule(llvm::MemoryBufferRef(bitcode, "kernels"), ctx);
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(target, optLevel, unit.error);
  if (!machine)
    return;
  if (!m) {
    unit.error = llvm::toString(m.takeError());
    return;
  }
  llvm::Module &module = **m;
  for (llvm::StringRef name : unit.kernels)
    for (llvm::Function *f : {module.getFunction(name), module.getFunction((name + ".body").str())})
      if (llvm::Error error = f->materialize()) {
        unit.error = llvm::toString(std::move(error));
        return;
      }
  // What was not materialized belongs to other units.
  SmallVector<llvm::Function *> others;
  for (llvm::Function &f : module)
    if (f.isMaterializable())
      others.push_back(&f);
  for (llvm::Function *f : others)
    f->eraseFromParent();
  if (llvm::Error error = module.materializeAll()) {
    unit.error = llvm::toString(std::move(error));
    return;
  }
  optimize(module, *machine, optLevel);
  if (!emitCode(module, *machine, CodeKind::Object, unit.object))
    unit.error = "LLVM cannot emit code for " + target.triple;
}

bool emitData(llvm::Module &module, const Target &target, SmallVectorImpl<char> &object, std::string &error) {
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(target, 0, error);
  if (!machine)
    return false;
  module.setTargetTriple(llvm::Triple(target.triple));
  module.setDataLayout(machine->createDataLayout());
  if (!emitCode(module, *machine, CodeKind::Object, object))
    error = "LLVM cannot emit data for " + target.triple;
  return error.empty();
}

LogicalResult compileKernels(ModuleOp kernels, const Program &program, ArrayRef<char> meta, const Target &target,
                             const CompileOptions &options, std::vector<SmallVector<char, 0>> &out) {
  auto progress = [&](double f) {
    if (options.progress)
      options.progress(f);
  };
  if (failed(lowerToLLVMDialect(kernels, target)))
    return failure();
  progress(0.3);

  llvm::LLVMContext ctx;
  std::unique_ptr<llvm::Module> m = translateModuleToLLVMIR(kernels, ctx, "nnopt");
  if (!m)
    return failure();
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(target, options.optLevel, error);
  if (!machine)
    return kernels.emitError(error);
  m->setTargetTriple(llvm::Triple(target.triple));
  m->setDataLayout(machine->createDataLayout());
  setAttributes(*m, target);

  if (options.kind != CodeKind::Object) {
    addDescriptor(*m, program, meta, options);
    optimize(*m, *machine, options.optLevel);
    out.emplace_back();
    if (!emitCode(*m, *machine, options.kind, out.back()))
      return kernels.emitError("LLVM cannot emit code for ") << target.triple;
    return success();
  }

  std::vector<Unit> units = partition(*m, program);
  SmallVector<char, 0> bitcode;
  {
    llvm::raw_svector_ostream os(bitcode);
    llvm::WriteBitcodeToFile(*m, os);
  }
  StringRef bits(bitcode.data(), bitcode.size());
  progress(0.4);
  std::atomic<size_t> next = 0, done = 0;
  auto work = [&] {
    for (size_t i; (i = next++) < units.size();) {
      compileUnit(units[i], bits, target, options.optLevel);
      ++done;
    }
  };
  size_t threadCount = std::min<size_t>(units.size(), std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (size_t i = 1; i < threadCount; ++i)
    threads.emplace_back(work);
  work();
  for (std::thread &t : threads)
    t.join();
  progress(1.0);
  for (Unit &unit : units) {
    if (!unit.error.empty())
      return kernels.emitError(unit.error);
    out.push_back(std::move(unit.object));
  }

  llvm::Module descriptor("descriptor", ctx);
  descriptor.setTargetTriple(llvm::Triple(target.triple));
  descriptor.setDataLayout(machine->createDataLayout());
  addDescriptor(descriptor, program, meta, options);
  out.emplace_back();
  if (!emitCode(descriptor, *machine, CodeKind::Object, out.back()))
    return kernels.emitError("LLVM cannot emit code for ") << target.triple;
  return success();
}

} // namespace nnopt::cpu
