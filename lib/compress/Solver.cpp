//===- Solver.cpp - one option for each site under budgets ------------------===//
//
// Dynamic programming over sites. A state is what the choices for the first sites cost together.
// Costs add up, so a state that is not better than another in anything cannot become part of a
// better solution (Bellman), and is dropped. Where the next site has a joint distortion with an option, states that end in that option
// are compared among themselves. An option that replaces sites before its own continues the
// states from before those.
//
//===----------------------------------------------------------------------===//

#include "lib/compress/Solver.h"
#include <algorithm>
#include <cmath>
#include <map>

namespace nnopt::compress {

namespace {

struct State {
  Cost cost;
  int previous, option, gone; // in the states of the site before those that are gone
};

Cost sum(const Cost &a, const Cost &b) {
  return {a.distortion + b.distortion, a.latency + b.latency, a.size + b.size};
}

/// Whether a is no worse in what counts: the minimized quantity and those with limits.
bool noWorse(const Cost &a, const Cost &b, const std::vector<Quantity> &counts) {
  return std::all_of(counts.begin(), counts.end(),
                     [&](Quantity q) { return get(a, q) <= get(b, q); });
}

/// Drops states that another one dominates. `states` are in lexicographic order of `counts`.
void dropDominated(std::vector<State> &states, const std::vector<Quantity> &counts) {
  std::vector<State> kept;
  for (const State &s : states) {
    bool dominated;
    if (counts.size() <= 2) // in this order, the last one kept has the least second quantity
      dominated = !kept.empty() && noWorse(kept.back().cost, s.cost, counts);
    else
      dominated = std::any_of(kept.begin(), kept.end(),
                              [&](const State &k) { return noWorse(k.cost, s.cost, counts); });
    if (!dominated)
      kept.push_back(s);
  }
  states = std::move(kept);
}

/// Keeps in each cell of a grid over all quantities but the first the state that is best in the
/// first.
void thin(std::vector<State> &states, const std::vector<Quantity> &counts, size_t maxStates) {
  double cells = std::floor(std::pow(double(maxStates), 1.0 / double(counts.size() - 1)));
  std::map<std::vector<int64_t>, State> best;
  std::vector<double> low, width;
  for (size_t i = 1; i < counts.size(); ++i) {
    auto [a, b] =
        std::minmax_element(states.begin(), states.end(), [&](const State &x, const State &y) {
          return get(x.cost, counts[i]) < get(y.cost, counts[i]);
        });
    low.push_back(get(a->cost, counts[i]));
    width.push_back(std::max((get(b->cost, counts[i]) - low.back()) / cells, 1e-300));
  }
  for (const State &s : states) {
    std::vector<int64_t> cell;
    for (size_t i = 1; i < counts.size(); ++i)
      cell.push_back(int64_t((get(s.cost, counts[i]) - low[i - 1]) / width[i - 1]));
    best.try_emplace(cell, s); // states are in order of the first quantity
  }
  states.clear();
  for (auto &[cell, s] : best)
    states.push_back(s);
}

/// Keeps what may become part of the best choice, about `maxStates` of it.
void reduce(std::vector<State> &states, const std::vector<Quantity> &counts, size_t maxStates) {
  std::stable_sort(states.begin(), states.end(), [&](const State &a, const State &b) {
    for (Quantity q : counts)
      if (get(a.cost, q) != get(b.cost, q))
        return get(a.cost, q) < get(b.cost, q);
    return false;
  });
  if (counts.size() == 1 && !states.empty())
    states.resize(1);
  // Many states are thinned first: comparing them in pairs would take as long as their number
  // squared.
  if (counts.size() > 2 && states.size() > maxStates)
    thin(states, counts, maxStates);
  dropDominated(states, counts);
  if (states.size() > maxStates)
    thin(states, counts, maxStates);
}

/// The same of each group of states by themselves: `joint` is that of the next site, and tells which options make a difference to it.
void reduceGroups(std::vector<State> &states, const std::map<std::pair<int, int>, double> &joint, const std::vector<Quantity> &counts,
                  size_t maxStates) {
  std::map<int, std::vector<State>> groups; // -1: all others
  for (auto &[pair, distortion] : joint)
    groups[pair.first];
  for (const State &s : states)
    groups[groups.count(s.option) ? s.option : -1].push_back(s);
  states.clear();
  for (auto &[option, group] : groups) {
    reduce(group, counts, std::max<size_t>(maxStates / groups.size(), 2));
    states.insert(states.end(), group.begin(), group.end());
  }
}

} // namespace

Cost total(const Problem &problem, const std::vector<int> &choice) {
  Cost cost;
  for (size_t i = 0; i < choice.size(); ++i)
    cost = sum(cost, problem.sites[i][choice[i]]);
  for (size_t i = 1; i < choice.size(); ++i)
    cost.distortion += problem.jointOf(i, choice[i - 1], choice[i]);
  return cost;
}

std::optional<std::vector<int>> solve(const Problem &problem, size_t maxStates) {
  std::vector<Quantity> counts = {problem.minimize};
  for (Quantity q : {Distortion, Latency, Size})
    if (problem.limits[q] && q != problem.minimize)
      counts.push_back(q);
  // The least that the sites from i on cost: what cannot be within a limit any more is dropped at
  // once.
  size_t n = problem.sites.size();
  std::vector<Cost> least(n + 1);
  for (size_t i = n; i-- > 0;) {
    Cost low = {INFINITY, INFINITY, INFINITY};
    for (const Cost &c : problem.sites[i])
      low = {std::min(low.distortion, c.distortion), std::min(low.latency, c.latency),
             std::min(low.size, c.size)};
    double joint = 0;
    if (i < problem.joint.size())
      for (auto &[pair, distortion] : problem.joint[i])
        joint = std::min(joint, distortion);
    low.distortion += joint;
    least[i] = sum(least[i + 1], low);
  }
  auto hopeless = [&](const Cost &c, size_t next) {
    for (Quantity q : {Distortion, Latency, Size})
      if (problem.limits[q]) {
        double slack = 1e-12 * std::fabs(*problem.limits[q]); // sums in another order
        if (get(c, q) + get(least[next], q) > *problem.limits[q] + slack)
          return true;
      }
    return false;
  };
  const std::map<std::pair<int, int>, double> alone;
  std::vector<std::vector<State>> table = {{State{{}, -1, -1, 0}}};
  for (size_t i = 0; i < n; ++i) {
    std::vector<State> next;
    for (size_t o = 0; o < problem.sites[i].size(); ++o) {
      int gone = problem.goneWith(i, o);
      const std::vector<State> &before = table[i - gone];
      for (size_t p = 0; p < before.size(); ++p) {
        State s{sum(before[p].cost, problem.sites[i][o]), int(p), int(o), gone};
        if (i > 0 && gone == 0)
          s.cost.distortion += problem.jointOf(i, before[p].option, int(o));
        if (!hopeless(s.cost, i + 1))
          next.push_back(s);
      }
    }
    reduceGroups(next, i + 1 < problem.joint.size() ? problem.joint[i + 1] : alone, counts, maxStates);
    table.push_back(std::move(next));
  }
  if (table.back().empty())
    return std::nullopt;
  auto best = std::min_element(
      table.back().begin(), table.back().end(), [&](const State &a, const State &b) {
        return get(a.cost, problem.minimize) < get(b.cost, problem.minimize);
      });
  std::vector<int> choice(n);
  int at = int(best - table.back().begin());
  for (size_t i = n; i > 0;) {
    const State &s = table[i][at];
    choice[i - 1] = s.option;
    i -= 1 + s.gone;
    at = s.previous;
  }
  return choice;
}

} // namespace nnopt::compress
