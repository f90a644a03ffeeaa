//===- Search.cpp - finding a recipe ----------------------------------------===//

#include "lib/compress/Search.h"
#include "lib/compress/Calibrate.h"
#include "lib/compress/LayerCost.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

/// Finds sites, calibrates and asks for options.
void Search::findCandidates() {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  llvm::SetVector<Value> taps, sampled;
  TappedModel::Wanted wanted;
  std::vector<std::pair<Technique *, std::vector<Site>>> found;
  for (const std::unique_ptr<Technique> &technique : techniques) {
    if (technique->onlyRepairs())
      continue;
    if (alone()) {
      if (technique->name() != ask.technique)
        continue;
      technique->configure(ask.spec);
    }
    found.push_back({technique.get(), technique->sites(main, refused)});
    for (const Site &site : found.back().second)
      candidateAt(candidates, site);
  }
  if (candidates.empty())
    return;
  for (Candidate &c : candidates) {
    taps.insert(c.site.observed.begin(), c.site.observed.end());
    taps.insert(c.site.sampled.begin(), c.site.sampled.end());
    sampled.insert(c.site.sampled.begin(), c.site.sampled.end());
    for (Value v : LayerCosts::inputsOf(c.site))
      taps.insert(v);
    if (c.site.wantsGram)
      wanted.layers.push_back(*LinearLayer::get(c.site.op));
    if (c.site.regressor)
      wanted.regressions.push_back({c.site.op, c.site.regressor});
  }
  wanted.rows = sampled.takeVector();
  progress.stage("calibration");
  TappedModel tapped(module, taps.getArrayRef(), quick);
  tapped.observe(*calib, wanted, observations, [&](double f) { progress.fraction(f); });
  shapes = tapped.shapes(*calib);
  samples = tapped.sample(*calib);
  for (auto &[technique, sites] : found) {
    technique->plan(sites, observations);
    for (Site &site : sites) {
      std::vector<Option> options = technique->options(site, observations);
      if (options.empty())
        refused.push_back({site.name, technique->whyNothing(site, observations)});
      for (Option &option : options)
        candidateAt(candidates, site).offers.push_back({technique, site.name, std::move(option), site.inside});
    }
  }
  llvm::erase_if(candidates, [](const Candidate &c) { return c.offers.empty(); });
}

/// Errors of all offers at their own sites, relative to what the site gives.
void Search::measureSiteErrors() {
  progress.stage("errors of layers");
  model = std::make_unique<SwitchModel>(module, candidates, quick);
  siteErrors.assign(candidates.size(), {});
  std::vector<double> energy(candidates.size());
  bool switches = false;
  for (auto [i, c] : llvm::enumerate(candidates))
    for (size_t k = 0; k < c.offers.size(); ++k) {
      siteErrors[i].push_back(0);
      switches |= !model->changesWeights(i, int(k));
      if (const Gram *gram = observations.gram(c.site.op); gram && model->changesWeights(i, int(k)))
        siteErrors[i][k] = gram->relativeError(model->originalWeights(i), model->weights(i, int(k)));
    }
  for (int64_t first = 0; switches && first < std::min(kProbeSamples, calib->usable());
       first += calib->batchSize()) {
    model->run(*calib, first, calib->countAt(first), none());
    for (auto [i, c] : llvm::enumerate(candidates)) {
      bool known = false;
      for (size_t k = 0; k < c.offers.size(); ++k) {
        if (model->changesWeights(i, int(k)))
          continue;
        energy[i] += known ? 0 : model->siteError(i, -1);
        known = true;
        siteErrors[i][k] += model->siteError(i, int(k));
      }
    }
  }
  for (auto [i, c] : llvm::enumerate(candidates))
    for (size_t k = 0; k < c.offers.size(); ++k)
      if (!model->changesWeights(i, int(k)) && energy[i] > 0)
        siteErrors[i][k] /= energy[i];
}

