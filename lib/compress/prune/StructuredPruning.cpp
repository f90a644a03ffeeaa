//===- StructuredPruning.cpp - a model with fewer channels ------------------===//

#include "lib/compress/prune/StructuredPruning.h"
#include "lib/compress/Interrupt.h"
#include "lib/compress/OutputError.h"
#include "lib/compress/Repair.h"
#include "lib/compress/WeightTensors.h"
#include "lib/compress/prune/PruneRecipe.h"
#include "llvm/Support/FormatVariadic.h"
#include <numeric>

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

/// Levels of a group that are tried.
constexpr int64_t kLevels = 8;

static func::FuncOp mainOf(ModuleOp module) { return module.lookupSymbol<func::FuncOp>("main"); }

static FuncShapes &inferred(FuncShapes &shapes) {
  if (failed(shapes.infer()))
    throw ToolError(1, "shapes cannot be computed");
  return shapes;
}

//===----------------------------------------------------------------------===//
// Layers of which columns are gone
//===----------------------------------------------------------------------===//

StringRef StructuredPruning::NarrowedLayers::name() const { return kPruneStructured; }

std::optional<LayerWeights> StructuredPruning::NarrowedLayers::weights(Operation *,
                                                                       const Option &option) const {
  return weightsOf(option);
}

/// The weights that come closest to the outputs in the float model, the bias with them, when
/// columns that are gone give nothing.
bool StructuredPruning::NarrowedLayers::refit(Operation *op, Option &option,
                                              const Gram &gram) const {
  const std::vector<bool> &keeps = kept.find(op)->second;
  Gram left = gram;
  for (auto [c, keep] : llvm::enumerate(keeps)) {
    if (keep)
      continue;
    left.h.row(c).setZero();
    left.h.col(c).setZero();
    left.cross.col(c).setZero();
    if (left.missing.size())
      left.missing.col(c).setZero();
    left.mean[c] = 0;
  }
  auto solved = solveLayer(*LinearLayer::get(op, nullptr, Groups::Taken), left, /*moveBias=*/true);
  if (!solved)
    return false;
  for (auto [c, keep] : llvm::enumerate(keeps))
    if (!keep)
      solved->weights.col(c).setZero();
  setWeights(option, *solved);
  return true;
}

StructuredPruning::StructuredPruning(ModuleOp module, const PruneSpec &spec, const Dataset &calib,
                                     const CompileSettings &quick, LayerCosts &costs,
                                     Progress &progress, const MomentsByName &normalizations)
    : module(module), spec(spec), calib(calib), costs(costs), progress(progress), normalizations(normalizations),
      shapes(mainOf(module)), groups(mainOf(module), inferred(shapes)),
      product(module.getContext(), quick) {
  for (auto &[name, layer] : namedLayers(mainOf(module))) {
    names.push_back(name);
    layers.push_back(layer);
    Site site{layer.op(), name, {layer.activation()}, {}};
    site.wantsGram = true;
    Option option{"weights", "", json::object(), {}};
    setWeights(option, layer.weights());
    candidates.push_back({site, {Offer{&technique, name, option, {}}}});
    technique.kept[layer.op()].assign(layer.columns(), true);
  }
  model = std::make_unique<SwitchModel>(module, candidates, quick);
}

void StructuredPruning::set(size_t layer, const LayerWeights &weights) {
  setWeights(candidates[layer].offers[0].option, weights);
  model->weightsChanged(layer, 0);
}

/// What the layers as they are now bring to the outputs.
double StructuredPruning::error() {
  return outputError(*model, Choice(layers.size(), 0), calib,
                     {0, std::min(kProbeSamples, calib.usable())});
}

double StructuredPruning::workLeft() const {
  std::vector<int64_t> removed(groups.groups().size(), 0);
  for (const State &s : states)
    removed[s.group.group] = s.removed();
  return work->after(removed) / fullWork;
}

