//===- Calibrate.h - statistics of values inside a model --------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_CALIBRATE_H
#define NNOPT_LIB_COMPRESS_CALIBRATE_H

#include "lib/compress/CompiledGraph.h"
#include "lib/compress/Data.h"
#include "lib/compress/Technique.h"

namespace nnopt::compress {

/// Rows that are kept of a value whose rows are wanted.
constexpr int64_t kSampledRows = 12288;

/// A compiled copy of a model with more outputs: the values to look at.
class TappedModel {
public:
  TappedModel(mlir::ModuleOp module, llvm::ArrayRef<mlir::Value> taps,
              const CompileSettings &settings);

  /// What to look at besides the statistics of all taps; what it reads are taps.
  struct Wanted {
    std::vector<LinearLayer> layers; // moments of their rows
    /// Operations with the regressors of their results: moments of both.
    std::vector<std::pair<mlir::Operation *, mlir::Value>> regressions;
    llvm::DenseMap<mlir::Value, int64_t> channels; // ranges along this dimension
    llvm::SmallVector<mlir::Value> rows; // rows themselves, at most kSampledRows
  };
  /// Adds the values of all samples to the statistics, which keep their size. Reports the share that
  /// is done.
  void observe(const Dataset &data, const Wanted &wanted, Observations &observations,
               llvm::function_ref<void(double)> progress);
  /// Shapes of the taps on one batch (of one sample, where the model leaves the batch open).
  llvm::DenseMap<mlir::Value, std::vector<int64_t>> shapes(const Dataset &data);
  /// The taps themselves on that batch.
  Samples sample(const Dataset &data);

private:
  std::vector<HostTensor> &run(const Dataset &data, int64_t first, int64_t count);

  llvm::SmallVector<mlir::Value> taps;
  CompileSettings settings;
  size_t firstTap = 0;
  std::unique_ptr<CompiledGraph> graph;
};

} // namespace nnopt::compress

#endif
