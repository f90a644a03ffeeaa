//===- Search.cpp - finding a recipe ----------------------------------------===//

#include "lib/compress/Search.h"
#include "lib/compress/Calibrate.h"
#include "lib/compress/LayerCost.h"
#include "lib/compress/OutputError.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

Search::Search(ModuleOp module, const DriverOptions &options, Progress &progress, int64_t moments,
               const MomentsByName &normalizations)
    : module(module), options(options), ask(options.compression), progress(progress), moments(moments), normalizations(normalizations),
      techniques(allTechniques()) {
  settings.winograd = options.winograd;
  settings.sparse = options.sparse;
  settings.encodeWeights =
      options.encode == EncodeUse::On ||
      (options.encode == EncodeUse::Auto && !ask.budget.empty() && Budget::parse(ask.budget).size);
  settings.objects = options.cacheDir.empty() ? objectsInMemory() : Cache(options.cacheDir).objects();
  SmallVector<StringRef> targets;
  StringRef(options.target).split(targets, ',');
  settings.target = targets[0].str();
  std::string names; // what `native` is, too
  for (StringRef name : targets) {
    std::string error;
    cpu::Target target;
    bool known = cpu::Target::get(name, target, error);
    names += (names.empty() ? "" : ",") + (known ? target.name : name.str());
    multipliesBf16 &= known && target.bf16;
    if (name == targets[0])
      runsTarget = known && cpu::runsOnHost(target);
  }
  notes["target"] = {{"cpu", names}};
  notes["encode_weights"] = settings.encodeWeights;
  if (!options.gpu.empty())
    notes["target"]["gpu"] = options.gpu;
  if (!runsTarget)
    settings.target = "native";
  quick = settings;
  quick.quickly = true;
}

Search::Search(const Search &beside, ModuleOp module, std::vector<Step> ahead, std::vector<std::string> &said)
    : module(module), options(beside.options), ask(beside.ask), progress(beside.progress), moments(beside.moments),
      normalizations(beside.normalizations), techniques(allTechniques()), settings(beside.settings), quick(beside.quick), runsTarget(beside.runsTarget),
      multipliesBf16(beside.multipliesBf16), budget(beside.budget), maxDrop(beside.maxDrop), calib(beside.calib),
      eval(beside.eval), plain(beside.plain), ahead(std::move(ahead)), wholes(beside.wholes), metric(beside.metric), notes(beside.notes),
      said(&said) {}

/// What measures layers. A warning where that is not what the target will take.
LayerCosts Search::layerCosts(const Samples *samples) {
  if (!runsTarget && !notes.contains("measured"))
    say(options.model + ": warning: this machine cannot run code for " + options.target +
        ": layers are measured with its own kernels");
  notes["measured"] = settings.target;
  return LayerCosts(settings, Cache(options.cacheDir), samples, plain->memoryBytes());
}

