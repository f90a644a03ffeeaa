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
  explicit LayerCosts(CompileSettings settings, Cache cache = Cache(""),
                      const Samples *samples = nullptr)
      : settings(std::move(settings)), cache(std::move(cache)), samples(samples) {}

  struct Measured {
    double milliseconds;
    int64_t weightBytes;
  };
  /// Of the site as it is (offer -1), or with an offer. `shapes` has those of what it reads. Layers
  /// that only differ in the numbers in their weights are measured once.
  Measured of(const Candidate &candidate, int offer,
              const llvm::DenseMap<mlir::Value, std::vector<int64_t>> &shapes);
  /// What a site with the operations inside it reads from the rest of the graph.
  static llvm::SmallVector<mlir::Value> inputsOf(const Site &site);

private:
  CompileSettings settings;
  Cache cache;
  const Samples *samples;
  std::map<std::string, Measured> known;
};

} // namespace nnopt::compress

#endif