/// The times of operations with units of one group gone, relative to those of the whole model.
std::vector<double> StructuredPruning::timesOf(const PrunableGroup &group, int64_t removed) {
  if (removed == 0)
    return std::vector<double>(fullTimes.size(), 1.0);
  // Which units they are makes no difference.
  std::vector<int64_t> keep(group.units - removed);
  std::iota(keep.begin(), keep.end(), 0);
  std::vector<double> times =
      timesAfter(module, {{kPruneStructured, group.name, Option{"keep", "", {{"keep", keep}}, {}}}},
                 calib, costs);
  for (auto [time, full] : llvm::zip_equal(times, fullTimes))
    time /= full;
  return times;
}

/// What the operations should take with the levels as they are, relative to the whole model:
/// savings by several groups are taken to multiply, as those of in and out channels do.
double StructuredPruning::timeLeft() const {
  double sum = 0, full = 0;
  for (size_t i = 0; i < fullTimes.size(); ++i) {
    double time = fullTimes[i];
    full += time;
    for (const State &s : states)
      time *= s.levels.empty() ? 1 : s.levels[s.level].times[i];
    sum += time;
  }
  return sum / full;
}

//===----------------------------------------------------------------------===//
// Which units, how many
//===----------------------------------------------------------------------===//

/// Moments of what layers behind groups read now.
void StructuredPruning::lookAtReaders() {
  progress.stage("moments of layers");
  std::map<size_t, GramSum> sums;
  for (const State &s : states)
    for (const PrunableGroup::Reader &reader : s.group.readers)
      sums[reader.layer];
  Choice now(layers.size(), 0);
  for (int64_t first = 0; first < calib.usable(); first += calib.batchSize()) {
    progress.fraction(double(first) / double(calib.usable()));
    int64_t count = calib.countAt(first);
    model->run(calib, first, count, now);
    for (auto &[i, sum] : sums) {
      const HostTensor &x = model->activation(i);
      int64_t rows = layers[i].rowCount(x.shape) * calib.usable() / count;
      sum.add(product, layers[i].rowsOf(x, GramSum::stepFor(layers[i].columns(), rows)));
    }
  }
  for (auto &[i, sum] : sums)
    moments[i] = sum.take();
}

/// For each group the order in which its units go, and the error of the outputs for a number of
/// units that are gone, when the layers behind make up for them.
void StructuredPruning::tryLevels() {
  progress.stage("levels of groups");
  double before = error();
  for (auto [n, s] : llvm::enumerate(states)) {
    if (Interrupt::happened())
      throw Interrupted();
    progress.fraction(double(n) / double(states.size()));
    UnitGroup group{s.group.units, {}, {}, s.group.producers, s.group.scales};
    std::vector<LayerWeights> now;
    for (const PrunableGroup::Reader &reader : s.group.readers) {
      now.push_back(model->weights(reader.layer, 0));
      group.consumers.push_back({now.back(), &moments.at(reader.layer), reader.columns});
    }
    // Those that are gone stay gone, in their order.
    int64_t first = s.removed(), step = s.group.step;
    group.gone.assign(s.elimination.order.begin(), s.elimination.order.begin() + first);
    s.elimination = spec.criterion->eliminate(group);
    // What is left are multiples of the step, at most kLevels of them.
    std::vector<int64_t> counts;
    int64_t most = (s.group.units - first - 1) / step * step;
    int64_t stride = step * std::max<int64_t>(1, llvm::divideCeil(most / step, kLevels));
    for (int64_t left = most; left >= step; left -= stride)
      counts.push_back(s.group.units - left);
    s.levels = {{first, before, timesOf(s.group, first)}};
    s.level = 0;
    for (auto [count, weights] :
         llvm::zip_equal(counts, weightsWithout(group, s.elimination.order, counts))) {
      for (auto [reader, w] : llvm::zip_equal(s.group.readers, weights))
        set(reader.layer, w);
      s.levels.push_back({count, error(), timesOf(s.group, count)});
    }
    for (auto [reader, w] : llvm::zip_equal(s.group.readers, now))
      set(reader.layer, w);
  }
}

