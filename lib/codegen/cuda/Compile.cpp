//===- Compile.cpp - GPU kernels to PTX and machine code --------------------===//

#include "lib/codegen/cuda/Compile.h"
#include "lib/codegen/cpu/Compile.h"
#include "lib/codegen/cuda/ScalarMath.h"
#include "lib/codegen/cuda/Wgmma.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace mlir;

namespace nnopt::cuda {

void registerDialects(DialectRegistry &registry) {
  registry.insert<NVVM::NVVMDialect>();
  registerNVVMDialectTranslation(registry);
}

bool parseArchitectures(StringRef text, std::vector<uint32_t> &architectures, std::string &error) {
  SmallVector<StringRef> names;
  text.split(names, ',');
  for (StringRef name : names) {
    uint32_t arch;
    StringRef number = name;
    if (!number.consume_front("sm_") || number.getAsInteger(10, arch) || arch < 80 || arch > 90) {
      error = "'" + name.str() + "' is no architecture from sm_80 to sm_90, such as sm_80,sm_90";
      return false;
    }
    if (!llvm::is_contained(architectures, arch))
      architectures.push_back(arch);
  }
  return true;
}

//===----------------------------------------------------------------------===//
// To LLVM IR
//===----------------------------------------------------------------------===//

/// The first three arguments of a kernel become what the hardware says; of the others, which are in the order of their
/// use, pointers go before sizes, as launches pass them.
static void makeParameters(func::FuncOp kernel) {
  Block &entry = kernel.getBody().front();
  OpBuilder b = OpBuilder::atBlockBegin(&entry);
  Location loc = kernel.getLoc();
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  Value registers[] = {NVVM::BlockIdXOp::create(b, loc, i32), NVVM::GridDimXOp::create(b, loc, i32),
                       NVVM::ThreadIdXOp::create(b, loc, i32)};
  for (auto [i, v] : llvm::enumerate(registers))
    entry.getArgument(i).replaceAllUsesWith(arith::ExtUIOp::create(b, loc, i64, v));
  llvm::BitVector gone(entry.getNumArguments());
  gone.set(0, 3);
  SmallVector<BlockArgument> sizes;
  for (BlockArgument arg : entry.getArguments().drop_front(3))
    if (!isa<LLVM::LLVMPointerType>(arg.getType()))
      sizes.push_back(arg);
  for (BlockArgument arg : sizes) {
    gone.set(arg.getArgNumber());
    (void)kernel.insertArgument(entry.getNumArguments(), arg.getType(), {}, loc);
    arg.replaceAllUsesWith(entry.getArguments().back());
  }
  gone.resize(entry.getNumArguments());
  (void)kernel.eraseArguments(gone);
  bool waits = kernel.walk([](LLVM::CallOp call) {
                       return call.getCallee() == waitForLaunchesFunction ? WalkResult::interrupt() : WalkResult::advance();
                     }).wasInterrupted();
  if (!waits)
    LLVM::CallOp::create(b, loc, TypeRange(), waitForLaunchesFunction, ValueRange());
  kernel.setPublic();
  StringRef name = kernel.getSymName();
  name.consume_back(".body");
  kernel.setSymName(std::string(name));
}

static LogicalResult lowerToLLVMDialect(ModuleOp module) {
  if (failed(expandScalarMath(module)))
    return failure();
  useInstructions(module);
  for (func::FuncOp kernel : module.getOps<func::FuncOp>())
    makeParameters(kernel);
  PassManager pm(module.getContext());
  pm.enableVerifier(false); // LLVM verifies what comes out
  OpPassManager &functions = pm.nest<func::FuncOp>();
  functions.addPass(createCanonicalizerPass());
  functions.addPass(createCSEPass());
  functions.addPass(createLoopInvariantCodeMotionPass());
  functions.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createConvertNVVMToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(module);
}

//===----------------------------------------------------------------------===//
// PTX
//===----------------------------------------------------------------------===//

namespace {
struct Architecture {
  uint32_t number;
  /// With the instructions that are of this one alone (sm_90a).
  bool isExact = false;
  std::string name() const { return "sm_" + std::to_string(number) + (isExact ? "a" : ""); }
};
} // namespace

/// Answers the question of hasWgmma in all kernels.
static void answerHasWgmma(llvm::Module &m, bool answer) {
  llvm::Function *question = m.getFunction(hasWgmmaFunction);
  for (llvm::User *call : llvm::make_early_inc_range(question->users())) {
    call->replaceAllUsesWith(llvm::ConstantInt::getBool(m.getContext(), answer));
    cast<llvm::Instruction>(call)->eraseFromParent();
  }
  question->eraseFromParent();
}

/// Launches may begin before those before are over: kernels wait where they need what was written before. Without these instructions
/// a launch begins when the one before is over.
static void overlapLaunches(llvm::Module &m, bool canOverlap) {
  llvm::FunctionType *type = llvm::FunctionType::get(llvm::Type::getVoidTy(m.getContext()), false);
  for (auto [name, text] : {std::pair(waitForLaunchesFunction, "griddepcontrol.wait;"),
                            std::pair(letNextLaunchBeginFunction, "griddepcontrol.launch_dependents;")}) {
    llvm::Function *function = m.getFunction(name);
    for (llvm::User *user : llvm::make_early_inc_range(function->users())) {
      auto *call = cast<llvm::Instruction>(user);
      if (canOverlap)
        llvm::IRBuilder<>(call).CreateCall(type, llvm::InlineAsm::get(type, text, "~{memory}", /*hasSideEffects=*/true));
      call->eraseFromParent();
    }
    function->eraseFromParent();
  }
}

/// What a launch before wrote is not constant while a kernel runs that began earlier: no loads that may take it from elsewhere.
static void forgetConstantMemory(llvm::Module &m) {
  for (llvm::Function &f : m)
    for (llvm::Argument &argument : f.args())
      argument.removeAttr(llvm::Attribute::NoAlias);
}

static bool emitPtx(llvm::Module &m, const Architecture &arch, std::string &ptx, std::string &error) {
  bool canOverlap = arch.number >= 90;
  answerHasWgmma(m, arch.isExact);
  overlapLaunches(m, canOverlap);
  llvm::Triple triple("nvptx64-nvidia-cuda");
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget("", triple, error);
  if (!target)
    return false;
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast; // contraction is the only relaxation
  // The PTX of CUDA 11.8, the first that knows sm_90: any driver since can compile it. sm_90a came with CUDA 12.
  std::unique_ptr<llvm::TargetMachine> machine(
      target->createTargetMachine(triple, arch.name(), arch.isExact ? "+ptx80" : "+ptx78", options, llvm::Reloc::PIC_,
                                  std::nullopt, llvm::CodeGenOptLevel::Aggressive));
  m.setTargetTriple(triple);
  m.setDataLayout(machine->createDataLayout());

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
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2).run(m, mam);

