//===- Verify.h - comparing an artifact with --opt=0 ------------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_VERIFY_H
#define NNOPT_LIB_DRIVER_VERIFY_H

#include "lib/driver/Driver.h"

namespace nnopt {

/// Compiles the model again at --opt=0, runs both artifacts on the same inputs (options.verifyInputs
/// or seeded random ones; unpinned dimensions are 1) and compares every output: |a - b| <= 1e-3 |b|
/// + 1e-5 scale, where scale is the largest |b| of the output. Prints a line per output and returns
/// an ExitCode.
int verifyArtifact(const DriverOptions &options, llvm::StringRef artifact);

} // namespace nnopt

#endif
