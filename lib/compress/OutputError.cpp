//===- OutputError.cpp - how far outputs are from those of the float model --===//

#include "lib/compress/OutputError.h"
#include "lib/compress/Interrupt.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"
#include <cfloat>

namespace nnopt::compress {

void ErrorSum::add(const std::vector<HostTensor> &reference, const std::vector<HostTensor> &outputs) {
  constexpr int64_t kLanes = 8; // sums side by side, for vectors
  double errors[kLanes] = {}, energies[kLanes] = {};
  auto addAt = [&](float r, float y, int64_t lane) {
    double d = double(y) - double(r), squared = d * d, energy = double(r) * double(r);
    errors[lane] += squared <= DBL_MAX ? squared : 0; // neither infinite nor NaN
    energies[lane] += energy <= DBL_MAX ? energy : 0;
  };
  for (auto [want, got] : llvm::zip(reference, outputs)) {
    if (got.type != OnnxFloat)
      continue;
    const auto *r = reinterpret_cast<const float *>(want.data()), *y = reinterpret_cast<const float *>(got.data());
    int64_t e = 0, count = got.count();
    for (; e + kLanes <= count; e += kLanes)
      for (int64_t lane = 0; lane < kLanes; ++lane)
        addAt(r[e + lane], y[e + lane], lane);
    for (; e < count; ++e)
      addAt(r[e], y[e], 0);
  }
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    error += errors[lane];
    energy += energies[lane];
  }
}

std::vector<double> outputErrors(SwitchModel &model, const std::vector<Choice> &choices, const Dataset &data,
                                 SampleRange samples, llvm::function_ref<void(double)> done) {
  std::vector<ErrorSum> sums(choices.size());
  const Choice none(choices[0].size(), -1);
  // The first part that a choice changes.
  std::vector<size_t> begins(choices.size(), model.partCount() - 1);
  for (auto [begin, choice] : llvm::zip(begins, choices))
    for (auto [site, offer] : llvm::enumerate(choice))
      if (offer >= 0)
        begin = std::min(begin, model.partOf(site));
  for (int64_t first = samples.begin; first < samples.end; first += data.batchSize()) {
    int64_t count = data.batchIsFixed() ? data.batchSize() : std::min(data.countAt(first), samples.end - first);
    // What passes to each part in the float model, as far as it is kept.
    std::vector<HostTensor> states(model.partCount());
    std::vector<bool> kept(model.partCount());
    size_t bytes = 0, last = 0;
    for (size_t part : llvm::seq(model.partCount())) {
      HostTensor passing = model.runParts(part, part + 1, data, first, count, none, part ? &states[last] : nullptr);
      if (part + 1 == model.partCount())
        break;
      if (!kept[last])
        states[last] = HostTensor();
      last = part + 1;
      states[last] = std::move(passing);
      kept[last] = llvm::is_contained(begins, last) && (bytes += states[last].bytes()) <= kStateBytes;
    }
    std::vector<HostTensor> reference = std::move(*model.outputs());
    for (auto [i, choice] : llvm::enumerate(choices)) {
      if (choices.size() > 1 && Interrupt::happened())
        throw Interrupted();
      size_t begin = begins[i];
      while (begin && !kept[begin])
        --begin;
      model.runParts(begin, model.partCount(), data, first, count, choice, begin ? &states[begin] : nullptr);
      sums[i].add(reference, *model.outputs());
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
