//===- SearchLimits.cpp - choices whose compiled whole is within limits -----===//

#include "lib/compress/Search.h"

using namespace mlir;

namespace nnopt::compress {

/// By how much times of one model may differ: a limit is held by that margin.
constexpr double kTimingNoise = 0.02;

/// Milliseconds that the options of a solution promise, by technique.
std::map<std::string, double> Search::promisesOf(const std::vector<int> &solution) const {
  std::map<std::string, double> promised;
  for (auto [i, c] : llvm::enumerate(candidates))
    if (solution[i])
      promised[c.offers[solution[i] - 1].technique->name().str()] += problem.sites[i][solution[i]].latency;
  return promised;
}

/// The choice with the least distortion within the limits. What padding and the code of kernels add to the file, and what layers
/// side by side take longer or shorter, is known when the whole is compiled: costs are then what wholes kept of promises, and exact at
/// the last one, and layers are chosen again; in at most `compilations` once something fits, in twice as many while nothing does.
/// `mustFit`: nothing in place of a choice that exceeds the limits still.
std::optional<Choice> Search::withinLimits(const Technique *technique, size_t compilations, bool mustFit) {
  // Solving takes little time: rounds in which the solution is one that was compiled before do not count.
  constexpr int kRounds = 48;
  // What is left of a limit that is not worth to compile again for.
  constexpr double kSlack = 0.01;
  if (!budget->size && !budget->latency) {
    std::optional<std::vector<int>> solution = solveWith(technique, problem);
    return solution ? std::optional(choiceOf(*solution)) : std::nullopt;
  }
  const double mostBytes = budget->size ? budget->size->of(double(plain->defaultFileBytes())) : INFINITY;
  std::vector<std::string> names;
  for (const std::unique_ptr<Technique> &t : techniques)
    names.push_back(t->name().str());
  Problem adjusted;
  std::vector<int> last;
  Cost lastOver; // by how much the last compiled whole exceeds the limits; below 0 within them
  Cost tighter;
  auto adjust = [&] {
    adjusted = problem;
    if (budget->latency) {
      std::map<std::string, double> kept = keptPromises(wholes, names);
      for (auto [i, c] : llvm::enumerate(candidates))
        for (auto [k, offer] : llvm::enumerate(c.offers))
          adjusted.sites[i][k + 1].latency *= kept[offer.technique->name().str()];
    }
    Cost at = last.empty() ? Cost() : total(adjusted, last);
    for (Quantity q : {Latency, Size})
      if (adjusted.limits[q])
        adjusted.limits[q] = (last.empty() ? *adjusted.limits[q] : get(at, q) - get(lastOver, q)) - get(tighter, q);
  };
  std::map<Choice, Cost> over;
  std::optional<Choice> best, nearest;
  double leastDistortion = INFINITY, leastExcess = INFINITY;
  bool triedMost = false;
  for (int round = 0; round < kRounds && !(Interrupt::happened() && nearest); ++round) {
    adjust();
    std::optional<std::vector<int>> solution = solveWith(technique, adjusted);
    if (!solution) { // as far as is known, nothing fits; bytes are known without a compilation
      if (best || triedMost || (over.empty() && !budget->latency))
        break;
      triedMost = true;
      adjusted.limits = {};
      adjusted.minimize = budget->latency ? Latency : Size;
      solution = solveWith(technique, adjusted);
    }
    Choice choice = choiceOf(*solution);
    if (triedMost && choice == none())
      break;
    auto [it, isNew] = over.try_emplace(choice);
    Cost &excess = it->second;
    if (!isNew) {
      if (excess.latency <= 0 && excess.size <= 0)
        break;
      tighter.latency += std::max(excess.latency, 0.0);
      tighter.size += std::max(excess.size, 0.0);
      continue;
    }
    if (over.size() > (best ? compilations : 2 * compilations))
      break;
    CompiledGraph whole = compiled(choice, settings, /*threads=*/1);
    double slack = -INFINITY; // the larger one, as a share of its limit
    if (budget->size) {
      excess.size = double(whole.fileBytes()) + solvedBytes - mostBytes;
      slack = excess.size / mostBytes;
    }
    if (budget->latency) {
      auto [base, ms] = latencies(whole);
      double most = (1 - kTimingNoise) * budget->latency->of(base);
      wholes.push_back({promisesOf(*solution), ms - start.latency});
      excess.latency = ms - most;
      slack = std::max(slack, excess.latency / most);
    }
    last = *solution;
    lastOver = excess;
    tighter = {};
    double distortion = total(problem, last).distortion;
    if (slack <= 0 && distortion < leastDistortion) {
      best = choice;
      leastDistortion = distortion;
    }
    if (slack < leastExcess) {
      nearest = choice;
      leastExcess = slack;
    }
    if (slack <= 0 && slack > -kSlack)
      break;
  }
  return best || mustFit ? best : nearest;
}

} // namespace nnopt::compress
