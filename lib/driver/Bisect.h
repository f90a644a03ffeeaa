//===- Bisect.h - which pass changes the outputs ----------------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_BISECT_H
#define NNOPT_LIB_DRIVER_BISECT_H

#include "lib/driver/Driver.h"

namespace nnopt {

/// Compares the model with --opt=0 as --verify does. When outputs differ, finds by bisection the first
/// pass of the pipeline after which they do, prints a table of what was tried and names that pass.
/// Returns an ExitCode: 0 when nothing differs, 1 when something does.
int bisectPasses(const DriverOptions &options);

} // namespace nnopt

#endif
