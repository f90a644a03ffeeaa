//===- Compile.cpp - kernels to object files --------------------------------===//

#include "lib/codegen/cpu/Compile.h"
#include "lib/codegen/cpu/LowerToLLVM.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Analysis/LoopInfo.h"
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

/// Lowers kernels, in place, and translates them. `pm`: buildLowerToLLVM().
static std::unique_ptr<llvm::Module> translate(ModuleOp kernels, PassManager &pm, llvm::LLVMContext &ctx, const Target &target,
                                               llvm::TargetMachine &machine) {
  if (failed(pm.run(kernels)))
    return nullptr;
  std::unique_ptr<llvm::Module> m = translateModuleToLLVMIR(kernels, ctx, "nnopt");
  if (!m)
    return nullptr;
  m->setTargetTriple(llvm::Triple(target.triple));
  m->setDataLayout(machine.createDataLayout());
  setAttributes(*m, target);
  return m;
}

/// LLVM unrolls hardly a loop of this many instructions (of a corpus of kernels few change, and none becomes slower), but takes a third
/// of its time to find that out, for each loop and again for those around it.
constexpr size_t kLargeLoop = 200;

/// Says of large loops, and so of all around them, that they are not to be unrolled.
static void keepLargeLoops(llvm::Module &m, llvm::FunctionAnalysisManager &analyses) {
  for (llvm::Function &f : m) {
    if (f.isDeclaration())
      continue;
    for (llvm::Loop *loop : analyses.getResult<llvm::LoopAnalysis>(f).getLoopsInPreorder()) {
      size_t count = 0;
      for (llvm::BasicBlock *block : loop->blocks())
        count += block->size();
      if (count >= kLargeLoop)
        loop->setLoopAlreadyUnrolled();
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
  keepLargeLoops(m, fam);
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

//===----------------------------------------------------------------------===//
// Kernels, each by itself
//===----------------------------------------------------------------------===//

namespace {

/// One kernel: what it was, and what became of it. Object code of a kernel depends on nothing else in the model, nor on the
/// number of threads: it can be kept, and artifacts are the same on all machines.
struct Unit {
  std::string bytecode, key, error; // key: in the cache
  SmallVector<char, 0> object;
  bool known = false;
};

/// Compiles one kernel after another, for one thread.
class UnitCompiler {
public:
  UnitCompiler(const DialectRegistry &registry, const Target &target, int optLevel)
      : target(target), optLevel(optLevel), context(registry, MLIRContext::Threading::DISABLED), pm(&context) {
    context.loadAllAvailableDialects();
    buildLowerToLLVM(pm, target);
    pm.enableVerifier(false); // after each pass: a tenth of all time. LLVM verifies what comes out.
    machine = createMachine(target, optLevel, error);
  }

  void compile(Unit &unit) {
    unit.error = error;
    if (!machine)
      return;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &d) { unit.error += d.str() + "\n"; });
    llvm::LLVMContext llvmContext;
    auto kernels = parseSourceString<ModuleOp>(unit.bytecode, ParserConfig(&context));
    auto module = kernels ? translate(*kernels, pm, llvmContext, target, *machine) : nullptr;
    if (!module) {
      unit.error += "a kernel cannot be translated to LLVM IR";
      return;
    }
    optimize(*module, *machine, optLevel);
    if (!emitCode(*module, *machine, CodeKind::Object, unit.object))
      unit.error = "LLVM cannot emit code for " + target.triple;
  }

private:
  const Target &target;
  int optLevel;
  std::string error;
  MLIRContext context;
  PassManager pm;
  std::unique_ptr<llvm::TargetMachine> machine;
};

} // namespace

/// Takes a kernel and what it calls out of `kernels`, and returns them as bytecode.
static std::string extract(ModuleOp kernels, const SymbolTable &symbols, StringRef name) {
  OwningOpRef<ModuleOp> unit = ModuleOp::create(UnknownLoc::get(kernels.getContext()));
  llvm::SmallSetVector<StringAttr, 4> needed;
  needed.insert(StringAttr::get(kernels.getContext(), name));
  for (size_t i = 0; i < needed.size(); ++i) {
    auto f = symbols.lookup<func::FuncOp>(needed[i]);
    if (!f)
      continue;
    f.walk([&](Operation *op) {
      if (auto call = dyn_cast<func::CallOp>(op))
        needed.insert(call.getCalleeAttr().getAttr());
      else if (auto address = dyn_cast<func::ConstantOp>(op))
        needed.insert(address.getValueAttr().getAttr());
    });
    if (f.isDeclaration()) {
      unit->push_back(f.clone());
    } else {
      f->remove();
      unit->push_back(f);
    }
  }
  std::string bytecode;
  llvm::raw_string_ostream os(bytecode);
  (void)writeBytecodeToFile(*unit, os); // fails only for versions that are not the newest
  return bytecode;
}

/// All that object code depends on, besides the compiler.
static std::string cacheKey(const Target &target, int optLevel, StringRef bytecode) {
  return (llvm::Twine(target.triple) + "\n" + target.cpu + "\n" + target.features + "\n" + target.tuneCpu + "\n" +
          llvm::Twine(target.vectorBits) + " O" + llvm::Twine(optLevel) + "\n" + bytecode)
      .str();
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

/// Everything as one text, for people.
static LogicalResult compileToText(ModuleOp kernels, const Program &program, ArrayRef<char> meta, const Target &target,
                                   const CompileOptions &options, llvm::TargetMachine &machine, SmallVectorImpl<char> &out) {
  PassManager pm(kernels.getContext());
  buildLowerToLLVM(pm, target);
  llvm::LLVMContext ctx;
  std::unique_ptr<llvm::Module> module = translate(kernels, pm, ctx, target, machine);
  if (!module)
    return failure();
  addDescriptor(*module, program, meta, options);
  optimize(*module, machine, options.optLevel);
  if (!emitCode(*module, machine, options.kind, out))
    return kernels.emitError("LLVM cannot emit code for ") << target.triple;
  return success();
}

LogicalResult compileKernels(ModuleOp kernels, const Program &program, ArrayRef<char> meta, const Target &target,
                             const CompileOptions &options, std::vector<SmallVector<char, 0>> &out) {
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(target, options.optLevel, error);
  if (!machine)
    return kernels.emitError(error);
  if (options.kind != CodeKind::Object)
    return compileToText(kernels, program, meta, target, options, *machine, out.emplace_back());

  SymbolTable symbols(kernels);
  std::vector<Unit> units(program.kernelNames.size());
  for (auto [unit, name] : llvm::zip(units, program.kernelNames))
    unit.bytecode = extract(kernels, symbols, name);
  std::vector<Unit *> left;
  for (Unit &unit : units) {
    if (options.cache.find || options.cache.store)
      unit.key = cacheKey(target, options.optLevel, unit.bytecode);
    unit.known = options.cache.find && options.cache.find(unit.key, unit.object);
    if (!unit.known)
      left.push_back(&unit);
  }
  DialectRegistry registry;
  registerCodegenDialects(registry);
  std::atomic<size_t> next = 0, done = 0;
  auto work = [&](bool reports) {
    if (next >= left.size())
      return;
    UnitCompiler compiler(registry, target, options.optLevel);
    for (size_t i; (i = next++) < left.size();) {
      compiler.compile(*left[i]);
      ++done;
      if (reports && options.progress)
        options.progress(double(done) / left.size());
    }
  };
  size_t threadCount = std::min<size_t>(left.size(), std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (size_t i = 1; i < threadCount; ++i)
    threads.emplace_back(work, false);
  work(true);
  for (std::thread &t : threads)
    t.join();
  for (Unit &unit : units) {
    if (!unit.error.empty())
      return kernels.emitError(unit.error);
    if (!unit.known && options.cache.store)
      options.cache.store(unit.key, unit.object);
    out.push_back(std::move(unit.object));
  }

  llvm::LLVMContext ctx;
  llvm::Module descriptor("descriptor", ctx);
  descriptor.setTargetTriple(llvm::Triple(target.triple));
  descriptor.setDataLayout(machine->createDataLayout());
  addDescriptor(descriptor, program, meta, options);
  if (!emitCode(descriptor, *machine, CodeKind::Object, out.emplace_back()))
    return kernels.emitError("LLVM cannot emit code for ") << target.triple;
  return success();
}

} // namespace nnopt::cpu
