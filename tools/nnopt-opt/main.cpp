//===- main.cpp - nnopt-opt: passes on .mlir or .onnx files -----------------===//

#include "lib/driver/Driver.h"
#include "passes/Passes.h"
#include "passes/Pipeline.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace nnopt;

/// ONNX files are imported first and then go through the same driver as text.
static int runOnModel(int argc, char **argv, llvm::StringRef path, mlir::DialectRegistry &registry) {
  auto [input, output] = mlir::registerAndParseCLIOptions(
      argc, argv, "nnopt-opt: runs passes on a .mlir file or an ONNX model\n", registry);
  (void)input;
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
  mlir::PassManager pm(&ctx);
  if (failed(mlir::applyPassManagerCLOptions(pm)) || failed(config.setupPassPipeline(pm)) ||
      failed(pm.run(*imported.module)))
    return ExitFailure;
  std::error_code ec;
  llvm::ToolOutputFile out(output, ec, llvm::sys::fs::OF_None);
  if (ec) {
    llvm::errs() << output << ": cannot write: " << ec.message() << "\n";
    return ExitFailure;
  }
  imported.module->print(out.os(), mlir::OpPrintingFlags().elideLargeElementsAttrs(64).elideLargeResourceString(64));
  out.os() << "\n";
  out.keep();
  return ExitDone;
}

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  registerNnoptPasses();
  registerPipelines();
  mlir::registerTransformsPasses();
  for (int i = 1; i < argc; ++i)
    if (argv[i][0] != '-' && llvm::StringRef(argv[i]).ends_with(".onnx"))
      return runOnModel(argc, argv, argv[i], registry);
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "nnopt-opt: runs passes on a .mlir file or an ONNX model\n", registry));
}
