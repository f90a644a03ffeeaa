//===- main.cpp - nnopt-opt: passes on .mlir or .onnx files -----------------===//

#include "lib/driver/PassList.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Remark/RemarkStreamer.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace nnopt;

/// Remarks as the --remark* options say (mlir-opt does this for text).
static llvm::LogicalResult enableRemarks(mlir::MLIRContext &ctx, const mlir::MlirOptMainConfig &config) {
  if (!config.shouldEmitRemarks())
    return mlir::success();
  // A kind without filter of its own takes part in the common one only if it has an empty one.
  mlir::remark::RemarkCategories categories{config.getRemarksAllFilter(), config.getRemarksPassedFilter(),
                                            config.getRemarksMissedFilter(), config.getRemarksAnalyseFilter(),
                                            config.getRemarksFailedFilter()};
  std::unique_ptr<mlir::remark::detail::RemarkEmittingPolicyBase> policy;
  if (config.getRemarkPolicy() == mlir::RemarkPolicy::REMARK_POLICY_ALL)
    policy = std::make_unique<mlir::remark::RemarkEmittingPolicyAll>();
  else
    policy = std::make_unique<mlir::remark::RemarkEmittingPolicyFinal>();
  if (config.getRemarkFormat() == mlir::RemarkFormat::REMARK_FORMAT_STDOUT)
    return mlir::remark::enableOptimizationRemarks(ctx, nullptr, std::move(policy), categories, /*printAsEmitRemarks=*/true);
  bool yaml = config.getRemarkFormat() == mlir::RemarkFormat::REMARK_FORMAT_YAML;
  std::string file = config.getRemarksOutputFile();
  if (file.empty())
    file = yaml ? "mlir-remarks.yaml" : "mlir-remarks.bitstream";
  return mlir::remark::enableOptimizationRemarksWithLLVMStreamer(
      ctx, file, yaml ? llvm::remarks::Format::YAML : llvm::remarks::Format::Bitstream, std::move(policy), categories);
}

/// The options of this command line, with the passes as text. Whoever evaluates constants links in process, and lld
/// resets all options of LLVM, the list of passes included.
static mlir::FailureOr<mlir::MlirOptMainConfig> configOfCommandLine(mlir::DialectRegistry &registry) {
  mlir::MlirOptMainConfig config = mlir::MlirOptMainConfig::createFromCLOptions();
  mlir::MLIRContext ctx(registry, mlir::MLIRContext::Threading::DISABLED);
  mlir::PassManager pm(&ctx, mlir::ModuleOp::getOperationName(), mlir::PassManager::Nesting::Implicit);
  if (failed(config.setupPassPipeline(pm)))
    return mlir::failure();
  std::string passes;
  llvm::raw_string_ostream os(passes);
  // Without the anchor, which is the pass manager's own.
  llvm::interleave(pm.getPasses(), os, [&](mlir::Pass &pass) { pass.printAsTextualPipeline(os); }, ",");
  config.setPassPipelineSetupFn([passes](mlir::PassManager &pm) { return mlir::parsePassPipeline(passes, pm); });
  return config;
}

/// ONNX files are imported first and then go through the same passes as text.
static int runOnModel(llvm::StringRef path, llvm::StringRef output, mlir::DialectRegistry &registry,
                      const mlir::MlirOptMainConfig &config) {
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
  // MLIR's own handler only prints errors.
  llvm::SourceMgr sources;
  std::optional<mlir::SourceMgrDiagnosticHandler> printer;
  if (config.shouldEmitRemarks())
    printer.emplace(sources, &ctx);
  if (failed(enableRemarks(ctx, config)))
    return ExitFailure;
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
  mlir::MlirOptMainConfig fromCommandLine = mlir::MlirOptMainConfig::createFromCLOptions();
  if (fromCommandLine.shouldShowDialects() || fromCommandLine.shouldListPasses())
    return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, input, output, registry));
  mlir::FailureOr<mlir::MlirOptMainConfig> config = configOfCommandLine(registry);
  if (failed(config))
    return ExitFailure;
  if (llvm::StringRef(input).ends_with(".onnx"))
    return runOnModel(input, output, registry, *config);
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> file = mlir::openInputFile(input, &error);
  std::unique_ptr<llvm::ToolOutputFile> out = file ? mlir::openOutputFile(output, &error) : nullptr;
  if (!out) {
    llvm::errs() << error << "\n";
    return ExitFailure;
  }
  if (failed(mlir::MlirOptMain(out->os(), std::move(file), registry, *config)))
    return ExitFailure;
  out->keep();
  return ExitDone;
}