/// Of options with one name, keeps the variant with the least error, summed over the sites that
/// share it.
void Search::keepBestVariants() {
  std::map<std::tuple<const void *, const Technique *, std::string, std::string>, double> shared;
  auto keyOf = [&](size_t i, const Offer &o) {
    const void *group = candidates[i].site.shared ? candidates[i].site.shared.getAsOpaquePointer()
                                                  : candidates[i].site.op;
    return std::make_tuple(group, o.technique, o.option.name, o.option.variant);
  };
  for (auto [i, c] : llvm::enumerate(candidates))
    for (auto [k, offer] : llvm::enumerate(c.offers))
      shared[keyOf(i, offer)] += siteErrors[i][k];
  bool dropped = false;
  for (auto [i, c] : llvm::enumerate(candidates)) {
    std::vector<Offer> kept;
    std::vector<double> errors;
    std::map<std::pair<const Technique *, std::string>, size_t> best;
    for (auto [k, o] : llvm::enumerate(c.offers)) {
      auto [it, isNew] = best.try_emplace({o.technique, o.option.name}, k);
      if (!isNew && shared[keyOf(i, o)] < shared[keyOf(i, c.offers[it->second])])
        it->second = k;
    }
    for (size_t k = 0; k < c.offers.size(); ++k)
      if (best[{c.offers[k].technique, c.offers[k].option.name}] == k) {
        kept.push_back(c.offers[k]);
        errors.push_back(siteErrors[i][k]);
      }
    dropped |= kept.size() < c.offers.size();
    c.offers = std::move(kept);
    siteErrors[i] = std::move(errors);
  }
  if (dropped) {
    progress.stage("model with switches");
    model = std::make_unique<SwitchModel>(module, candidates, quick);
  }
}

/// The outputs of a batch under a choice.
std::vector<HostTensor> *Search::run(const Dataset &data, int64_t first, const Choice &choice) {
  return model->run(data, first, data.countAt(first), choice);
}

/// The relative squared error of the float outputs that `choice` brings in a model, on samples
/// of the calibration data.
double Search::outputError(SwitchModel &of, const Choice &choice, SampleRange samples) const {
  double error = 0, energy = 0;
  Choice off(choice.size(), -1);
  for (int64_t first = samples.begin; first < samples.end; first += calib->batchSize()) {
    std::vector<HostTensor> reference =
        std::move(*of.run(*calib, first, calib->countAt(first), off));
    std::vector<HostTensor> &outputs = *of.run(*calib, first, calib->countAt(first), choice);
    for (size_t o = 0; o < outputs.size(); ++o)
      for (int64_t e = 0; e < (outputs[o].type == OnnxFloat ? outputs[o].count() : 0); ++e) {
        double r = reference[o].at(e), d = outputs[o].at(e) - r;
        error += std::isfinite(d) ? d * d : 0;
        energy += std::isfinite(r) ? r * r : 0;
      }
  }
  return energy > 0 ? error / energy : error;
}

/// The metric of a choice on the evaluation data.
const Evaluation &Search::quality(const Choice &choice) {
  if (auto it = qualities.find(choice); it != qualities.end())
    return it->second;
  const Dataset &data = eval ? *eval : *calib;
  auto runner = [&](const Choice &c) {
    return [&, c](int64_t first, int64_t) { return run(data, first, c); };
  };
  Evaluation value = metric->evaluate(runner(choice), runner(none()));
  // For the report: what was tried, with what its layers promise.
  if (!problem.sites.empty() && plain) {
    double ms = notes["float"]["latency_ms"], bytes = double(plain->fileBytes());
    for (auto [i, k] : llvm::enumerate(choice)) {
      ms += problem.sites[i][k + 1].latency;
      bytes += problem.sites[i][k + 1].size;
    }
    notes["points"].push_back({{"quality", value.value}, {"ms", ms}, {"bytes", bytes}});
  }
  return qualities[choice] = std::move(value);
}

Recipe Search::recipeOf(const Choice &choice) const {
  Recipe recipe;
  recipe.notes = notes;
  for (auto [i, c] : llvm::enumerate(candidates))
    if (choice[i] >= 0)
      recipe.steps.push_back({c.offers[choice[i]].technique->name().str(), c.offers[choice[i]].site,
                              c.offers[choice[i]].option});
  if (auto it = repairs.find(choice); it != repairs.end())
    recipe.steps.insert(recipe.steps.end(), it->second.begin(), it->second.end());
  return recipe;
}