  if (canOverlap)
    forgetConstantMemory(m);
  SmallVector<char, 0> text;
  llvm::raw_svector_ostream os(text);
  llvm::legacy::PassManager codegen;
  if (machine->addPassesToEmitFile(codegen, os, nullptr, llvm::CodeGenFileType::AssemblyFile)) {
    error = "LLVM cannot emit PTX";
    return false;
  }
  codegen.run(m);
  ptx.assign(text.begin(), text.end());
  return true;
}

/// Where NVIDIA's assembler is, or nothing.
static std::string findPtxas() {
  if (const char *home = std::getenv("CUDA_HOME"))
    if (std::string path = std::string(home) + "/bin/ptxas"; llvm::sys::fs::can_execute(path))
      return path;
  auto found = llvm::sys::findProgramByName("ptxas");
  return found ? *found : "";
}

/// Assembles PTX; an empty result with an empty error where there is no assembler.
static std::string assemble(StringRef ptx, const Architecture &arch, std::string &error) {
  std::string ptxas = findPtxas();
  if (ptxas.empty())
    return "";
  SmallString<128> source, object, log;
  for (auto [path, suffix] : {std::pair(&source, "ptx"), std::pair(&object, "cubin"), std::pair(&log, "log")})
    if (std::error_code ec = llvm::sys::fs::createTemporaryFile("nnopt-kernels", suffix, *path)) {
      error = "cannot make a temporary file: " + ec.message();
      return "";
    }
  auto cleanup = llvm::make_scope_exit([&] {
    for (SmallString<128> *path : {&source, &object, &log})
      llvm::sys::fs::remove(*path);
  });
  std::error_code ec;
  llvm::raw_fd_ostream(source, ec) << ptx;
  std::string name = arch.name();
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(log), StringRef(log)};
  int code = llvm::sys::ExecuteAndWait(ptxas, {"ptxas", "-O3", "--gpu-name", name, "-o", object, source}, std::nullopt, redirects);
  auto read = [](StringRef path) {
    auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    return buffer ? (*buffer)->getBuffer().str() : std::string();
  };
  if (ec || code) {
    error = ptxas + " refuses the kernels: " + read(log);
    return "";
  }
  return read(object);
}

