//===- Repair.cpp - layers that make up for what was lost -------------------===//

#include "lib/compress/Repair.h"
#include "lib/compress/Interrupt.h"

using namespace mlir;

namespace nnopt::compress {

namespace {

/// A model with all options on, beside the float model, one part after the other.
class SideBySide {
public:
  SideBySide(SwitchModel &model, size_t sites, const Dataset &data, SampleRange samples)
      : model(model), data(data), samples(samples), all(sites, 0), off(sites, -1) {}

  /// Moments of what the layer at a site reads. Sites must come in order: those in the parts before are solved.
  Gram momentsOf(size_t site, const LinearLayer &layer, RowProduct &product) {
    const size_t part = model.partOf(site);
    advance(part);
    std::vector<GramSum> sums(layer.groups());
    for (auto [b, first] : llvm::enumerate(batches())) {
      int64_t count = data.countAt(first);
      auto run = [&](const Choice &choice, const std::vector<HostTensor> &states) {
        model.runParts(at, part + 1, data, first, count, choice, at ? &states[b] : nullptr);
      };
      run(off, plain);
      int64_t rows = layer.rowCount(model.activation(site).shape) * samples.count() / count;
      int64_t step = GramSum::stepFor(layer.columns(), rows);
      std::vector<Matrix> dense;
      for (int64_t g = 0; g < layer.groups(); ++g)
        dense.push_back(layer.rowsOf(model.activation(site), step, g));
      Matrix missing;
      const HostTensor *beside = model.beside(site);
      bool inSum =
          beside && layer.groups() == 1 &&
          beside->count() == layer.rowCount(model.activation(site).shape) * layer.outChannels();
      if (inSum)
        missing = layer.resultRowsOf(*beside, step);
      run(all, changed);
      for (int64_t g = 0; g < layer.groups(); ++g) {
        Matrix x = layer.rowsOf(model.activation(site), step, g);
        sums[g].add(product, x, dense[g]);
        if (inSum)
          sums[g].addMissing(product, missing - layer.resultRowsOf(*model.beside(site), step), x,
                             dense[g]);
      }
    }
    if (layer.groups() == 1)
      return sums[0].take();
    Gram gram;
    for (GramSum &sum : sums)
      gram.groups.push_back(sum.take());
    return gram;
  }

private:
  std::vector<int64_t> batches() const {
    std::vector<int64_t> firsts;
    for (int64_t first = samples.begin; first < samples.end; first += data.batchSize())
      firsts.push_back(first);
    return firsts;
  }

  /// Lets `plain` and `changed` be what passes to `part`, unless that is too much to keep.
  void advance(size_t part) {
    if (at == part)
      return;
    std::vector<HostTensor> nextPlain, nextChanged;
    for (auto [b, first] : llvm::enumerate(batches())) {
      int64_t count = data.countAt(first);
      nextPlain.push_back(model.runParts(at, part, data, first, count, off, at ? &plain[b] : nullptr));
      nextChanged.push_back(model.runParts(at, part, data, first, count, all, at ? &changed[b] : nullptr));
      if (2 * nextPlain[0].bytes() * batches().size() > kStateBytes)
        return;
    }
    plain = std::move(nextPlain);
    changed = std::move(nextChanged);
    at = part;
  }

  SwitchModel &model;
  const Dataset &data;
  const SampleRange samples;
  const Choice all, off;
  size_t at = 0;                           // the part that begins with the states
  std::vector<HostTensor> plain, changed; // of each batch, where at > 0
};

} // namespace

bool repairLayers(SwitchModel &model, std::vector<Candidate> &candidates, size_t first,
                  const Dataset &data, SampleRange samples, RowProduct &product,
                  llvm::function_ref<void(double)> progress) {
  bool any = false;
  size_t count = candidates.size();
  SideBySide sides(model, count, data, samples);
  std::vector<bool> done(count);
  auto layerAt = [&](size_t i) {
    return *LinearLayer::get(candidates[i].site.op, nullptr, Groups::Taken);
  };
  auto inSum = [&](size_t i) { return bool(besideInSum(candidates[i].site.op->getResult(0))); };
  for (size_t i = first; i < count; ++i) {
    progress(double(i - first) / double(count - first));
    if (done[i] || !candidates[i].site.wantsGram)
      continue;
    if (Interrupt::happened())
      break;
    Gram gram = sides.momentsOf(i, layerAt(i), product);
    // Layers that read the same do not change what each other reads.
    for (size_t k = i; k < count; ++k) {
      bool alike = k == i || (!done[k] && candidates[k].site.wantsGram && !inSum(i) && !inSum(k) &&
                              layerAt(k).sameColumns(layerAt(i)));
      if (!alike)
        continue;
      done[k] = true;
      Offer &offer = candidates[k].offers[0];
      if (!offer.technique->refit(candidates[k].site.op, offer.option, gram))
        continue;
      any = true;
      if (model.changesWeights(k, 0))
        model.weightsChanged(k, 0);
    }
  }
  return any;
}

} // namespace nnopt::compress
