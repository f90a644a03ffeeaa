//===- Search.cpp - finding a recipe ----------------------------------------===//

#include "lib/compress/Search.h"
#include "lib/compress/Calibrate.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

/// Finds sites, calibrates and asks for options.
void Search::findCandidates() {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  llvm::SetVector<Value> taps;
  for (const std::unique_ptr<Technique> &technique : techniques) {
    for (Site &site : technique->sites(main, refused)) {
      taps.insert(site.observed.begin(), site.observed.end());
      for (Value v : site.op->getOperands())
        if (!isConstant(v))
          taps.insert(v);
      candidates.push_back({technique.get(), std::move(site), {}});
    }
  }
  if (candidates.empty())
    return;
  progress.stage("calibration");
  TappedModel tapped(module, taps.getArrayRef(), quick);
  Observations observations;
  tapped.observe(*calib, observations, [&](double f) { progress.fraction(f); });
  shapes = tapped.shapes(*calib);
  for (Candidate &c : candidates) {
    c.options = c.technique->options(c.site, observations);
    if (c.options.empty())
      refused.push_back({c.site.name, "there is no option for the values that were seen"});
  }
  llvm::erase_if(candidates, [](const Candidate &c) { return c.options.empty(); });
}

/// Of options with one name, keeps the variant with the least error, summed over the sites that share it.
void Search::keepBestVariants() {
  progress.stage("errors of layers");
  model = std::make_unique<SwitchModel>(module, candidates, quick);
  std::vector<std::vector<double>> errors(candidates.size());
  std::vector<double> energy(candidates.size());
  for (auto [i, c] : llvm::enumerate(candidates))
    errors[i].resize(c.options.size());
  for (int64_t first = 0; first < std::min(kProbeSamples, calib->usable()); first += calib->batchSize()) {
    model->run(*calib, first, calib->countAt(first), none());
    for (size_t i = 0; i < candidates.size(); ++i) {
      energy[i] += model->siteError(i, -1);
      for (size_t k = 0; k < errors[i].size(); ++k)
        errors[i][k] += model->siteError(i, int(k));
    }
  }
  auto relative = [&](size_t i, size_t k) { return energy[i] > 0 ? errors[i][k] / energy[i] : errors[i][k]; };
  std::map<std::tuple<const void *, std::string, std::string>, double> shared;
  auto keyOf = [&](size_t i, const Option &o) {
    const void *group = candidates[i].site.shared ? candidates[i].site.shared.getAsOpaquePointer() : candidates[i].site.op;
    return std::make_tuple(group, o.name, o.variant);
  };
  for (size_t i = 0; i < candidates.size(); ++i)
    for (size_t k = 0; k < errors[i].size(); ++k)
      shared[keyOf(i, candidates[i].options[k])] += relative(i, k);
  siteErrors.assign(candidates.size(), {});
  for (size_t i = 0; i < candidates.size(); ++i) {
    std::vector<Option> kept;
    std::map<std::string, size_t> best;
    for (auto [k, o] : llvm::enumerate(candidates[i].options)) {
      auto [it, isNew] = best.try_emplace(o.name, k);
      if (!isNew && shared[keyOf(i, o)] < shared[keyOf(i, candidates[i].options[it->second])])
        it->second = k;
    }
    switches.emplace_back();
    for (auto &[name, k] : best) {
      switches.back().push_back(int(k));
      kept.push_back(candidates[i].options[k]);
      siteErrors[i].push_back(relative(i, k));
    }
    candidates[i].options = std::move(kept);
  }
}

/// The outputs of a batch under a choice.
std::vector<HostTensor> *Search::run(const Dataset &data, int64_t first, const Choice &choice) {
  Choice all = choice;
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = choice[i] < 0 ? -1 : switches[i][choice[i]];
  return model->run(data, first, data.countAt(first), all);
}

/// The metric of a choice on the evaluation data.
double Search::quality(const Choice &choice) {
  if (auto it = qualities.find(choice); it != qualities.end())
    return it->second;
  const Dataset &data = eval ? *eval : *calib;
  auto runner = [&](const Choice &c) {
    return [&, c](int64_t first, int64_t) { return run(data, first, c); };
  };
  return qualities[choice] = metric->evaluate(runner(choice), runner(none()));
}

Recipe Search::recipeOf(const Choice &choice) const {
  Recipe recipe;
  recipe.notes = notes;
  for (auto [i, c] : llvm::enumerate(candidates))
    if (choice[i] >= 0)
      recipe.steps.push_back({c.technique->name().str(), c.site.name, c.options[choice[i]]});
  return recipe;
}