/// Takes, again and again, the level that costs the least error for the time that it saves, until
/// `target` of the multiply-adds are left. Errors of groups are taken to add up. What saves no time
/// comes last.
void StructuredPruning::chooseLevels(double target) {
  while (workLeft() > target) {
    double left = workLeft(), time = timeLeft(), bestRate = INFINITY;
    std::pair<State *, size_t> best{nullptr, 0};
    for (State &s : states) {
      size_t now = s.level;
      for (size_t level = now + 1; level < s.levels.size(); ++level) {
        s.level = level;
        double saved = std::max(time - timeLeft(), 1e-3 * (left - workLeft())),
               error = std::max(s.levels[level].error - s.levels[now].error, 0.0);
        if (saved > 0 && error / saved < bestRate) {
          bestRate = error / saved;
          best = {&s, level};
        }
      }
      s.level = now;
    }
    if (!best.first)
      break;
    best.first->level = best.second;
  }
  // What the last steps removed beyond the target may come back, the most costly first.
  for (bool changed = true; changed;) {
    changed = false;
    std::pair<State *, double> best{nullptr, -INFINITY};
    for (State &s : states) {
      if (s.level == 0)
        continue;
      double gain = s.levels[s.level].error - s.levels[s.level - 1].error;
      --s.level;
      if (workLeft() <= target && gain > best.second)
        best = {&s, gain};
      ++s.level;
    }
    if ((changed = best.first))
      --best.first->level;
  }
}

/// Solves layers anew, from the first one behind a group that got smaller on.
void StructuredPruning::solveLayers() {
  progress.stage("repair of layers");
  size_t first = layers.size();
  for (const State &s : states)
    for (int64_t i = 0; i < s.removed(); ++i) {
      gone.insert({s.group.group, unsigned(s.elimination.order[i])});
      for (const PrunableGroup::Reader &reader : s.group.readers) {
        first = std::min(first, reader.layer);
        for (int64_t column : reader.columns[s.elimination.order[i]])
          technique.kept[layers[reader.layer].op()][column] = false;
      }
    }
  // Until they are solved, layers just do without what is gone.
  for (size_t i = first; i < layers.size(); ++i) {
    LayerWeights weights = model->weights(i, 0);
    for (auto [c, keep] : llvm::enumerate(technique.kept[layers[i].op()]))
      if (!keep)
        weights.weights.col(c).setZero();
    set(i, weights);
  }
  repairLayers(*model, candidates, first, calib, {0, calib.usable()}, product,
               [&](double f) { progress.fraction(f); });
  if (Interrupt::happened())
    throw Interrupted();
}

/// What can go, what it saves at each level, and what it does to the outputs.
void StructuredPruning::findGroups() {
  for (PrunableGroup &group : findPrunable(groups, layers, normalizedBy(mainOf(module), normalizations), refused))
    if (spec.criterion->needsScales && !group.scales.size())
      refused.push_back({group.name, "no batch normalization makes its units, whose scales " + std::string(spec.criterion->name) + " goes by"});
    else
      states.push_back({std::move(group), {}, {}, 0});
  if (states.empty())
    throw ToolError(
        1, "--prune=structured: no channels can be removed" +
               (refused.empty() ? "" : ": '" + refused[0].name + "': " + refused[0].reason));
  work = std::make_unique<PrunedWork>(mainOf(module), groups, shapes,
                                      sizesIn(mainOf(module), shapes, calib));
  fullWork = work->after(std::vector<int64_t>(groups.groups().size(), 0));
  progress.stage("costs of layers");
  fullTimes = timesAfter(module, {}, calib, costs);
  lookAtReaders();
  tryLevels();
}

/// Takes back what went, with the levels as they were measured.
void StructuredPruning::startAgain() {
  gone.clear();
  for (State &s : states)
    s.level = 0;
  for (auto [i, layer] : llvm::enumerate(layers)) {
    set(i, layer.weights());
    technique.kept[layer.op()].assign(layer.columns(), true);
  }
}

