//===- Metric.h - how good a model's outputs are ----------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_METRIC_H
#define NNOPT_LIB_COMPRESS_METRIC_H

#include "lib/compress/Data.h"
#include <functional>

namespace nnopt::compress {

/// Outputs of the model on samples [first, first + count).
using RunBatch = std::function<std::vector<HostTensor> *(int64_t first, int64_t count)>;

/// A quality of a model on evaluation data: top1, perplexity, cosine, psnr or what a command
/// prints.
class Metric {
public:
  /// `text` as in --metric; empty: top1 where `data` has class labels, else cosine.
  /// `outputs` are the names of the model's outputs.
  Metric(const std::string &text, const Dataset &data, const std::vector<std::string> &outputs);

  /// Runs the data through `model`. cosine and psnr compare with the labels, or without them with
  /// what `reference`, the float model, gives.
  double evaluate(const RunBatch &model, const RunBatch &reference) const;
  /// How much worse `value` is than `reference`, in the unit of budgets.
  double drop(double reference, double value) const;
  /// Reads the amount of a budget: "0.5%", "0.3dB", "0.01".
  double parseDrop(const std::string &text) const;
  /// "93.40 %".
  std::string format(double value) const;
  std::string formatDrop(double drop) const;
  const std::string &name() const { return kindName; }

private:
  double evaluateCommand(const RunBatch &model) const;

  const Dataset &data;
  std::string kindName, command;
  size_t output = 0;
};

} // namespace nnopt::compress

#endif
