//===- OutputError.h - how far outputs are from those of the float model -*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_OUTPUTERROR_H
#define NNOPT_LIB_COMPRESS_OUTPUTERROR_H

#include "lib/compress/SwitchModel.h"

namespace nnopt::compress {

/// Samples that errors and sensitivities are measured on.
constexpr int64_t kProbeSamples = 64;

/// Squared differences of float outputs, beside their squares; what is not finite counts as nothing.
class ErrorSum {
public:
  void add(const std::vector<HostTensor> &reference, const std::vector<HostTensor> &outputs);
  /// Their ratio.
  double relative() const { return energy > 0 ? error / energy : error; }

private:
  double error = 0, energy = 0;
};

/// The relative squared errors of the float outputs that choices bring in a model, on samples of `data`. `done`, if
/// anything, is told the share that is done. With several choices Ctrl-C throws Interrupted.
std::vector<double> outputErrors(SwitchModel &model, const std::vector<Choice> &choices, const Dataset &data,
                                 SampleRange samples, llvm::function_ref<void(double)> done = nullptr);

/// The same of one choice.
inline double outputError(SwitchModel &model, const Choice &choice, const Dataset &data, SampleRange samples) {
  return outputErrors(model, {choice}, data, samples)[0];
}

} // namespace nnopt::compress

#endif