/// Nothing takes time that is not needed.
void StructuredPruning::requireGone(double share) const {
  if (workLeft() > 1 - share + 1e-9)
    throw ToolError(
        1, llvm::formatv("--prune=structured:{0}%: at most {1:f1} % of the multiply-adds can go",
                         share * 100, (1 - workLeft()) * 100));
}

std::vector<Step> StructuredPruning::run() {
  findGroups();
  for (int64_t step = 1; step <= spec.steps; ++step) {
    if (step > 1) {
      lookAtReaders();
      tryLevels();
    }
    chooseLevels(1 - spec.shareAfter(step));
    if (step == spec.steps)
      requireGone(spec.share);
    solveLayers();
  }
  writeNotes();
  return steps();
}

std::vector<Step> StructuredPruning::run(double share) {
  if (states.empty())
    findGroups();
  startAgain();
  chooseLevels(1 - share);
  requireGone(share);
  solveLayers();
  writeNotes();
  return steps();
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

bool StructuredPruning::isGone(size_t layer, nn::Axis axis, int64_t index) const {
  auto place = groups.placeOf(layers[layer].op(), axis);
  auto unit = place ? groups.unitOf(*place, index) : std::nullopt;
  return unit && gone.count(*unit);
}

std::vector<Step> StructuredPruning::steps() const {
  std::vector<Step> result;
  for (const State &s : states) {
    if (s.removed() == 0)
      continue;
    std::vector<int64_t> keep;
    for (int64_t u = 0; u < s.group.units; ++u)
      if (!gone.count({s.group.group, unsigned(u)}))
        keep.push_back(u);
    result.push_back({kPruneStructured, s.group.name, Option{"keep", "", {{"keep", keep}}, {}}});
  }
  for (auto [i, layer] : llvm::enumerate(layers)) {
    LayerWeights original = layer.weights(), weights = model->weights(i, 0);
    if (weights.weights == original.weights && weights.bias == original.bias)
      continue;
    nn::LinearOp op = layer.op();
    unsigned weight = op.getWeightMutable().getOperandNumber();
    std::vector<int64_t> rows, columns;
    for (int64_t r = 0; r < layer.outChannels(); ++r)
      if (!isGone(i, nn::AxisTies::operand(weight, op.getWeightOutAxis()), r))
        rows.push_back(r);
    for (auto [c, keep] : llvm::enumerate(technique.kept.find(op)->second))
      if (keep)
        columns.push_back(c);
    Option option{"weights", "", json::object(), {}};
    setWeights(option, {weights.weights(rows, columns), weights.bias(rows)});
    result.push_back({kPruneStructured, names[i], std::move(option)});
  }
  return result;
}

void StructuredPruning::writeNotes() {
  notes = json::object();
  notes["criterion"] = spec.criterion->name;
  notes["multiply_adds"] = {{"float", fullWork}, {"compressed", fullWork * workLeft()}};
  notes["output_error"] = error();
  notes["ms"] = {{"float", std::accumulate(fullTimes.begin(), fullTimes.end(), 0.0)}};
  notes["ms"]["compressed"] = notes["ms"]["float"].get<double>() * timeLeft();
  for (const State &s : states) {
    json note = {
        {"site", s.group.name}, {"units", s.group.units}, {"kept", s.group.units - s.removed()}};
    for (const Level &level : s.levels)
      note["levels"].push_back({{"kept", s.group.units - level.removed},
                                {"output_error", level.error},
                                {"ms", std::inner_product(level.times.begin(), level.times.end(),
                                                          fullTimes.begin(), 0.0)}});
    notes["groups"].push_back(note);
  }
  for (const Refusal &r : refused)
    notes["refused"].push_back({{"site", r.name}, {"reason", r.reason}});
}

std::string StructuredPruning::summary() const {
  int64_t pruned = llvm::count_if(states, [](const State &s) { return s.removed() > 0; });
  return llvm::formatv("{0:f1} % of the multiply-adds, {1} of {2} groups of channels smaller, {3} "
                       "not eligible",
                       workLeft() * 100, pruned, states.size(), refused.size())
      .str();
}

} // namespace nnopt::compress
