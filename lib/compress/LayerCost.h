//===- LayerCost.h - what a layer costs on this machine ---------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_LAYERCOST_H
#define NNOPT_LIB_COMPRESS_LAYERCOST_H

#include "lib/compress/CompiledGraph.h"
#include "lib/compress/SwitchModel.h"
#include "lib/driver/Cache.h"
#include <deque>

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
  /// those of what they read. Layers that only differ in the numbers in their weights are measured once. Milliseconds are the least of
  /// several rounds, between which other layers are compiled and measured, so that what disturbs the machine for a moment is in none
  /// or in one of them: they are not to be read before settle(). The reference stays valid.
  const Measured &of(mlir::Operation *op, llvm::ArrayRef<mlir::Operation *> inside, const Offer *offer,
                     const llvm::DenseMap<mlir::Value, std::vector<int64_t>> &shapes);
  /// Measures what is left of the rounds of all layers that were asked for.
  void settle();
  /// What they read from the rest of the graph.
  static llvm::SmallVector<mlir::Value> inputsOf(mlir::Operation *op, llvm::ArrayRef<mlir::Operation *> inside);

private:
  /// A layer in its rounds.
  struct Pending {
    std::unique_ptr<CompiledGraph> graph;
    Measured *measured;
    std::string cacheKey;
    int rounds = 0;
  };
  void measureRound();

  CompileSettings settings;
  Cache cache;
  const Samples *samples;
  size_t between; // bytes that are read before a layer begins
  std::map<std::string, Measured> known;
  std::deque<Pending> pending; // those with the most rounds first
};

} // namespace nnopt::compress

#endif