void Search::printSummary(const Choice &choice) const {
  if (Interrupt::happened())
    say(options.model + ": warning: interrupted: this is the best that was found until then");
  std::map<std::string, int> counts;
  int left = 0;
  for (auto [i, c] : llvm::enumerate(candidates)) {
    if (choice[i] < 0)
      ++left;
    else
      ++counts[c.offers[choice[i]].option.name];
  }
  std::string text;
  for (auto &[name, count] : counts)
    text += std::to_string(count) + " layers " + name + ", ";
  say(options.model + ": " + text + std::to_string(left) + " left as they are, " +
      std::to_string(refused.size()) + " not eligible");
}

/// Drops choices for operations that another choice replaces.
void Search::dropReplaced(Choice &choice) const {
  llvm::SmallPtrSet<Operation *, 16> gone;
  for (auto [i, c] : llvm::enumerate(candidates))
    if (choice[i] >= 0)
      gone.insert(c.offers[choice[i]].replaces.begin(), c.offers[choice[i]].replaces.end());
  for (auto [i, c] : llvm::enumerate(candidates))
    if (gone.contains(c.site.op))
      choice[i] = -1;
}

Recipe Search::run() {
  Interrupt interrupt;
  try {
    return search();
  } catch (const Interrupted &) {
    say(options.model + ": warning: interrupted before anything was chosen: the model stays as it is");
    return {};
  }
}