/// Finds sites, calibrates and asks for options.
void Search::findCandidates() {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  llvm::SetVector<Value> taps, sampled;
  TappedModel::Wanted wanted;
  std::vector<std::pair<Technique *, std::vector<Site>>> found;
  cpu::Target target;
  std::string unknown;
  cpu::Target::get(StringRef(options.target).split(',').first, target, unknown);
  for (const std::unique_ptr<Technique> &technique : techniques) {
    if (technique->onlyRepairs())
      continue;
    technique->setTarget(target);
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
    for (ArrayRef<Operation *> inside : {ArrayRef<Operation *>(), ArrayRef<Operation *>(c.site.inside)})
      for (Value v : LayerCosts::inputsOf(c.site.op, inside))
        taps.insert(v);
    if (c.site.wantsGram)
      wanted.layers.push_back(*LinearLayer::get(c.site.op));
    if (c.site.channelAxis >= 0)
      wanted.channels[c.site.observed[0]] = c.site.channelAxis;
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
  model = std::make_unique<SwitchModel>(module, candidates, quick, SwitchModel::Computes::All);
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
  // What was measured computes all options in every run.
  if (dropped || budget) {
    progress.stage("model with switches");
    model = std::make_unique<SwitchModel>(module, candidates, quick);
  }
}

/// The outputs of a batch under a choice.
std::vector<HostTensor> *Search::run(const Dataset &data, int64_t first, const Choice &choice) {
  return model->run(data, first, data.countAt(first), choice);
}

/// The outputs of the float model: as it was before channels went.
std::vector<HostTensor> *Search::floatOutputs(const Dataset &data, int64_t first, int64_t count) {
  return ahead.empty() ? run(data, first, none()) : &plain->run(data.inputs(first, count));
}

/// The metric of a choice on the evaluation data.
const Evaluation &Search::quality(const Choice &choice) {
  if (auto it = qualities.find(choice); it != qualities.end())
    return it->second;
  const Dataset &data = eval ? *eval : *calib;
  Evaluation value = metric->evaluate(
      [&](int64_t first, int64_t) { return run(data, first, choice); },
      [&](int64_t first, int64_t count) { return floatOutputs(data, first, count); });
  // For the report: what was tried, with what its layers promise.
  if (!problem.sites.empty() && plain) {
    double ms = start.latency, bytes = start.size;
    for (auto [i, k] : llvm::enumerate(choice)) {
      ms += problem.sites[i][k + 1].latency;
      bytes += problem.sites[i][k + 1].size;
    }
    notes["points"].push_back({{"quality", value.value}, {"ms", ms}, {"bytes", bytes}});
  }
  return qualities[choice] = std::move(value);
}

/// What a choice does to the module.
std::vector<Step> Search::stepsOf(const Choice &choice) const {
  std::vector<Step> steps;
  for (auto [i, c] : llvm::enumerate(candidates))
    if (choice[i] >= 0)
      steps.push_back({c.offers[choice[i]].technique->name().str(), c.offers[choice[i]].site,
                              c.offers[choice[i]].option});
  if (auto it = repairs.find(choice); it != repairs.end())
    steps.insert(steps.end(), it->second.begin(), it->second.end());
  return steps;
}

CompiledGraph Search::compiled(const Choice &choice, const CompileSettings &how, int threads) const {
  OwningOpRef<ModuleOp> copy = mlir::cast<ModuleOp>(module->clone());
  applyRecipe(*copy, {stepsOf(choice), {}}, techniques);
  return CompiledGraph(*copy, how, threads);
}

/// The same with what was done to the model before.
Recipe Search::recipeOf(const Choice &choice) const {
  Recipe recipe{ahead, notes};
  std::vector<Step> steps = stepsOf(choice);
  recipe.steps.insert(recipe.steps.end(), steps.begin(), steps.end());
  return recipe;
}

/// Why a layer is left as it is that an option could change.
std::string Search::whyNot(const Cost &cost) const {
  bool savesBytes = budget->size || budget->memory, savesTime = maxDrop || budget->latency;
  if (!(savesTime && cost.latency < 0) && !(savesBytes && cost.size < 0))
    return savesTime ? "it would not be faster" : "it would not be smaller";
  return notes.contains("slower") ? "the layers together would not be faster" : "the outputs would change too much";
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
    text += std::to_string(count) + (count == 1 ? " layer " : " layers ") + name + ", ";
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
    readData();
    if (!ask.structured.empty())
      removeChannels();
    if (merges())
      mergeTokens();
    bool plans = budget && ask.technique.empty() && ask.structured.empty();
    Attempt result = plans ? searchPlans() : attempt();
    if (!ask.recipeOut.empty() && !result.recipe.notes.empty())
      result.recipe.write(ask.recipeOut);
    return std::move(result.recipe);
  } catch (const Interrupted &) {
    say(options.model + ": warning: interrupted before anything was chosen: the model stays as it " +
        (ahead.empty() ? "is" : "is after what went ahead of the search"));
    return recipeOf(none());
  } catch (const BudgetRefused &refused) {
    std::string path =
        ask.recipeOut.empty() ? llvm::sys::path::stem(options.model).str() + ".recipe.json" : ask.recipeOut;
    refused.best.write(path);
    progress.finish();
    throw ToolError(1, options.model + ": the budget cannot be met: " + refused.why +
                           "\nThe best recipe that was found is in " + path + "; no artifact was written.");
  }
}

static std::vector<std::string> outputNames(func::FuncOp main) {
  std::vector<std::string> names;
  for (unsigned i = 0; i < main.getNumResults(); ++i) {
    auto name = main.getResultAttrOfType<StringAttr>(i, "nn.name");
    names.push_back(name ? name.str() : "");
  }
  return names;
}

