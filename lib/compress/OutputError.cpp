//===- OutputError.cpp - how far outputs are from those of the float model --===//

#include "lib/compress/OutputError.h"
#include "lib/compress/Interrupt.h"
#include <cmath>

namespace nnopt::compress {

void ErrorSum::add(const std::vector<HostTensor> &reference, const std::vector<HostTensor> &outputs) {
  for (size_t o = 0; o < outputs.size(); ++o)
    for (int64_t e = 0; e < (outputs[o].type == OnnxFloat ? outputs[o].count() : 0); ++e) {
      double r = reference[o].at(e), d = outputs[o].at(e) - r;
      error += std::isfinite(d) ? d * d : 0;
      energy += std::isfinite(r) ? r * r : 0;
    }
}

std::vector<double> outputErrors(SwitchModel &model, const std::vector<Choice> &choices, const Dataset &data,
                                 SampleRange samples, llvm::function_ref<void(double)> done) {
  std::vector<ErrorSum> sums(choices.size());
  for (int64_t first = samples.begin; first < samples.end; first += data.batchSize()) {
    int64_t count = data.batchIsFixed() ? data.batchSize() : std::min(data.countAt(first), samples.end - first);
    std::vector<HostTensor> reference = std::move(*model.run(data, first, count, Choice(choices[0].size(), -1)));
    for (auto [i, choice] : llvm::enumerate(choices)) {
      if (choices.size() > 1 && Interrupt::happened())
        throw Interrupted();
      sums[i].add(reference, *model.run(data, first, count, choice));
      if (done)
        done((double(first - samples.begin) + double(count) * double(i + 1) / double(choices.size())) /
             double(samples.count()));
    }
  }
  std::vector<double> errors;
  for (const ErrorSum &sum : sums)
    errors.push_back(sum.relative());
  return errors;
}

} // namespace nnopt::compress
