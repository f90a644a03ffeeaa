//===- Metric.h - how good a model's outputs are ----------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_METRIC_H
#define NNOPT_LIB_COMPRESS_METRIC_H

#include "lib/compress/Data.h"
#include "llvm/ADT/ArrayRef.h"
#include <functional>

namespace nnopt::compress {

/// Outputs of the model on samples [first, first + count).
using RunBatch = std::function<std::vector<HostTensor> *(int64_t first, int64_t count)>;

/// What a metric found.
struct Evaluation {
  double value = 0;
  /// Of each item that counts alone (an image, a token), where the metric is made of their mean.
  std::vector<double> scores;
};

/// A quality of a model on evaluation data:
///   top1, top5    percent of items whose label is the largest (among the five largest) outputs
///   perplexity    exp of the mean negative log-likelihood of labels; lower is better
///   characters    percent of characters that are right, 100 (1 - edit distance / length), after greedy CTC
///                 decoding (the largest output of each step, repeats joined, class 0 left out); labels end with -1
///   words         percent of samples that are decoded without an error
///   cosine, psnr  of outputs against labels or the float model
///   max           largest difference to labels or the float model; lower is better
///   cmd:COMMAND   the number that a command prints
class Metric {
public:
  /// `text` as in --metric; empty: top1 where `data` has class labels, else cosine.
  /// `outputs` are the names of the model's outputs.
  Metric(const std::string &text, const Dataset &data, const std::vector<std::string> &outputs);

  /// Runs the data through `model`. cosine, psnr and max compare with the labels, or without them with
  /// what `reference`, the float model, gives.
  Evaluation evaluate(const RunBatch &model, const RunBatch &reference) const;
  /// How much worse `value` is than `reference`, in the unit of budgets.
  double drop(double reference, double value) const;
  /// Half the width of the 95 % confidence interval of the drop between two evaluations of the same items, from
  /// the variance of their differences; nothing where items do not count alone.
  std::optional<double> interval(const Evaluation &reference, const Evaluation &value) const;
  /// Reads the amount of a budget: "0.5%", "0.3dB", "0.01".
  double parseDrop(const std::string &text) const;
  /// "93.40 %".
  std::string format(double value) const;
  std::string formatDrop(double drop) const;
  const std::string &name() const { return kindName; }

private:
  double evaluateCommand(const RunBatch &model) const;
  /// Adds the scores of a batch of classified items.
  void scoreClasses(const HostTensor &y, llvm::ArrayRef<double> labels, std::vector<double> &scores) const;
  /// Adds the scores of a batch of sequences.
  void scoreText(const HostTensor &y, llvm::ArrayRef<double> labels, int64_t samples,
                 std::vector<double> &scores) const;
  /// Whether the metric is a share of items, in percent.
  bool isPercent() const;

  const Dataset &data;
  std::string kindName, command;
  size_t output = 0;
};

} // namespace nnopt::compress

#endif
