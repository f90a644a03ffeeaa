//===- Measure.h - times of an artifact's launches --------------*- C++ -*-===//
#ifndef NNOPT_LIB_REPORT_MEASURE_H
#define NNOPT_LIB_REPORT_MEASURE_H

#include "lib/report/Graph.h"

namespace nnopt::report {

/// What was measured, all times in milliseconds and the median over the runs.
struct Measurement {
  int runs = 0, threads = 0;
  double run = 0; // a whole run, with profiling on
  /// By launch number: the calls of one run together. Copies in the order in which they ran.
  std::vector<double> launches, copies;
  std::vector<int64_t> calls;
  Sizes sizes; // of the symbolic dimensions of the inputs
};

/// Opens the artifact and runs it on `inputs` (an .npz file), or on seeded random inputs whose
/// symbolic dimensions have the given sizes. Returns an ExitCode, with `error` set unless 0.
int measure(const std::string &artifact, const std::string &inputs, const Sizes &sizes, size_t launchCount,
            Measurement &result, std::string &error);

} // namespace nnopt::report

#endif