/// All that the user gave is checked before anything takes time.
void Search::readData() {
  if (!ask.budget.empty())
    budget = Budget::parse(ask.budget);
  auto main = module.lookupSymbol<func::FuncOp>("main");
  observations.ofNoise = ask.calib.empty();
  calib = std::make_shared<const Dataset>(observations.ofNoise ? Dataset::noise(main, kNoiseSamples)
                                                               : Dataset(ask.calib, main));
  notes["calibration"] = {{"source", observations.ofNoise ? "noise" : "data"}, {"samples", calib->usable()}};
  if (observations.ofNoise) {
    notes["calibration"]["normalized"] = moments;
    say(options.model + ": warning: without --calib, ranges are those that noise gives, with the means and deviations that batch "
                        "normalizations know for " + std::to_string(moments) + " values: expect a larger loss than with data");
  }
  if (!ask.eval.empty())
    eval = std::make_shared<const Dataset>(ask.eval, main);
  const Dataset &data = eval ? *eval : *calib;
  if (eval || budget || !ask.metric.empty())
    metric = std::make_shared<const Metric>(ask.metric, data, outputNames(main));
  if (metric && !eval)
    say(options.model + ": warning: without --eval, quality is measured on the calibration data, which flatters");
  if (budget && !budget->drop.empty()) {
    maxDrop = metric->parseDrop(budget->drop);
    if (metric->name() == "psnr" && !data.labels())
      throw ToolError(2,
                      "--budget=drop with psnr needs 'labels' in --eval; without them, use cosine");
  }
}

/// From the module as it is to a choice, which is applied and measured.
Attempt Search::attempt() {
  Attempt result;
  const Dataset &data = eval ? *eval : *calib;
  bool more = alone() || budget;
  if (more)
    findCandidates();
  if (candidates.empty() && more) {
    std::string why = refused.empty() ? "it has no layer for any technique"
                                      : "'" + refused[0].name + "': " + refused[0].reason;
    if (budget && (budget->latency || budget->size || budget->memory) && ahead.empty())
      refuseBudget("no layer can be compressed: " + why, {});
    say(options.model + ": warning: no layer can be compressed: " + why);
    if (ahead.empty())
      return result;
  }
  if (more)
    measureSiteErrors();
  bool global = alone() && !budget && !candidates.empty() && candidates[0].offers[0].technique->variantsAreGlobal();
  if (!global && more)
    keepBestVariants();
  if (metric) {
    auto reference = [&](int64_t first, int64_t count) { return floatOutputs(data, first, count); };
    floatQuality = ahead.empty() ? quality(none()) : metric->evaluate(reference, reference);
    notes["metric"] = metric->name();
    notes["float"]["quality"] = floatQuality.value;
  }
  Choice choice = budget ? chooseWithin() : takeAll();

  for (auto [i, c] : llvm::enumerate(candidates)) {
    if (!budget)
      notes["layers"].push_back({{"site", c.site.name}});
    json &note = notes["layers"][i];
    note["chosen"] = choice[i] < 0 ? "float" : c.offers[choice[i]].option.name;
    for (auto [k, offer] : llvm::enumerate(c.offers)) {
      const Option &o = offer.option;
      json option = {{"technique", offer.technique->name().str()},
                     {"name", o.name},
                     {"variant", o.variant}};
      if (k < siteErrors[i].size()) // fallbacks are not measured
        option["error"] = siteErrors[i][k];
      if (budget) {
        const Cost &cost = problem.sites[i][k + 1];
        auto spoiler = spoilers.find({i, int(k) + 1});
        option["output_error"] = spoiler == spoilers.end() ? cost.distortion : spoiler->second;
        option["ms"] = note["ms"].get<double>() + cost.latency;
        option["weight_bytes"] = note["weight_bytes"].get<int64_t>() + int64_t(cost.size);
        if (choice[i] < 0)
          note["why"] = spoiler != spoilers.end() ? "by itself it would lose too much" : whyNot(cost);
      }
      note["options"].push_back(option);
    }
  }
  for (const Refusal &r : llvm::concat<Refusal>(refused, sensitive))
    notes["refused"].push_back({{"site", r.name}, {"reason", r.reason}});

  // What comes out is compiled and measured as it will run.
  module.walk([](Operation *op) { removeMoments(op); });
  applyRecipe(module, {stepsOf(choice)}, techniques);
  if (metric || plain) {
    progress.stage("validation");
    validate(choice, result);
  }
  if (more)
    printSummary(choice);
  result.recipe = recipeOf(choice);
  return result;
}

} // namespace nnopt::compress
