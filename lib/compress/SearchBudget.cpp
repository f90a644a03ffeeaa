//===- SearchBudget.cpp - the best choice within a budget -------------------===//

#include "lib/compress/LayerCost.h"
#include "lib/compress/OutputError.h"
#include "lib/compress/Search.h"
#include "llvm/Support/FormatVariadic.h"
#include <set>

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

/// Latency and size of options, relative to leaving the site as it is.
void Search::measureCosts() {
  progress.stage("costs of layers");
  LayerCosts costs = layerCosts(&samples);
  struct Difference {
    Cost *cost;
    const LayerCosts::Measured *before, *after;
  };
  std::vector<Difference> differences;
  std::vector<const LayerCosts::Measured *> bases;
  for (auto [i, c] : llvm::enumerate(candidates)) {
    if (Interrupt::happened())
      throw Interrupted();
    bases.push_back(&costs.of(c.site.op, {}, nullptr, shapes));
    for (auto [k, offer] : llvm::enumerate(c.offers)) {
      const LayerCosts::Measured &before = costs.of(c.site.op, offer.replaces, nullptr, shapes);
      differences.push_back({&problem.sites[i][k + 1], &before, &costs.of(c.site.op, offer.replaces, &offer, shapes)});
    }
    progress.fraction(double(i + 1) / double(candidates.size()));
  }
  costs.settle();
  for (auto [c, base] : llvm::zip(candidates, bases))
    notes["layers"].push_back({{"site", c.site.name}, {"ms", base->milliseconds}, {"weight_bytes", base->weightBytes}});
  for (auto [cost, before, after] : differences) {
    cost->latency = after->milliseconds - before->milliseconds;
    cost->size = double(after->weightBytes - before->weightBytes);
  }
}

void Search::refuseBudget(const std::string &why, const Choice &best, double excess) {
  throw BudgetRefused{why, recipeOf(best), excess};
}

static std::string joinNames(const std::vector<std::pair<double, std::string>> &sorted,
                             const char *format, size_t count) {
  std::string text;
  for (size_t i = 0; i < std::min(count, sorted.size()); ++i)
    text += (i ? ", " : "") + sorted[i].second + " (" +
            llvm::formatv(format, sorted[i].first).str() + ")";
  return text;
}

Choice Search::choiceOf(const std::vector<int> &solution) const {
  Choice choice;
  for (int option : solution)
    choice.push_back(option - 1);
  dropReplaced(choice);
  return choice;
}

/// Takes back what was solved anew since.
void Search::restore(std::vector<Candidate> before) {
  candidates = std::move(before);
  for (auto [i, c] : llvm::enumerate(candidates))
    for (size_t k = 0; k < c.offers.size(); ++k)
      model->weightsChanged(i, int(k));
}

/// Weights that are solved anew allow for more than the search without it found: choices with larger errors, repaired, as
/// long as the metric allows. `start` is the solution that holds without.
std::optional<Choice> Search::repairMore(const std::vector<int> &start, double maxDrop) {
  std::optional<Choice> best;
  std::vector<Candidate> kept = candidates; // with what was solved for the best
  double limit = std::max(total(problem, start).distortion, 1e-6);
  std::optional<double> asked = problem.limits[Distortion];
  std::vector<int> last = start;
  for (double factor : {2.0, 4.0, 8.0, 16.0}) {
    if (Interrupt::happened())
      break;
    problem.limits[Distortion] = limit * factor;
    std::optional<std::vector<int>> s = solve(problem);
    if (!s || *s == last)
      continue;
    last = *s;
    Choice choice = choiceOf(*s);
    if (!canRepair(choice))
      break;
    repair(choice);
    if (!holds(qualityOfRecipe(choice), maxDrop))
      break;
    best = choice;
    kept = candidates;
  }
  restore(std::move(kept));
  problem.limits[Distortion] = asked;
  return best;
}

/// Whether a choice can be solved anew and holds the metric then; where not, it is as before.
bool Search::repairHolds(Choice &choice, double maxDrop) {
  if (!canRepair(choice))
    return false;
  std::vector<Candidate> before = candidates;
  repair(choice);
  if (holds(qualityOfRecipe(choice), maxDrop))
    return true;
  restore(std::move(before));
  repairs.erase(choice);
  return false;
}

