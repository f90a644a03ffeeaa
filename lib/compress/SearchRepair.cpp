//===- SearchRepair.cpp - weights that make up for what was lost ------------===//

#include "lib/compress/Search.h"

using namespace mlir;

namespace nnopt::compress {

/// Solves the weights of chosen options anew, layer after layer in the order of the graph: each
/// then sees what the changed layers before it give, and makes up for their errors. Kept when the
/// outputs come closer to those of the float model. Returns whether it was kept.
bool Search::repair(Choice &choice) {
  // A model of the chosen options alone.
  std::vector<Candidate> chosen;
  std::vector<size_t> origin;
  for (auto [i, c] : llvm::enumerate(candidates))
    if (choice[i] >= 0) {
      chosen.push_back({c.site, {c.offers[choice[i]]}});
      origin.push_back(i);
    }
  if (llvm::none_of(chosen, [](const Candidate &c) { return c.site.wantsGram; }))
    return false;
  progress.stage("repair of layers");
  SwitchModel changed(module, chosen, quick);
  Choice all(chosen.size(), 0), off(chosen.size(), -1);
  double before = outputError(changed, all, calib->usable());
  RowProduct product(module.getContext(), quick);
  bool any = false;
  std::vector<bool> done(chosen.size());
  for (size_t i = 0; i < chosen.size(); ++i) {
    progress.fraction(double(i) / double(chosen.size()));
    if (done[i] || !chosen[i].site.wantsGram)
      continue;
    if (Interrupt::happened())
      break;
    LinearLayer layer = *LinearLayer::get(chosen[i].site.op);
    GramSum sum;
    for (int64_t first = 0; first < calib->usable(); first += calib->batchSize()) {
      int64_t count = calib->countAt(first);
      changed.run(*calib, first, count, off);
      int64_t step = GramSum::stepFor(layer.columns(), layer.rowCount(changed.activation(i).shape) *
                                                           calib->usable() / count);
      Matrix dense = layer.rowsOf(changed.activation(i), step);
      changed.run(*calib, first, count, all);
      sum.add(product, layer.rowsOf(changed.activation(i), step), dense);
    }
    Gram gram = sum.take();
    // Layers that read the same do not change what each other reads.
    for (size_t k = i; k < chosen.size(); ++k) {
      if (done[k] || !chosen[k].site.wantsGram ||
          !LinearLayer::get(chosen[k].site.op)->sameColumns(layer))
        continue;
      done[k] = true;
      Offer &offer = chosen[k].offers[0];
      if (!offer.technique->refit(chosen[k].site.op, offer.option, gram))
        continue;
      any = true;
      if (changed.changesWeights(k, 0))
        changed.weightsChanged(k, 0);
    }
  }
  double after = any ? outputError(changed, all, calib->usable()) : before;
  notes["repair"] = {{"output_error_before", before},
                     {"output_error_after", after},
                     {"kept", any && after < before}};
  if (!any || !(after < before))
    return false;
  for (auto [i, c] : llvm::enumerate(chosen)) {
    candidates[origin[i]].offers[choice[origin[i]]] = c.offers[0];
    model->weightsChanged(origin[i], choice[origin[i]]);
  }
  return true;
}

/// Of the variants that all sites take together, each repaired, the one with the least error of the
/// outputs.
Choice Search::bestGlobalVariant() {
  std::vector<std::string> variants;
  for (const Candidate &c : candidates)
    for (const Offer &o : c.offers)
      if (!llvm::is_contained(variants, o.option.variant))
        variants.push_back(o.option.variant);
  std::optional<Choice> best;
  double least = 0;
  for (const std::string &variant : variants) {
    Choice choice = none();
    for (auto [i, c] : llvm::enumerate(candidates))
      for (auto [k, o] : llvm::enumerate(c.offers))
        if (o.option.variant == variant)
          choice[i] = int(k);
    if (best && Interrupt::happened())
      break;
    bool kept = repair(choice);
    double error =
        notes.contains("repair")
            ? notes["repair"][kept ? "output_error_after" : "output_error_before"].get<double>()
            : outputError(*model, choice, calib->usable());
    notes["variants"].push_back({{"variant", variant}, {"output_error", error}});
    if (!best || error < least) {
      best = choice;
      least = error;
    }
  }
  return *best;
}

} // namespace nnopt::compress
