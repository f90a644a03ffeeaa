//===- main.cpp - nnopt-opt: passes on .mlir or .onnx files -----------------===//

#include "lib/driver/PassList.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace nnopt;

/// ONNX files are imported first and then go through the same driver as text.
static int runOnModel(llvm::StringRef path, llvm::StringRef output, mlir::DialectRegistry &registry) {
  mlir::MLIRContext ctx(registry, mlir::MLIRContext::Threading::DISABLED);
  ctx.loadAllAvailableDialects();
  nn::DimContext dims;
  onnx::ImportResult imported = onnx::importModel(path, ctx, dims, {});
  if (imported.exitCode != 0) {
    if (!imported.unsupported.empty())
      onnx::printUnsupportedTable(llvm::errs(), imported.unsupported);
    if (!imported.error.empty())
      llvm::errs() << imported.error << "\n";
    return imported.exitCode;
  }
  mlir::MlirOptMainConfig config = mlir::MlirOptMainConfig::createFromCLOptions();
  mlir::PassManager pm(&ctx, mlir::ModuleOp::getOperationName(), mlir::PassManager::Nesting::Implicit);
  if (failed(mlir::applyPassManagerCLOptions(pm)) || failed(config.setupPassPipeline(pm)) ||
      failed(pm.run(*imported.module)))
    return ExitFailure;
  std::error_code ec;
  llvm::ToolOutputFile out(output, ec, llvm::sys::fs::OF_None);
  if (ec) {
    llvm::errs() << output << ": cannot write: " << ec.message() << "\n";
    return ExitFailure;
  }
  if (llvm::StringRef(output).ends_with(".mlirbc") || config.shouldEmitBytecode()) {
    if (failed(mlir::writeBytecodeToFile(*imported.module, out.os())))
      return ExitFailure;
    out.keep();
    return ExitDone;
  }
  imported.module->print(out.os(), mlir::OpPrintingFlags().elideLargeElementsAttrs(64).elideLargeResourceString(0));
  out.os() << "\n";
  out.keep();
  return ExitDone;
}

/// The first argument that is no option of any pass or of mlir-opt; MLIR's own parser would exit with
/// 1 instead of 2. Null if there is none.
static const char *findUnknownOption(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    llvm::StringRef arg = argv[i];
    if (arg == "--")
      return nullptr;
    if (arg.size() < 2 || arg[0] != '-')
      continue;
    llvm::StringRef name = arg.drop_front(arg[1] == '-' ? 2 : 1).split('=').first;
    // -o is registered by the parser itself.
    if (name != "o" && !llvm::cl::getRegisteredOptions().count(name))
      return argv[i];
  }
  return nullptr;
}

int main(int argc, char **argv) {
  if (printsVersion(argc, argv))
    return ExitDone;
  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  registerAllPasses();
  std::string header = mlir::registerCLIOptions("nnopt-opt: runs passes on a .mlir file or an ONNX model\n", registry);
  if (const char *unknown = findUnknownOption(argc, argv)) {
    llvm::errs() << "nnopt-opt: unknown option " << unknown << "; see nnopt-opt --help\n";
    return ExitUsage;
  }
  auto [input, output] = mlir::parseCLIOptions(argc, argv, header);
  if (llvm::StringRef(input).ends_with(".onnx"))
    return runOnModel(input, output, registry);
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, input, output, registry));
}