/// The choice of a solution, repaired where that holds the metric, as the compiled recipe gives it; else a more careful one.
Choice Search::settle(std::vector<int> solution, double maxDrop) {
  for (int attempt = 0; attempt < 6; ++attempt) {
    Choice choice = choiceOf(solution);
    if (repairHolds(choice, maxDrop))
      return choice;
    if (Interrupt::happened() || holds(qualityOfRecipe(choice), maxDrop))
      return choice;
    problem.limits[Distortion] = total(problem, solution).distortion / 2;
    std::optional<std::vector<int>> milder = solve(problem);
    problem.limits[Distortion] = {};
    if (!milder)
      break;
    solution = *milder;
  }
  return none();
}

std::optional<std::vector<int>> Search::solveWith(const Technique *technique, const Problem &limited) const {
  if (!technique)
    return solve(limited);
  Problem some = limited;
  std::vector<std::vector<int>> places(some.sites.size(), {0}); // of the options that are left
  for (auto [i, c] : llvm::enumerate(candidates)) {
    some.sites[i].resize(1);
    some.gone[i].resize(1);
    for (auto [k, offer] : llvm::enumerate(c.offers))
      if (offer.technique == technique) {
        some.sites[i].push_back(limited.sites[i][k + 1]);
        some.gone[i].push_back(limited.goneWith(i, k + 1));
        places[i].push_back(int(k) + 1);
      }
  }
  std::optional<std::vector<int>> solution = solve(some);
  if (solution)
    for (auto [option, place] : llvm::zip(*solution, places))
      option = place[option];
  return solution;
}

/// By how many bytes the file of a choice exceeds the limit; 0 within it or without one.
double Search::bytesOver(const Choice &choice) {
  if (!budget->size || Interrupt::happened())
    return 0;
  double limit = budget->size->of(double(plain->defaultFileBytes()));
  return std::max(double(compiled(choice, settings, /*threads=*/1).fileBytes()) - limit, 0.0);
}

/// Multiplies the distortions of each technique's options by the share of the error that is left when what a choice takes of it is
/// solved anew by itself, on a quarter of the data; of techniques that it does not take, by the largest of these shares.
void Search::weighByRepair(const Choice &choice) {
  const std::vector<Candidate> before = candidates;
  const SampleRange some = trialSamples();
  std::map<const Technique *, double> left;
  double most = 0;
  for (const std::unique_ptr<Technique> &technique : techniques) {
    Choice part = choice;
    for (auto [i, c] : llvm::enumerate(candidates))
      if (part[i] >= 0 && c.offers[part[i]].technique != technique.get())
        part[i] = -1;
    if (part == none() || Interrupt::happened())
      continue;
    double &share = left[technique.get()] = 1;
    if (canRepair(part)) {
      double error = outputError(*model, part, *calib, some);
      double after = repair(part, some, some);
      share = error > 0 ? std::min(after / error, 1.0) : 1;
      repairs.erase(part);
      restore(before);
    }
    most = std::max(most, share);
    notes["solved_anew"][technique->name().str()] = share;
  }
  for (auto [i, c] : llvm::enumerate(candidates))
    for (auto [k, offer] : llvm::enumerate(c.offers)) {
      auto it = left.find(offer.technique);
      problem.sites[i][k + 1].distortion *= it == left.end() ? most : it->second;
    }
}

