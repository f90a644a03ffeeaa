//===- Tune.h - kernels chosen by running them ------------------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_TUNE_H
#define NNOPT_LIB_DRIVER_TUNE_H

#include "lib/driver/Cache.h"
#include "lib/driver/Driver.h"

namespace nnopt {

/// What tuning did.
struct TuneResult {
  int64_t measured = 0, cached = 0; // kernels, equal ones counted once
  int64_t left = 0;                 // not reached in time
  int64_t unknownSizes = 0;         // operations whose sizes are known at run time only
  int64_t changed = 0;              // of the measured and cached: another kernel than the cost model's
};

/// For every operation of an optimized module with several kernels (algorithms, register tiles): runs them alone on this
/// machine, on one thread, and notes the fastest in the operation's attribute `nn.kernel`, which code generation follows.
/// Operations with most arithmetic first, until `seconds` are over; what the cache has takes no time.
TuneResult tune(mlir::ModuleOp module, const cpu::Target &target, const cpu::LoweringOptions &lowering,
                const Cache &cache, double seconds, Progress &progress);

} // namespace nnopt

#endif
