//===- SearchSensitivity.cpp - what each layer does to the outputs ----------===//

#include "lib/compress/OutputError.h"
#include "lib/compress/Search.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <numeric>

using namespace mlir;

namespace nnopt::compress {

/// Samples that tell which layers bring most of an error: their order only, which few samples show.
constexpr int64_t kRankSamples = 16;
/// Numbers in the outputs for a sample, from which on as few samples are enough for the errors themselves.
constexpr int64_t kManyOutputs = 1000;

/// The relative squared error of the outputs of the model that the recipe of a choice makes.
double Search::errorOfRecipe(const Choice &choice, SampleRange samples) {
  CompiledGraph graph = compiled(choice, quick, /*threads=*/0);
  ErrorSum sum;
  for (int64_t first = samples.begin; first < samples.end; first += calib->batchSize()) {
    std::vector<HostTensor> reference = std::move(*run(*calib, first, none()));
    sum.add(reference, graph.run(calib->inputs(first, calib->countAt(first))));
  }
  return sum.relative();
}

/// Each offer of each site by itself.
std::vector<Choice> Search::oneAtATime() const {
  std::vector<Choice> choices;
  for (auto [i, c] : llvm::enumerate(candidates))
    for (size_t k = 0; k < c.offers.size(); ++k) {
      choices.push_back(none());
      choices.back()[i] = int(k);
    }
  return choices;
}

/// What the outputs' errors are measured on, of one site after the other.
SampleRange Search::sensitivitySamples() {
  int64_t count = calib->countAt(0), numbers = 0;
  for (const HostTensor &output : *run(*calib, 0, none()))
    numbers += output.count();
  return {0, std::min(numbers >= kManyOutputs * count ? std::max(kRankSamples, calib->batchIsFixed() ? calib->batchSize() : 0) : kProbeSamples,
                      calib->usable())};
}

/// The error of the model's outputs when one site alone is changed.
void Search::measureSensitivity() {
  progress.stage("sensitivity of layers");
  std::vector<double> errors =
      outputErrors(*model, oneAtATime(), *calib, sensitivitySamples(),
                   [&](double share) { progress.fraction(share); });
  size_t at = 0;
  for (auto [i, c] : llvm::enumerate(candidates)) {
    problem.sites.push_back({Cost{}});
    problem.gone.push_back({0});
    for (const Offer &offer : c.offers) {
      problem.sites.back().push_back(Cost{errors[at++], 0, 0});
      size_t gone = 0;
      while (gone < i && llvm::is_contained(offer.replaces, candidates[i - gone - 1].site.op))
        ++gone;
      problem.gone.back().push_back(int(gone));
    }
  }
}

/// Errors of neighbours that a solution takes both, beside the sum of those of each: they add to or take from each other. Returns
/// whether any was new.
bool Search::measureInteractions(const std::vector<int> &solution) {
  problem.joint.resize(problem.sites.size());
  std::vector<size_t> pairs; // the second of each
  std::vector<Choice> choices;
  for (size_t i = 1; i < solution.size(); ++i) {
    if (!solution[i - 1] || !solution[i] || problem.joint[i].count({solution[i - 1], solution[i]}))
      continue;
    Choice both = none();
    both[i - 1] = solution[i - 1] - 1;
    both[i] = solution[i] - 1;
    dropReplaced(both);
    if (both[i - 1] < 0)
      continue;
    pairs.push_back(i);
    choices.push_back(std::move(both));
  }
  if (pairs.empty())
    return false;
  progress.stage("neighbours together");
  std::vector<double> errors = outputErrors(*model, choices, *calib, sensitivitySamples(), [&](double share) { progress.fraction(share); });
  for (auto [i, error] : llvm::zip(pairs, errors)) {
    double first = problem.sites[i - 1][solution[i - 1]].distortion, second = problem.sites[i][solution[i]].distortion;
    problem.joint[i][{solution[i - 1], solution[i]}] = error - first - second;
    notes["interactions"].push_back({{"sites", {candidates[i - 1].site.name, candidates[i].site.name}},
                                     {"options", {candidates[i - 1].offers[solution[i - 1] - 1].option.name,
                                                  candidates[i].offers[solution[i] - 1].option.name}},
                                     {"output_errors", {first, second}},
                                     {"output_error", error}});
  }
  return true;
}

/// About how many multiplications a layer does for a batch: what it would gain by doing them on
/// fewer bits. Others: elements.
static double workOf(const Site &site, ArrayRef<int64_t> activation) {
  double elements = std::accumulate(activation.begin(), activation.end(), 1.0, std::multiplies<>());
  auto linear = dyn_cast<nn::LinearOp>(site.op);
  if (!linear)
    return elements;
  double positions = elements / double(linear.getInChannels());
  if (auto conv = dyn_cast<nn::ConvOp>(site.op))
    for (int64_t stride : conv.getStrides())
      positions /= double(stride);
  return positions * double(ShapedType::getNumElements(shapeOf(linear.getWeight())));
}

/// The option of the only technique at all sites, with weights solved anew, but for those that spoil the outputs.
Choice Search::takeAll() {
  Choice choice(candidates.size(), 0);
  if (candidates.empty())
    return choice;
  const Technique &technique = *candidates[0].offers[0].technique;
  std::optional<double> limit = observations.ofNoise ? std::nullopt : technique.errorLimit();
  std::vector<Candidate> unsolved;
  if (limit)
    unsolved = candidates;
  if (technique.variantsAreGlobal()) {
    choice = bestGlobalVariant();
  } else {
    dropReplaced(choice);
    repair(choice);
  }
  if (limit)
    leaveSensitive(choice, *limit, technique, unsolved);
  return choice;
}

/// Takes the fallback, or nothing, for layers without which the error of the outputs is within
/// `limit`: those that change the outputs most for what they compute, when they alone are changed.
/// Does nothing where all layers together are within. What is left is solved anew, from the candidates as they were before, `unsolved`.
void Search::leaveSensitive(Choice &choice, double limit, const Technique &technique, const std::vector<Candidate> &unsolved) {
  progress.stage("error of the outputs");
  SampleRange probe{0, std::min(kProbeSamples, calib->usable())};
  const bool solves = canRepair(choice);
  // Layers that are solved beside those of a choice are in its recipe alone.
  auto errorOf = [&](const Choice &c) { return solves ? errorOfRecipe(c, probe) : outputError(*model, c, *calib, probe); };
  double before = errorOf(choice), after = 0;
  notes["output_error"] = before;
  if (!(before > limit))
    return;
  if (solves)
    restore(unsolved);
  progress.stage("sensitivity of layers");
  const Choice all = choice;
  std::vector<size_t> order;
  std::vector<Choice> alone;
  for (size_t i = 0; i < all.size(); ++i)
    if (all[i] >= 0) {
      order.push_back(i);
      alone.push_back(none());
      alone.back()[i] = all[i];
    }
  std::vector<double> measured = outputErrors(*model, alone, *calib, {0, std::min(kRankSamples, probe.end)},
                                              [&](double share) { progress.fraction(share); });
  std::vector<double> errors(all.size());
  for (auto [i, error] : llvm::zip(order, measured))
    errors[i] = error;
  std::vector<double> weight(all.size());
  for (size_t i : order)
    if (const Site &site = candidates[i].site; !site.observed.empty())
      weight[i] = errors[i] / workOf(site, shapes[site.observed[0]]);
  llvm::sort(order,
             [&](size_t a, size_t b) { return std::pair(weight[a], b) > std::pair(weight[b], a); });
  auto without = [&](size_t count) {
    Choice less = all;
    for (size_t i = 0; i < count; ++i)
      less[order[i]] = -1;
    return less;
  };
  size_t few = 0, enough = order.size(); // left out: too few, enough
  // Trials are solved on a part of the data, which brings larger errors if any.
  const SampleRange part = trialSamples();
  while (enough - few > 1) {
    size_t middle = (few + enough) / 2;
    Choice less = without(middle);
    if (solves && canRepair(less)) {
      restore(unsolved);
      repair(less, part, part);
    }
    double error = errorOf(less);
    if (error > limit) {
      few = middle;
    } else {
      enough = middle;
      after = error;
    }
  }
  choice = without(enough);
  if (solves) {
    restore(unsolved);
    repairs.erase(choice);
    repair(choice);
    after = choice == none() ? 0 : errorOf(choice);
  }
  Choice gentle = choice;
  for (size_t i : ArrayRef(order).take_front(enough))
    if (std::optional<Option> fallback = technique.fallback(candidates[i].site, multipliesBf16)) {
      std::vector<Offer> &offers = candidates[i].offers;
      gentle[i] = int(offers.size());
      offers.push_back({&technique, offers[0].site, std::move(*fallback), {}});
    }
  if (gentle != choice) {
    progress.stage("error of the fallback");
    if (double error = errorOfRecipe(gentle, probe); error <= 2 * limit) {
      choice = gentle;
      after = error;
    }
  }
  auto percent = [](double squared) { return 100 * std::sqrt(squared); };
  for (size_t i : ArrayRef(order).take_front(enough)) {
    const std::vector<Offer> &offers = candidates[i].offers;
    sensitive.push_back({candidates[i].site.name,
                         llvm::formatv("{0} changes the outputs by {1:f2} % here alone, by {2:f1} % in all layers; "
                                       "{3:f1} % are allowed: {4}",
                                       offers[all[i]].option.name, percent(errors[i]), percent(before), percent(limit),
                                       choice[i] < 0 ? "left as it is" : offers[choice[i]].option.name + " instead")
                             .str()});
  }
  std::string what = llvm::formatv("{0} in all layers changes the outputs by {1:f1} %, of which {2:f1} % are allowed", technique.name(),
                                   percent(before), percent(limit));
  if (choice == none())
    say(options.model + ": warning: " + what + ", and so do the least sensitive ones: the model stays as it is");
  else
    say(options.model + ": " + what + llvm::formatv(": not in {0} layers, by {1:f1} % in the others", enough, percent(after)).str());
  notes["output_error"] = after;
  notes["output_error_of_all"] = before;
}

} // namespace nnopt::compress