/// The choice within the limits that loses least. Errors of layers do not tell what solving anew makes good, nor what techniques do to
/// the metric when they are taken together. So where the choice among all options loses quality, one that expects of each technique
/// what solving anew left of its errors is looked at, too, and that of each technique alone.
Choice Search::leastLoss() {
  const std::vector<Candidate> before = candidates;
  std::optional<Choice> best;
  std::vector<Candidate> kept; // with what was solved for the best
  Evaluation least;
  std::set<Choice> tried;
  // The choice of a technique (null: of all), where there is one that was not looked at.
  auto look = [&](const Technique *technique, size_t compilations, bool mustFit, StringRef name) {
    std::optional<Choice> choice;
    for (bool again = false;; again = true) {
      choice = withinLimits(technique, compilations, mustFit);
      if (!choice || (!again && !tried.insert(*choice).second))
        return;
      repair(*choice);
      // Weights that were solved anew take a little more in the file where they are coded.
      double over = bytesOver(*choice);
      if (again || over == 0)
        break;
      solvedBytes += 1.1 * over;
      restore(before);
    }
    Evaluation value = qualityOfRecipe(*choice);
    notes["compared"][name.str()] = value.value;
    if (!best || metric->drop(least.value, value.value) < 0) {
      least = std::move(value);
      best = *choice;
      kept = candidates;
    }
    restore(before);
  };
  auto goesOn = [&] { return !Interrupt::happened() && losesQuality(floatQuality, least); };
  constexpr size_t kCompilations = 6, kFewer = 4;
  look(nullptr, kCompilations, /*mustFit=*/false, "all");
  if (goesOn()) {
    progress.stage("what solving anew makes good");
    const std::vector<std::vector<Cost>> unweighted = problem.sites;
    weighByRepair(*best);
    look(nullptr, kFewer, /*mustFit=*/true, "all, weighed");
    problem.sites = unweighted;
  }
  progress.stage("techniques alone");
  for (const std::unique_ptr<Technique> &technique : techniques)
    if (goesOn())
      look(technique.get(), kFewer, /*mustFit=*/true, technique->name());
  restore(std::move(kept));
  return *best;
}

/// The fastest solution that the metric holds, where `fastest` does not. Quality falls with distortion, nearly: bisection over the
/// logarithm of what distortion may be. Each step costs one evaluation, or none where the solution is known. The budget is tight then,
/// so that what neighbours do together is measured, where a solution takes them, and the search repeated.
std::optional<std::vector<int>> Search::fastestThatHolds(const std::vector<int> &fastest, double maxDrop) {
  std::optional<std::vector<int>> best;
  const int steps = 2 + int(std::ceil(std::log2(double(candidates.size() + 1)))) * 2;
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) {
    progress.stage("search");
    double high = std::max(total(problem, fastest).distortion, 1e-12), low = high * 1e-9;
    std::optional<std::vector<int>> found;
    for (int step = 0; step < steps && !Interrupt::happened(); ++step) {
      double middle = std::sqrt(low * high);
      problem.limits[Distortion] = middle;
      std::optional<std::vector<int>> s = solve(problem);
      bool keeps = s && holds(quality(choiceOf(*s)), maxDrop);
      if (keeps)
        found = s;
      (keeps || !s ? low : high) = middle;
      progress.fraction(double(step + 1) / steps);
    }
    problem.limits[Distortion] = {};
    if (found && (!best || total(problem, *found).latency < total(problem, *best).latency))
      best = found;
    if (!best || Interrupt::happened() || !measureInteractions(*best))
      break;
  }
  return best;
}

/// The distortion of what no choice may take.
constexpr double kSpoils = 1e30;

/// Metrics that count are not monotonic in errors: a single item that is nearly a tie turns over with a layer whose error is small, and no
/// choice with that layer holds a tight drop, however small its other errors are. Takes such layers, that lose too much by themselves,
/// out of the problem, of those that the solution takes; whether there are any.
bool Search::leaveSpoilers(const std::vector<int> &solution, double maxDrop) {
  progress.stage("layers by themselves");
  bool any = false;
  for (auto [i, option] : llvm::enumerate(solution)) {
    if (Interrupt::happened())
      return false;
    if (option) {
      std::vector<int> alone(solution.size(), 0);
      alone[i] = option;
      if (!holds(quality(choiceOf(alone)), maxDrop)) {
        spoilers.try_emplace({i, option}, problem.sites[i][option].distortion);
        problem.sites[i][option].distortion = kSpoils;
        any = true;
      }
    }
    progress.fraction(double(i + 1) / double(solution.size()));
  }
  return any;
}

