//===- runner.h - an artifact with inputs, ready to run ---------*- C++ -*-===//
#ifndef NNOPT_TOOLS_COMMON_RUNNER_H
#define NNOPT_TOOLS_COMMON_RUNNER_H

#include "tools/common/tensor.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace nnopt {

/// Model, session, inputs and outputs. All members throw ToolError with the exit status that fits.
class Runner {
public:
  /// `copyWeights`: read the weights into memory (huge pages) in place of mapping the file.
  /// `device`: kDLCPU, or kDLCUDA for GPU code.
  Runner(const std::string &path, int threads, bool copyWeights = false, int device = kDLCPU);
  ~Runner();
  Runner(const Runner &) = delete;

  /// Takes the inputs from an .npz file, by name; element types and shapes must match.
  void loadInputs(const std::string &path);
  /// Random inputs from a seed: floats in [-1, 1), bytes over their range, other integers 0 or 1
  /// (so that they are valid as indices and masks). Symbolic dimensions are `dims` or else the
  /// least size that is allowed, at least 1.
  void randomInputs(const std::map<std::string, int64_t> &dims, unsigned seed);
  /// Takes inputs as they are, in graph order.
  void setInputs(std::vector<HostTensor> tensors);
  /// Makes the outputs ready; needed after inputs of new shapes.
  void prepare();
  /// Runs once; returns milliseconds.
  double run();
  /// All outputs of the last run, in graph order.
  std::vector<HostTensor> &outputs();

  /// Arena, weights, threads and the like, for --json.
  nlohmann::json memoryJson() const;
  double openMs() const { return openMilliseconds; }

  nnopt_model *model = nullptr;
  nnopt_session *session = nullptr;
  std::vector<HostTensor> inputs;

private:
  std::string path;
  double openMilliseconds = 0;
  std::vector<DLTensor *> inputPointers, outputPointers;
  std::vector<HostTensor> results;
};

/// min, p50, p90, p99, max, mean of a list that is not empty.
struct Distribution {
  explicit Distribution(std::vector<double> values);
  double min, p50, p90, p99, max, mean;
  nlohmann::json json() const;
};

/// Writes text to a file (beside it, then renamed) or, for "-", to stdout.
void writeText(const std::string &path, const std::string &text);
/// Most memory that this process had.
int64_t peakRss();
double nowMs();

} // namespace nnopt

#endif
