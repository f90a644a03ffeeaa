//===- EncodeWeights.h - weights in fewer bytes -----------------*- C++ -*-===//
//
// Writes what runtime/decode.c reads. Nothing but the standard library: tests of the runtime use it
// without the compiler.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_DRIVER_ENCODEWEIGHTS_H
#define NNOPT_LIB_DRIVER_ENCODEWEIGHTS_H

#include <cstdint>
#include <functional>
#include <vector>

namespace nnopt {

/// Encodes weights that come piece by piece into blocks (runtime/encoding.h), without loss.
class WeightEncoder {
public:
  using Sink = std::function<void(const char *, size_t)>;
  explicit WeightEncoder(Sink sink) : sink(std::move(sink)) {}
  /// The next bytes: of one tensor, so that they have something in common. Small ones share a
  /// block.
  void add(const char *bytes, size_t size);
  /// Ends the weights. Returns how many bytes they take.
  uint64_t finish();

private:
  void flush();
  Sink sink;
  std::vector<uint8_t> pending; // at most a block
  uint64_t written = 0;
};

} // namespace nnopt

#endif
