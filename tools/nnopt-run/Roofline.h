//===- Roofline.h - what this machine could do at most ----------*- C++ -*-===//
#ifndef NNOPT_TOOLS_NNOPT_RUN_ROOFLINE_H
#define NNOPT_TOOLS_NNOPT_RUN_ROOFLINE_H

#include "nnopt/runtime.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace nnopt {

/// The two bounds of a kernel (Williams et al., "Roofline", 2009).
struct Roofline {
  double gflops = 0; // multiply-adds of f32 in registers, two operations each; 0: not known for this processor
  double gbytes = 0; // reading main memory, 10^9 bytes per second
  int threads = 1;   // 0: of a GPU, by its clocks
  int vectorBits = 0; // of the multiply-adds

  /// For code with vectors of at most `vectorBits`. Takes about 0.2 seconds and 256 MiB of memory.
  static Roofline measure(int threads, int vectorBits);
  /// Of the GPU that a model was opened for.
  static Roofline ofGpu(const nnopt_model *model);
  /// Where the figures are from, as a line of text.
  std::string text() const;
  /// The least nanoseconds that work of `flops` operations on `bytes` bytes needs, 0 if nothing is known. Less is possible
  /// in two ways: with elements smaller than f32, and with data that a cache holds.
  double leastNs(int64_t flops, int64_t bytes) const;
  /// Whether it is computing that takes `leastNs`.
  bool computes(int64_t flops, int64_t bytes) const;
  nlohmann::json json() const;
};

} // namespace nnopt

#endif
