//===- SearchRepair.cpp - weights that make up for what was lost ------------===//

#include "lib/compress/OutputError.h"
#include "lib/compress/Repair.h"
#include "lib/compress/Search.h"
#include "llvm/ADT/Sequence.h"

using namespace mlir;

namespace nnopt::compress {

/// The options of a choice by themselves. Where they change weights alone, also the layers that no
/// option takes: what repairs, repairs them too.
std::vector<Candidate> Search::chosenCandidates(const Choice &choice) const {
  std::vector<Candidate> chosen;
  bool weightsAlone = true;
  for (auto [i, c] : llvm::enumerate(candidates))
    if (choice[i] >= 0) {
      const Offer &offer = c.offers[choice[i]];
      // A table is no layer that another option could replace.
      weightsAlone &= isa<nn::GatherOp>(c.site.op) || offer.technique->weights(c.site.op, offer.option).has_value();
      chosen.push_back({c.site, {offer}});
      if (std::optional<Option> solvable = solvableOf(c, choice[i])) {
        chosen.back().offers[0].option = std::move(*solvable);
        chosen.back().site.wantsGram = true;
      }
    }
  for (const std::unique_ptr<Technique> &technique : techniques) {
    if (!technique->onlyRepairs() || !weightsAlone)
      continue;
    std::vector<Refusal> ignored;
    auto main = ModuleOp(module).lookupSymbol<func::FuncOp>("main");
    for (Site &site : technique->sites(main, ignored)) {
      Candidate &c = candidateAt(chosen, site);
      if (c.offers.empty())
        c.offers.push_back({technique.get(), site.name, technique->options(site, observations)[0]});
    }
  }
  return chosen;
}

/// Solves the weights of chosen options anew on `samples` of the calibration data. Kept when the
/// outputs for the samples `judges` come closer to those of the float model. Returns their error
/// then.
double Search::repair(Choice &choice, SampleRange samples, SampleRange judges) {
  std::vector<Candidate> chosen = chosenCandidates(choice);
  if (llvm::none_of(chosen, [](const Candidate &c) {
        return c.site.wantsGram && !c.offers[0].technique->onlyRepairs();
      }))
    return outputError(*model, choice, *calib, judges);
  progress.stage("repair of layers");
  SwitchModel changed(module, chosen, quick);
  Choice all(chosen.size(), 0);
  double before = outputError(changed, all, *calib, judges);
  RowProduct product(module.getContext(), quick);
  bool any = repairLayers(changed, chosen, 0, *calib, samples, product, [&](double f) { progress.fraction(f); });
  double after = any ? outputError(changed, all, *calib, judges) : before;
  notes["repair"] = {{"output_error_before", before},
                     {"output_error_after", after},
                     {"kept", any && after < before}};
  if (!any || !(after < before))
    return before;
  llvm::DenseMap<Operation *, size_t> places;
  for (auto [i, c] : llvm::enumerate(candidates))
    if (choice[i] >= 0)
      places[c.site.op] = i;
  std::vector<Step> &beside = repairs[choice] = {};
  for (const Candidate &c : chosen) {
    const Offer &offer = c.offers[0];
    auto it = places.find(c.site.op);
    if (it == places.end()) {
      beside.push_back({offer.technique->name().str(), offer.site, offer.option});
      continue;
    }
    candidates[it->second].offers[choice[it->second]] = offer;
    model->weightsChanged(it->second, choice[it->second]);
  }
  return after;
}

bool Search::canRepair(const Choice &choice) const {
  return llvm::any_of(llvm::seq(candidates.size()), [&](size_t i) {
    return choice[i] >= 0 && (candidates[i].site.wantsGram || solvableOf(candidates[i], choice[i]));
  });
}

/// An option in a form that can be solved anew. Noise is nothing to solve for.
std::optional<Option> Search::solvableOf(const Candidate &c, int offer) const {
  const Offer &o = c.offers[offer];
  return observations.ofNoise ? std::nullopt : o.technique->solvable(c.site.op, o.option);
}

/// The metric of the model that the recipe of a choice makes, with all that was repaired.
Evaluation Search::qualityOfRecipe(const Choice &choice) {
  CompiledGraph graph = compiled(choice, quick, /*threads=*/0);
  const Dataset &data = eval ? *eval : *calib;
  return metric->evaluate(
      [&](int64_t first, int64_t count) { return &graph.run(data.inputs(first, count)); },
      [&](int64_t first, int64_t count) { return floatOutputs(data, first, count); });
}

/// Of the variants that all sites take together, the one with the least error of the outputs after
/// repair. They are compared on a part of the data, by the outputs for another part where there is
/// one; the best is then repaired on all of it.
Choice Search::bestGlobalVariant() {
  std::vector<std::string> variants;
  for (const Candidate &c : candidates)
    for (const Offer &o : c.offers)
      if (!llvm::is_contained(variants, o.option.variant))
        variants.push_back(o.option.variant);
  int64_t usable = calib->usable(), batch = calib->batchSize();
  int64_t part = std::max(usable / 4 / batch * batch, batch);
  int64_t others = std::min(part + std::max(usable / 4, batch), usable);
  if (others <= part) {
    part = others = usable;
  }
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
    if (variants.size() == 1) {
      best = choice;
      break;
    }
    double error = repair(choice, {0, part}, {others > part ? part : 0, others});
    notes["variants"].push_back({{"variant", variant}, {"output_error", error}});
    if (!best || error < least) {
      best = choice;
      least = error;
    }
  }
  repair(*best, {0, usable}, {0, usable});
  return *best;
}

} // namespace nnopt::compress
