//===- Compile.cpp - kernels to an object file ------------------------------===//

#include "lib/codegen/cpu/Compile.h"
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

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// Replaces math functions on f32 vectors by polynomials (relative error at most 2e-7, study/).
/// Scalars keep the libm call: they are the reference.
struct ExpandVectorMath : PassWrapper<ExpandVectorMath, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandVectorMath)
  StringRef getArgument() const override { return "expand-vector-math"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, math::MathDialect, vector::VectorDialect>();
  }
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
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

static LogicalResult lowerToLLVMDialect(ModuleOp module) {
  PassManager pm(module.getContext());
  OpPassManager &functions = pm.nest<func::FuncOp>();
  functions.addPass(createCanonicalizerPass());
  functions.addPass(createCSEPass());
  functions.addPass(createLoopInvariantCodeMotionPass());
  functions.addPass(std::make_unique<ExpandVectorMath>());
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

/// Adds the metadata blob, the kernel table and the exported descriptor.
static void addDescriptor(llvm::Module &m, const Program &program, ArrayRef<char> meta, StringRef symbol) {
  llvm::LLVMContext &ctx = m.getContext();
  auto *i32 = llvm::Type::getInt32Ty(ctx), *i64 = llvm::Type::getInt64Ty(ctx);
  auto *ptr = llvm::PointerType::get(ctx, 0);
  auto *blob = llvm::ConstantDataArray::getString(ctx, StringRef(meta.data(), meta.size()), /*AddNull=*/false);
  auto *metaVar = new llvm::GlobalVariable(m, blob->getType(), true, llvm::GlobalValue::InternalLinkage, blob, "nnopt.meta");
  metaVar->setAlignment(llvm::Align(16));
  SmallVector<llvm::Constant *> kernels;
  for (const std::string &name : program.kernelNames) {
    llvm::Function *f = m.getFunction(name);
    f->setLinkage(llvm::GlobalValue::InternalLinkage);
    kernels.push_back(f);
  }
  auto *tableType = llvm::ArrayType::get(ptr, kernels.size());
  auto *table = new llvm::GlobalVariable(m, tableType, true, llvm::GlobalValue::InternalLinkage,
                                         llvm::ConstantArray::get(tableType, kernels), "nnopt.kernels");
  auto *type = llvm::StructType::get(ctx, {i32, i32, ptr, ptr, i64});
  auto *init = llvm::ConstantStruct::get(
      type, {llvm::ConstantInt::get(i32, NNOPT_FORMAT_VERSION), llvm::ConstantInt::get(i32, kernels.size()), table,
             metaVar, llvm::ConstantInt::get(i64, meta.size())});
  new llvm::GlobalVariable(m, type, true, llvm::GlobalValue::ExternalLinkage, init, symbol);
}

LogicalResult compileKernels(ModuleOp kernels, const Program &program, ArrayRef<char> meta, const Target &target,
                             const CompileOptions &options, SmallVectorImpl<char> &out) {
  auto progress = [&](double f) {
    if (options.progress)
      options.progress(f);
  };
  if (failed(lowerToLLVMDialect(kernels)))
    return failure();
  progress(0.3);

  llvm::LLVMContext ctx;
  std::unique_ptr<llvm::Module> m = translateModuleToLLVMIR(kernels, ctx, "nnopt");
  if (!m)
    return failure();
  std::string error;
  llvm::Triple triple(target.triple);
  const llvm::Target *llvmTarget = llvm::TargetRegistry::lookupTarget("", triple, error);
  if (!llvmTarget)
    return kernels.emitError(error);
  llvm::TargetOptions targetOptions;
  targetOptions.AllowFPOpFusion = llvm::FPOpFusion::Fast; // contraction is the only relaxation
  std::unique_ptr<llvm::TargetMachine> machine(llvmTarget->createTargetMachine(
      triple, target.cpu, target.features, targetOptions, llvm::Reloc::PIC_, std::nullopt,
      options.optLevel ? llvm::CodeGenOptLevel::Default : llvm::CodeGenOptLevel::Less));
  m->setTargetTriple(triple);
  m->setDataLayout(machine->createDataLayout());
  for (llvm::Function &f : *m) {
    if (f.isDeclaration())
      continue;
    f.addFnAttr("target-cpu", target.cpu);
    if (!target.features.empty())
      f.addFnAttr("target-features", target.features);
    if (target.isX86)
      f.addFnAttr("prefer-vector-width", std::to_string(target.vectorBits));
    f.addFnAttr("frame-pointer", "none");
    f.addFnAttr(llvm::Attribute::NoUnwind);
    // Bodies stay functions of their own, so that profilers show one symbol for each kernel.
    if (f.getName().ends_with(".body")) {
      f.setLinkage(llvm::GlobalValue::InternalLinkage);
      f.addFnAttr(llvm::Attribute::NoInline);
    }
  }
  addDescriptor(*m, program, meta, options.descriptorSymbol);

  llvm::LoopAnalysisManager lam;
  llvm::FunctionAnalysisManager fam;
  llvm::CGSCCAnalysisManager cgam;
  llvm::ModuleAnalysisManager mam;
  llvm::PassBuilder builder(machine.get());
  builder.registerModuleAnalyses(mam);
  builder.registerCGSCCAnalyses(cgam);
  builder.registerFunctionAnalyses(fam);
  builder.registerLoopAnalyses(lam);
  builder.crossRegisterProxies(lam, fam, cgam, mam);
  llvm::ModulePassManager mpm =
      builder.buildPerModuleDefaultPipeline(options.optLevel ? llvm::OptimizationLevel::O2 : llvm::OptimizationLevel::O1);
  mpm.run(*m, mam);
  progress(0.6);

  llvm::raw_svector_ostream os(out);
  if (options.kind == CodeKind::LLVMIR) {
    m->print(os, nullptr);
    return success();
  }
  llvm::legacy::PassManager codegen;
  auto fileType =
      options.kind == CodeKind::Assembly ? llvm::CodeGenFileType::AssemblyFile : llvm::CodeGenFileType::ObjectFile;
  if (machine->addPassesToEmitFile(codegen, os, nullptr, fileType))
    return kernels.emitError("LLVM cannot emit code for ") << target.triple;
  codegen.run(*m);
  progress(1.0);
  return success();
}

} // namespace nnopt::cpu
