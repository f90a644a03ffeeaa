//===- LayerCost.h - what a layer costs on this machine ---------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_LAYERCOST_H
#define NNOPT_LIB_COMPRESS_LAYERCOST_H

#include "lib/compress/CompiledGraph.h"
#include "lib/compress/SwitchModel.h"
#include "lib/driver/Cache.h"

namespace nnopt::compress {

/// Measures single layers with the kernels and shapes that the model has.
class LayerCosts {
public:
  /// `samples`: what layers read, where their time may depend on it; else they read zeros.
  /// `modelBytes`: weights and arena of the model, which what the caches hold when a layer begins depends on; 0: all that it needs.
  explicit LayerCosts(CompileSettings settings, Cache cache = Cache(""), const Samples *samples = nullptr, int64_t modelBytes = 0);

  struct Measured {
    double milliseconds;
    int64_t weightBytes;
  };
  /// Of an operation together with those `inside` (offers replace some with it), as they are or with an `offer`. `shapes` has
  /// those of what they read. Layers that only differ in the numbers in their weights are measured once.
  Measured of(mlir::Operation *op, llvm::ArrayRef<mlir::Operation *> inside, const Offer *offer,
              const llvm::DenseMap<mlir::Value, std::vector<int64_t>> &shapes);
  /// What they read from the rest of the graph.
  static llvm::SmallVector<mlir::Value> inputsOf(mlir::Operation *op, llvm::ArrayRef<mlir::Operation *> inside);

private:
  CompileSettings settings;
  Cache cache;
  const Samples *samples;
  size_t between; // bytes that are read before a layer begins
  std::map<std::string, Measured> known;
};

} // namespace nnopt::compress

#endif
