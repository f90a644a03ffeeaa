//===- Solver.h - one option for each site under budgets --------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_SOLVER_H
#define NNOPT_LIB_COMPRESS_SOLVER_H

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace nnopt::compress {

/// What choosing an option costs. All of it adds up over sites, but for what Problem::joint says of neighbours.
struct Cost {
  double distortion = 0, latency = 0, size = 0;
};
/// The member of Cost by number, so that what is minimized and what is bounded look alike.
enum Quantity { Distortion, Latency, Size };
inline double get(const Cost &c, Quantity q) {
  return q == Distortion ? c.distortion : q == Latency ? c.latency : c.size;
}

struct Problem {
  std::vector<std::vector<Cost>> sites; // costs of the options of each site
  /// By site and option, how many sites just before are gone when it is taken: these have option 0 then. What the vectors do not
  /// hold is 0.
  std::vector<std::vector<int>> gone;
  int goneWith(size_t site, size_t option) const {
    return site < gone.size() && option < gone[site].size() ? gone[site][option] : 0;
  }
  /// By site: distortion beside that of both when the site before takes the first option of a pair and this one the second; neither
  /// is 0. What is not in it is 0.
  std::vector<std::map<std::pair<int, int>, double>> joint;
  double jointOf(size_t site, int before, int option) const {
    if (site >= joint.size())
      return 0;
    auto it = joint[site].find({before, option});
    return it == joint[site].end() ? 0 : it->second;
  }
  Quantity minimize = Latency;
  std::array<std::optional<double>, 3> limits; // by Quantity
};

/// The choice of an option for each site that minimizes the problem's quantity within its limits;
/// nothing when there is none. Exact while a site leaves no more than `maxStates` partial choices
/// of which none is better in everything (always so for a few sites); else the best in each cell of
/// a grid over the bounded quantities is kept.
std::optional<std::vector<int>> solve(const Problem &problem, size_t maxStates = 1 << 14);

Cost total(const Problem &problem, const std::vector<int> &choice);

} // namespace nnopt::compress

#endif