/// The choice, or none where time is all that it could save and the compiled model saves none, whatever its layers promised.
Choice Search::unlessSlower(Choice choice) {
  bool savesMore = budget->latency || budget->size || budget->memory || !ahead.empty();
  if (choice == none() || savesMore || Interrupt::happened())
    return choice;
  CompiledGraph whole = compiled(choice, settings, /*threads=*/1);
  auto [base, ms] = latencies(whole);
  if (ms < base)
    return choice;
  notes["slower"] = {{"float_ms", base}, {"ms", ms}};
  say(options.model + llvm::formatv(": what the budget allows makes the whole no faster ({0:f3} ms, float {1:f3}): it stays as it is", ms,
                                    base)
                          .str());
  return none();
}

/// Scales what all options promise to save of the latency so that these together promise what their compiled whole saves.
void Search::scalePromises(const std::vector<int> &together) {
  double promised = -total(problem, together).latency;
  if (promised <= 0)
    return;
  CompiledGraph whole = compiled(choiceOf(together), settings, /*threads=*/1);
  double saved = start.latency - latencies(whole).second;
  for (std::vector<Cost> &site : problem.sites)
    for (Cost &cost : site)
      cost.latency *= std::max(saved, 0.0) / promised;
}

Choice Search::chooseWithin() {
  if (!plain)
    plain = std::make_shared<CompiledGraph>(module, settings, /*threads=*/1);
  measureSensitivity();
  measureCosts();

  // What the float model costs, and what is left of it where channels went: limits are about the former.
  std::unique_ptr<CompiledGraph> narrowed;
  if (!ahead.empty())
    narrowed = std::make_unique<CompiledGraph>(module, settings, /*threads=*/1);
  auto [before, left] = latencies(narrowed ? *narrowed : *plain);
  Cost full{0, before, double(plain->fileBytes())};
  start = narrowed ? Cost{0, left, double(narrowed->fileBytes())} : full;
  notes["float"]["latency_ms"] = full.latency;
  notes["float"]["bytes"] = plain->defaultFileBytes();
  // Layers by themselves may take longer than all together: what they save is then a share of the whole.
  double alone = 0;
  for (const json &layer : notes["layers"])
    alone += layer["ms"].get<double>();
  if (alone > start.latency)
    for (std::vector<Cost> &site : problem.sites)
      for (Cost &cost : site)
        cost.latency *= start.latency / alone;
  if (budget->latency)
    problem.limits[Latency] = budget->latency->of(full.latency) - start.latency;
  if (budget->size)
    problem.limits[Size] = budget->size->of(double(plain->defaultFileBytes())) - start.size;
  // What options save of the file they save of the memory: it is weights. What they save of the arena is known when the
  // whole is compiled; until then the least that weights can be has to do.
  if (budget->memory) {
    double limit = budget->memory->of(double(plain->memoryBytes())) -
                   double((narrowed ? *narrowed : *plain).memoryBytes());
    Problem smallest = problem;
    smallest.limits = {};
    smallest.minimize = Size;
    limit = std::max(limit, total(smallest, *solve(smallest)).size);
    problem.limits[Size] = std::min(problem.limits[Size].value_or(limit), limit);
  }
  // Without `drop`, the least distortion within the limits; else the fastest, at first without a
  // limit to distortion.
  problem.minimize = maxDrop ? Latency : Distortion;
  std::optional<std::vector<int>> solution = solve(problem);
  std::vector<int> least; // that all options together give
  if (!solution) {
    Problem fastest = problem;
    fastest.limits = {};
    fastest.minimize = budget->latency ? Latency : Size;
    least = *solve(fastest);
    // Layers by themselves do not promise enough: the compiled whole says what they keep.
    if (budget->latency && !Interrupt::happened()) {
      scalePromises(least);
      solution = solve(problem);
    }
  }
  if (!solution) {
    Cost cost = total(problem, least);
    double excess = 1; // by the least that is possible
    if (budget->latency)
      excess = (start.latency + cost.latency) / budget->latency->of(full.latency);
    else if (budget->size)
      excess = (start.size + cost.size) / budget->size->of(double(plain->defaultFileBytes()));
    std::vector<std::pair<double, std::string>> heavy;
    for (auto [i, c] : llvm::enumerate(candidates))
      heavy.push_back(
          {budget->latency
               ? notes["layers"][i]["ms"].get<double>() + problem.sites[i][least[i]].latency
               : notes["layers"][i]["weight_bytes"].get<double>() + problem.sites[i][least[i]].size,
           c.site.name});
    llvm::sort(heavy, std::greater<>());
    refuseBudget(llvm::formatv("the least that all options together give is {0:f3} ms and {1:f3} "
                               "MB, of {2:f3} ms and {3:f3} MB; "
                               "most is in {4}",
                               start.latency + cost.latency, (start.size + cost.size) / 1e6,
                               full.latency, double(plain->defaultFileBytes()) / 1e6,
                               joinNames(heavy, budget->latency ? "{0:f3} ms" : "{0:f0} bytes", 5))
                     .str(),
                 choiceOf(least), excess);
  }
  return maxDrop ? fastestChoice(std::move(*solution)) : leastLoss();
}

