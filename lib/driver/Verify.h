//===- Verify.h - comparing artifacts with --opt=0 --------------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_VERIFY_H
#define NNOPT_LIB_DRIVER_VERIFY_H

#include "lib/driver/Driver.h"
#include "llvm/ADT/SmallString.h"

namespace nnopt {

/// A file for an artifact, removed at the end. Prints an error when it cannot be made.
class TemporaryArtifact {
public:
  explicit TemporaryArtifact(llvm::StringRef stem);
  ~TemporaryArtifact();
  TemporaryArtifact(const TemporaryArtifact &) = delete;
  bool ok() const { return !file.empty(); }
  llvm::StringRef path() const { return file; }

private:
  llvm::SmallString<128> file;
};

/// The same compilation, but an artifact at `output`, without reports.
DriverOptions quietOptions(const DriverOptions &options, llvm::StringRef output);

/// What the model computes at --opt=0 on the inputs of options.verifyInputs or seeded random ones
/// (unpinned dimensions are 1). Functions return an ExitCode.
class Oracle {
public:
  Oracle();
  ~Oracle();
  /// Compiles the model at --opt=0 and runs it; prints what went wrong.
  int prepare(const DriverOptions &options);
  /// Runs an artifact on the same inputs and compares every output: |a - b| <= 1e-3 |b| + 1e-5 scale,
  /// where scale is the largest |b| of the output; of models with quantizations the root mean square error counts.
  /// Prints a line per output to `log`.
  int compare(llvm::StringRef artifact, llvm::raw_ostream &log);

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// --verify: the artifact against --opt=0, printed to stderr. Returns an ExitCode.
int verifyArtifact(const DriverOptions &options, llvm::StringRef artifact);
/// --verify --emit=onnx: the model that was written against the one it came from, both at --opt=0.
int verifyExport(const DriverOptions &options);

} // namespace nnopt

#endif