LogicalResult compileImages(ModuleOp kernels, const Program &program, ArrayRef<uint32_t> architectures,
                            std::vector<Image> &images) {
  if (failed(lowerToLLVMDialect(kernels)))
    return failure();
  llvm::LLVMContext ctx;
  std::unique_ptr<llvm::Module> module = translateModuleToLLVMIR(kernels, ctx, "nnopt");
  if (!module)
    return failure();
  llvm::DenseMap<llvm::StringRef, uint32_t> threads;
  for (const ProgramLaunch &launch : program.launches)
    if (launch.threads)
      threads[program.deviceKernelNames[launch.kernel]] = launch.threads;
  for (llvm::Function &f : *module) {
    if (f.isDeclaration())
      continue;
    f.setCallingConv(llvm::CallingConv::PTX_Kernel);
    // The assembler may give each thread all registers that a block of this size leaves it.
    f.addFnAttr("nvvm.reqntid", std::to_string(threads.lookup(f.getName())));
  }
  bool usesWgmma = !module->getFunction(hasWgmmaFunction)->use_empty();
  for (uint32_t number : architectures) {
    // The portable image first, then the one of this architecture alone: machine code is that of the last.
    SmallVector<Architecture> variants = {{number}};
    if (number == 90 && usesWgmma)
      variants.push_back({number, /*isExact=*/true});
    std::string error;
    for (const Architecture &variant : variants) {
      std::unique_ptr<llvm::Module> copy = llvm::CloneModule(*module);
      images.push_back({variant.isExact ? uint32_t(NNOPT_IMAGE_PTX_EXACT) : uint32_t(NNOPT_IMAGE_PTX), number, {}});
      if (!emitPtx(*copy, variant, images.back().bytes, error))
        return kernels.emitError(error);
    }
    Image cubin{NNOPT_IMAGE_CUBIN, number, assemble(images.back().bytes, variants.back(), error)};
    if (!error.empty())
      return kernels.emitError(error);
    if (!cubin.bytes.empty())
      images.push_back(std::move(cubin));
  }
  return success();
}

//===----------------------------------------------------------------------===//
// The object
//===----------------------------------------------------------------------===//

bool emitDeviceProgram(const Program &program, ArrayRef<Image> images, const cpu::Target &target,
                       StringRef descriptorSymbol, StringRef symbol, SmallVectorImpl<char> &object, std::string &error) {
  llvm::LLVMContext ctx;
  llvm::Module m("cuda", ctx);
  auto *i32 = llvm::Type::getInt32Ty(ctx), *i64 = llvm::Type::getInt64Ty(ctx);
  auto *ptr = llvm::PointerType::get(ctx, 0);
  auto number = [&](uint64_t v, llvm::Type *type) { return llvm::ConstantInt::get(type, v); };
  auto data = [&](llvm::Constant *init) {
    auto *global = new llvm::GlobalVariable(m, init->getType(), true, llvm::GlobalValue::PrivateLinkage, init);
    global->setAlignment(llvm::Align(16));
    return global;
  };
  auto table = [&](llvm::Type *type, ArrayRef<llvm::Constant *> entries) {
    return data(llvm::ConstantArray::get(llvm::ArrayType::get(type, entries.size()), entries));
  };
  auto *imageType = llvm::StructType::get(ctx, {i32, i32, ptr, i64});
  SmallVector<llvm::Constant *> imageEntries, names;
  for (const Image &image : images)
    imageEntries.push_back(llvm::ConstantStruct::get(
        imageType, {number(image.kind, i32), number(image.arch, i32),
                    data(llvm::ConstantDataArray::getString(ctx, image.bytes)), number(image.bytes.size(), i64)}));
  for (const std::string &name : program.deviceKernelNames)
    names.push_back(data(llvm::ConstantDataArray::getString(ctx, name)));
  auto *descriptor =
      new llvm::GlobalVariable(m, llvm::Type::getInt8Ty(ctx), true, llvm::GlobalValue::ExternalLinkage, nullptr, descriptorSymbol);
  auto *type = llvm::StructType::get(ctx, {ptr, ptr, i32, i32, ptr});
  auto *init = llvm::ConstantStruct::get(type, {descriptor, table(imageType, imageEntries), number(images.size(), i32),
                                                number(names.size(), i32), table(ptr, names)});
  auto *global = new llvm::GlobalVariable(m, type, true, llvm::GlobalValue::ExternalLinkage, init, symbol);
  global->setVisibility(llvm::GlobalValue::HiddenVisibility);
  return cpu::emitData(m, target, object, error);
}

} // namespace nnopt::cuda
