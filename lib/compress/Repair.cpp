//===- Repair.cpp - layers that make up for what was lost -------------------===//

#include "lib/compress/Repair.h"
#include "lib/compress/Interrupt.h"

using namespace mlir;

namespace nnopt::compress {

/// Moments of what the layer at a site reads when all options are on, beside the float model.
static Gram momentsOf(SwitchModel &model, size_t sites, size_t site, const LinearLayer &layer,
                      const Dataset &data, SampleRange samples, RowProduct &product) {
  Choice all(sites, 0), off(sites, -1);
  std::vector<GramSum> sums(layer.groups());
  for (int64_t first = samples.begin; first < samples.end; first += data.batchSize()) {
    int64_t count = data.countAt(first);
    model.run(data, first, count, off);
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
    model.run(data, first, count, all);
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

bool repairLayers(SwitchModel &model, std::vector<Candidate> &candidates, size_t first,
                  const Dataset &data, SampleRange samples, RowProduct &product,
                  llvm::function_ref<void(double)> progress) {
  bool any = false;
  size_t count = candidates.size();
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
    Gram gram = momentsOf(model, count, i, layerAt(i), data, samples, product);
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
