//===- Report.h - what was done to a model, as data and as a page -*- C++ -*-===//
//
// Collects while the driver compiles: the graph as imported and after the passes, what the passes
// said, the lowered program, and measured times. docs/report.md describes the result.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_REPORT_REPORT_H
#define NNOPT_LIB_REPORT_REPORT_H

#include "lib/driver/Driver.h"
#include "lib/report/Measure.h"
#include "lib/report/Remarks.h"
#include "runtime/format.h"
#include "mlir/Pass/PassManager.h"

namespace nnopt::report {

/// Why the report options cannot be followed (file name, sizes); empty when they can.
std::string whyInvalid(const DriverOptions &options);

class Report {
public:
  /// Collects remarks of the context from now on.
  Report(const DriverOptions &options, mlir::MLIRContext &ctx);
  ~Report();

  /// The graph before any pass. False with `error` set where --report-dim names no dimension of it.
  bool imported(mlir::ModuleOp module, std::string &error);
  /// What compression did, and why: a recipe as JSON text.
  void compressed(const std::string &recipe) { compression = recipe; }
  /// Watches the passes of `pm`.
  void instrument(mlir::PassManager &pm);
  /// The graph after all passes.
  void optimized(mlir::ModuleOp module);
  /// The program that it was lowered to, which the report refers to from now on.
  void compiled(CompiledModel &compiled) { result = &compiled; }
  /// The file that holds it.
  void written(llvm::StringRef path, const nnopt_trailer &trailer) {
    artifact = path.str();
    encodedBytes = trailer.encoded_size;
  }
  /// Runs that file. Returns an ExitCode, with `error` set unless 0.
  int measure(std::string &error);

  /// Writes every file that was asked for; false with `error` set when one cannot be written.
  bool write(llvm::ArrayRef<std::pair<std::string, double>> stages, std::string &error);

private:
  struct PassRecord {
    std::string name;
    int64_t before, after;
    double seconds;
  };
  class PassWatch;
  llvm::json::Object json(llvm::ArrayRef<std::pair<std::string, double>> stages);
  llvm::json::Object totals();

  const DriverOptions &options;
  Remarks remarks;
  Sizes sizes;
  llvm::json::Object model;
  std::vector<PassRecord> passes;
  std::unique_ptr<Graph> before, after;
  CompiledModel *result = nullptr;
  std::string artifact, compression;
  std::optional<Measurement> measured;
  uint64_t encodedBytes = 0; // of weights in the artifact
};

} // namespace nnopt::report

#endif
