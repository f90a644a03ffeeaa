//===- Compilation.h - one run of the compiler ------------------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_COMPILATION_H
#define NNOPT_LIB_DRIVER_COMPILATION_H

#include "lib/driver/Driver.h"
#include "lib/driver/Versions.h"

namespace nnopt {
namespace report {
class Report;
}

/// From options to files. Member functions that return an int return an ExitCode, and have printed what went wrong.
class Compilation {
public:
  explicit Compilation(const DriverOptions &options) : options(options), progress(!options.quiet) {}
  int run();
  /// After a crash: writes what was being compiled to a file and prints where.
  int reportCrash();

private:
  int fail(const llvm::Twine &message, int code) {
    progress.finish();
    llvm::errs() << message << "\n";
    return code;
  }
  void stage(llvm::StringRef name) {
    stageName = name.str();
    progress.stage(name);
  }
  int import(llvm::ArrayRef<std::string> dims, mlir::MLIRContext &ctx, onnx::ImportResult &imported);
  int optimize(mlir::ModuleOp module, const DriverOptions &options, report::Report *report);
  int tuneKernels(mlir::ModuleOp module, llvm::ArrayRef<cpu::Target> targets);
  int codegenOptions(mlir::ModuleOp module, CodegenOptions &codegen);
  int generate(llvm::ArrayRef<onnx::ImportResult> models, llvm::ArrayRef<cpu::Target> targets, CompiledModel &compiled);
  int emitModule(mlir::ModuleOp module);
  int emitOnnx(mlir::ModuleOp module);
  int refuseInputFile(llvm::StringRef path);
  int writeText(llvm::function_ref<bool(llvm::raw_ostream &)> write);
  int emitObject(CompiledModel &compiled);
  int linkObjects(CompiledModel &compiled, llvm::ArrayRef<std::string> functions);
  void summary(CompiledModel &compiled, llvm::StringRef path);

  /// Keeps the graph as text (weights elided) in case the next stage crashes.
  void remember(mlir::ModuleOp module) {
    snapshot.clear();
    llvm::raw_string_ostream os(snapshot);
    module.print(os, mlir::OpPrintingFlags().elideLargeElementsAttrs(64).elideLargeResourceString(0).enableDebugInfo());
  }

  const DriverOptions &options;
  Progress progress;
  std::string stageName, snapshot;
  std::vector<std::string> inputFiles; // the model and its external data
};

/// A valid C identifier from a model's name.
std::string identifier(llvm::StringRef stem);

} // namespace nnopt

#endif