Recipe Search::search() {
  // All that the user gave is checked before anything takes time.
  std::optional<Budget> budget;
  if (!ask.budget.empty())
    budget = Budget::parse(ask.budget);
  auto main = module.lookupSymbol<func::FuncOp>("main");
  calib.emplace(ask.calib, main);
  if (!ask.eval.empty())
    eval.emplace(ask.eval, main);
  const Dataset &data = eval ? *eval : *calib;
  if (eval || budget || !ask.metric.empty()) {
    std::vector<std::string> outputs;
    for (unsigned i = 0; i < main.getNumResults(); ++i)
      outputs.push_back(main.getResultAttrOfType<StringAttr>(i, "nn.name")
                            ? main.getResultAttrOfType<StringAttr>(i, "nn.name").str()
                            : "");
    metric = std::make_unique<Metric>(ask.metric, data, outputs);
  }
  std::optional<double> maxDrop;
  if (budget && !budget->drop.empty()) {
    maxDrop = metric->parseDrop(budget->drop);
    if (metric->name() == "psnr" && !data.labels())
      throw ToolError(2,
                      "--budget=drop with psnr needs 'labels' in --eval; without them, use cosine");
  }
  findCandidates();
  if (candidates.empty()) {
    std::string why = refused.empty() ? "it has no layer for any technique"
                                      : "'" + refused[0].name + "': " + refused[0].reason;
    if (budget && (budget->latency || budget->size || budget->memory))
      refuseBudget("no layer can be compressed: " + why, {});
    say(options.model + ": warning: no layer can be compressed: " + why);
    return {};
  }
  measureSiteErrors();
  Choice choice = none();
  bool global = alone() && !budget && candidates[0].offers[0].technique->variantsAreGlobal();
  if (!global)
    keepBestVariants();
  if (metric) {
    floatQuality = quality(none());
    notes["metric"] = metric->name();
    notes["float"]["quality"] = floatQuality.value;
    if (!eval)
      say(options.model +
          ": warning: without --eval, quality is measured on the calibration data, which flatters");
  }
  if (global) {
    choice = bestGlobalVariant();
  } else if (budget) {
    choice = chooseWithin(*budget, maxDrop);
  } else {
    choice = Choice(candidates.size(), 0);
    dropReplaced(choice);
    repair(choice);
  }

  for (auto [i, c] : llvm::enumerate(candidates)) {
    if (!budget)
      notes["layers"].push_back({{"site", c.site.name}});
    json &note = notes["layers"][i];
    note["chosen"] = choice[i] < 0 ? "float" : c.offers[choice[i]].option.name;
    for (auto [k, offer] : llvm::enumerate(c.offers)) {
      const Option &o = offer.option;
      json option = {{"technique", offer.technique->name().str()},
                     {"name", o.name},
                     {"variant", o.variant},
                     {"error", siteErrors[i][k]}};
      if (budget) {
        const Cost &cost = problem.sites[i][k + 1];
        option["output_error"] = cost.distortion;
        option["ms"] = note["ms"].get<double>() + cost.latency;
        option["weight_bytes"] = note["weight_bytes"].get<int64_t>() + int64_t(cost.size);
        if (choice[i] < 0)
          note["why"] =
              cost.latency >= 0 ? "it would not be faster" : "the outputs would change too much";
      }
      note["options"].push_back(option);
    }
  }
  for (const Refusal &r : refused)
    notes["refused"].push_back({{"site", r.name}, {"reason", r.reason}});

  // What comes out is compiled and measured as it will run.
  Recipe recipe = recipeOf(choice);
  applyRecipe(module, recipe, techniques);
  if (metric) {
    progress.stage("validation");
    CompiledGraph compressed(module, settings, /*threads=*/1);
    Evaluation value = metric->evaluate(
        [&](int64_t first, int64_t count) { return &compressed.run(data.inputs(first, count)); },
        [&](int64_t first, int64_t) { return run(data, first, none()); });
    double drop = metric->drop(floatQuality.value, value.value);
    notes["compressed"]["quality"] = value.value;
    std::string line = metric->format(value.value) + " (float " + metric->format(floatQuality.value);
    if (std::optional<double> half = metric->interval(floatQuality, value)) {
      notes["compressed"]["drop"] = drop;
      notes["compressed"]["drop_interval"] = {drop - *half, drop + *half};
      line += "; drop " + metric->formatDrop(drop) + ", within " + metric->formatDrop(*half) + " at 95 %";
    }
    line += ")";
    if (budget) {
      std::vector<HostTensor> inputs = calib->inputs(0, calib->latencyBatch());
      double ms = compressed.measure(std::move(inputs), 20),
             base = plain->measure(calib->inputs(0, calib->latencyBatch()), 20);
      notes["points"].push_back({{"quality", floatQuality.value}, {"ms", base}, {"bytes", plain->fileBytes()}, {"float", true}});
      notes["points"].push_back({{"quality", value.value}, {"ms", ms}, {"bytes", compressed.fileBytes()}, {"taken", true}});
      notes["compressed"]["latency_ms"] = ms;
      notes["compressed"]["bytes"] = compressed.fileBytes();
      line += llvm::formatv(", {0:f3} ms (float {1:f3}; one thread), {2:f3} MB (float {3:f3})", ms,
                            base, double(compressed.fileBytes()) / 1e6,
                            double(plain->fileBytes()) / 1e6)
                  .str();
      if (maxDrop && !holds(value, *maxDrop))
        refuseBudget("the compiled model loses " + metric->formatDrop(drop) + ": " + line, choice);
      if (budget->latency && ms > budget->latency->of(base))
        refuseBudget("the compiled model is slower than its layers promised: " + line, choice);
      if (budget->memory &&
          double(compressed.memoryBytes()) > budget->memory->of(double(plain->memoryBytes())))
        refuseBudget(llvm::formatv("the compiled model takes {0:f3} MB of memory (float {1:f3}): {2}",
                                   double(compressed.memoryBytes()) / 1e6, double(plain->memoryBytes()) / 1e6, line)
                         .str(),
                     choice);
      if (budget->size &&
          double(compressed.fileBytes()) > budget->size->of(double(plain->fileBytes())))
        refuseBudget("the compiled model is larger than its layers promised: " + line, choice);
    }
    say(options.model + ": " + line);
  }
  printSummary(choice);
  recipe.notes = notes;
  if (!ask.recipeOut.empty())
    recipe.write(ask.recipeOut);
  return recipe;
}

} // namespace nnopt::compress