/// The fastest choice within the limits, from the solution by what layers promise. What padding, code, and weights solved anew add to
/// the file is known when the whole is compiled.
Choice Search::fastestChoice(std::vector<int> solution) {
  constexpr int kRounds = 4;
  const std::vector<Candidate> before = candidates;
  for (int round = 1;; ++round) {
    Choice choice = fastestWithin(solution);
    double over = bytesOver(choice);
    if (over == 0 || round == kRounds)
      return choice;
    *problem.limits[Size] -= 1.1 * over;
    problem.minimize = Latency;
    std::optional<std::vector<int>> smaller = solve(problem);
    if (!smaller)
      return choice;
    repairs.erase(choice);
    restore(before);
    solution = std::move(*smaller);
  }
}

/// The fastest choice that loses no more than the metric may, within the other limits; `solution` is the fastest one within these.
Choice Search::fastestWithin(const std::vector<int> &solution) {
  auto keeps = [&](const std::vector<int> &s) { return holds(quality(choiceOf(s)), *maxDrop); };
  if (keeps(solution))
    return unlessSlower(settle(solution, *maxDrop));
  std::optional<std::vector<int>> best = fastestThatHolds(solution, *maxDrop);
  std::optional<std::vector<int>> rest = solution;
  while ((!best || total(problem, *best).latency >= 0) && rest && leaveSpoilers(*rest, *maxDrop)) {
    problem.limits[Distortion] = kSpoils / 2;
    problem.minimize = Latency;
    rest = solve(problem);
    problem.limits[Distortion] = {};
    if (rest)
      best = keeps(*rest) ? rest : fastestThatHolds(*rest, *maxDrop);
  }
  if (!best) {
    std::vector<int> left(candidates.size(), 0);
    bool possible = (!problem.limits[Latency] || *problem.limits[Latency] >= 0) &&
                    (!problem.limits[Size] || *problem.limits[Size] >= 0);
    if (possible && keeps(left))
      return none();
    problem.minimize = Distortion;
    std::vector<int> mildest = *solve(problem);
    // Solved anew, it may hold what it does not by itself.
    if (Choice choice = choiceOf(mildest); !Interrupt::happened() && repairHolds(choice, *maxDrop))
      return unlessSlower(choice);
    std::vector<std::pair<double, std::string>> hurting;
    for (auto [i, c] : llvm::enumerate(candidates))
      if (mildest[i])
        hurting.push_back({problem.sites[i][mildest[i]].distortion, c.site.name});
    llvm::sort(hurting, std::greater<>());
    refuseBudget(
        llvm::formatv("within the other limits, the mildest choice loses {0} ({1}, float {2}); the "
                      "layers in the way, with the "
                      "error that each brings to the outputs: {3}",
                      metric->formatDrop(metric->drop(floatQuality.value, quality(choiceOf(mildest)).value)),
                      metric->format(quality(choiceOf(mildest)).value), metric->format(floatQuality.value),
                      joinNames(hurting, "{0:e1}", 5))
            .str(),
        choiceOf(mildest));
  }
  if (std::optional<Choice> more = repairMore(*best, *maxDrop))
    return unlessSlower(*more);
  return unlessSlower(settle(*best, *maxDrop));
}

} // namespace nnopt::compress