void Search::writeRecipe(const Recipe &recipe, const std::string &path) const { writeText(path, recipe.text()); }

void Search::printSummary(const Choice &choice) const {
  std::map<std::string, int> counts;
  int left = 0;
  for (auto [i, c] : llvm::enumerate(candidates)) {
    if (choice[i] < 0)
      ++left;
    else
      ++counts[c.options[choice[i]].name];
  }
  std::string text;
  for (auto &[name, count] : counts)
    text += std::to_string(count) + " layers " + name + ", ";
  say(options.model + ": " + text + std::to_string(left) + " left as they are, " + std::to_string(refused.size()) + " not eligible");
}

std::string Search::run() {
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
      outputs.push_back(main.getResultAttrOfType<StringAttr>(i, "nn.name") ? main.getResultAttrOfType<StringAttr>(i, "nn.name").str() : "");
    metric = std::make_unique<Metric>(ask.metric, data, outputs);
  }
  std::optional<double> maxDrop;
  if (budget && !budget->drop.empty()) {
    maxDrop = metric->parseDrop(budget->drop);
    if (metric->name() == "psnr" && !data.labels())
      throw ToolError(2, "--budget=drop with psnr needs 'labels' in --eval; without them, use cosine");
  }
  findCandidates();
  if (candidates.empty()) {
    std::string why = refused.empty() ? "it has no convolutions or matrix products" : "'" + refused[0].name + "': " + refused[0].reason;
    if (budget && (budget->latency || budget->size))
      refuseBudget("no layer can be compressed: " + why, {});
    say(options.model + ": warning: no layer can be compressed: " + why);
    return Recipe{}.text();
  }
  keepBestVariants();
  if (metric) {
    floatQuality = quality(none());
    notes["metric"] = metric->name();
    notes["float"]["quality"] = floatQuality;
    if (!eval)
      say(options.model + ": warning: without --eval, quality is measured on the calibration data, which flatters");
  }
  Choice choice = budget ? chooseWithin(*budget, maxDrop) : Choice(candidates.size(), 0);

  for (auto [i, c] : llvm::enumerate(candidates)) {
    if (!budget)
      notes["layers"].push_back({{"site", c.site.name}});
    json &note = notes["layers"][i];
    note["chosen"] = choice[i] < 0 ? "float" : c.options[choice[i]].name;
    for (auto [k, o] : llvm::enumerate(c.options)) {
      json option = {{"name", o.name}, {"variant", o.variant}, {"error", siteErrors[i][k]}};
      if (budget) {
        const Cost &cost = problem.sites[i][k + 1];
        option["output_error"] = cost.distortion;
        option["ms"] = note["ms"].get<double>() + cost.latency;
        option["weight_bytes"] = note["weight_bytes"].get<int64_t>() + int64_t(cost.size);
        if (choice[i] < 0)
          note["why"] = cost.latency >= 0 ? "it would not be faster" : "the outputs would change too much";
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
    double value = metric->evaluate([&](int64_t first, int64_t count) { return &compressed.run(data.inputs(first, count)); },
                                    [&](int64_t first, int64_t) { return run(data, first, none()); });
    double drop = metric->drop(floatQuality, value);
    notes["compressed"]["quality"] = value;
    std::string line = metric->format(value) + " (float " + metric->format(floatQuality) + ")";
    if (budget) {
      std::vector<HostTensor> inputs = calib->inputs(0, calib->latencyBatch());
      double ms = compressed.measure(std::move(inputs), 20), base = plain->measure(calib->inputs(0, calib->latencyBatch()), 20);
      notes["compressed"]["latency_ms"] = ms;
      notes["compressed"]["bytes"] = compressed.fileBytes();
      line += llvm::formatv(", {0:f3} ms (float {1:f3}; one thread), {2:f3} MB (float {3:f3})", ms, base, double(compressed.fileBytes()) / 1e6,
                            double(plain->fileBytes()) / 1e6)
                  .str();
      if (maxDrop && drop > *maxDrop + 1e-9)
        refuseBudget("the compiled model loses " + metric->formatDrop(drop) + ": " + line, choice);
      if (budget->latency && ms > budget->latency->of(base))
        refuseBudget("the compiled model is slower than its layers promised: " + line, choice);
      if (budget->size && double(compressed.fileBytes()) > budget->size->of(double(plain->fileBytes())))
        refuseBudget("the compiled model is larger than its layers promised: " + line, choice);
    }
    say(options.model + ": " + line);
  }
  printSummary(choice);
  recipe.notes = notes;
  if (!ask.recipeOut.empty())
    writeRecipe(recipe, ask.recipeOut);
  return recipe.text();
}

} // namespace nnopt::compress
