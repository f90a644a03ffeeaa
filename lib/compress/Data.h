//===- Data.h - calibration and evaluation data -----------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_DATA_H
#define NNOPT_LIB_COMPRESS_DATA_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "tools/common/npz.h"
#include "tools/common/runner.h"
#include <algorithm>
#include <optional>

namespace nnopt::compress {

/// Samples [begin, end) of a dataset; they begin with a batch.
struct SampleRange {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};

/// An .npz file with the model's inputs, sample axis first, and perhaps labels.
class Dataset {
public:
  /// Reads the file for the arguments of `main`. Throws ToolError, as all of compression does.
  Dataset(const std::string &path, mlir::func::FuncOp main);
  /// About `count` samples of N(0, 1), where all inputs are 32-bit floats of known size.
  static Dataset noise(mlir::func::FuncOp main, int64_t count);

  int64_t samples() const { return sampleCount; }
  /// How many samples a run takes: the model's batch size where that is fixed, else at most 32.
  int64_t batchSize() const { return batch; }
  bool batchIsFixed() const { return fixed; }
  /// Samples of a run whose time counts: one, where the model leaves it open.
  int64_t latencyBatch() const { return fixed ? batch : 1; }
  /// Samples that can be run: all, or those that fill whole batches of a fixed size.
  int64_t usable() const { return fixed ? sampleCount / batch * batch : sampleCount; }
  /// Samples of the run that begins with sample `first`.
  int64_t countAt(int64_t first) const { return std::min(batch, usable() - first); }
  /// The inputs of samples [first, first + count).
  std::vector<HostTensor> inputs(int64_t first, int64_t count) const;

  const npz::Array *labels() const { return labelArray ? &*labelArray : nullptr; }
  const std::string &path() const { return file; }

private:
  Dataset() = default;

  struct Input {
    std::string name;
    int type;
    npz::Array array;
    bool whole, repeated; // a sample is a whole input; one array for all samples
  };
  std::string file;
  std::vector<Input> arrays;
  std::optional<npz::Array> labelArray;
  int64_t sampleCount = -1, batch = 32;
  bool fixed = false; // the model's batch size
};

} // namespace nnopt::compress

#endif
