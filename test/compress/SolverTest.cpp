//===- SolverTest.cpp - the solver against all choices there are ------------===//

#include "lib/compress/Solver.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>

using namespace nnopt::compress;

static double bruteForce(const Problem &p) {
  std::vector<int> choice(p.sites.size());
  double best = INFINITY;
  while (true) {
    Cost c = total(p, choice);
    bool within = true;
    for (size_t i = 0; i < choice.size(); ++i)
      for (int gone = p.goneWith(i, choice[i]); gone > 0; --gone)
        within &= choice[i - gone] == 0;
    for (Quantity q : {Distortion, Latency, Size})
      within &= !p.limits[q] || get(c, q) <= *p.limits[q];
    if (within)
      best = std::min(best, get(c, p.minimize));
    size_t i = 0;
    for (; i < choice.size() && ++choice[i] == int(p.sites[i].size()); ++i)
      choice[i] = 0;
    if (i == choice.size())
      return best;
  }
}

static Problem randomProblem(std::mt19937 &rng, int sites, int options) {
  std::uniform_real_distribution<double> unit;
  Problem p;
  for (int i = 0; i < sites; ++i) {
    p.sites.push_back({Cost{}}); // left as it is
    for (int o = 1; o < options; ++o)
      p.sites.back().push_back({unit(rng), unit(rng) - 0.7, unit(rng) - 0.7});
  }
  return p;
}

TEST(Solver, EqualsBruteForce) {
  std::mt19937 rng(1);
  int infeasible = 0;
  for (int trial = 0; trial < 600; ++trial) {
    Problem p = randomProblem(rng, 1 + int(rng() % 5), 1 + int(rng() % 6));
    for (size_t i = 0; trial % 2 && i < p.sites.size(); ++i) // options that replace sites before
      for (p.gone.push_back({0}); p.gone[i].size() < p.sites[i].size();)
        p.gone[i].push_back(rng() % 3 ? 0 : int(rng() % (i + 1)));
    if (trial % 3 == 1) // neighbours whose errors add to or take from each other
      for (p.joint.resize(1); p.joint.size() < p.sites.size();) {
        p.joint.emplace_back();
        for (int a = 1; a < int(p.sites[p.joint.size() - 2].size()); ++a)
          for (int b = 1; b < int(p.sites[p.joint.size() - 1].size()); ++b)
            if (rng() % 2)
              p.joint.back()[{a, b}] = double(rng() % 1000) / 1000 - 0.4;
      }
    p.minimize = Quantity(trial / 3 % 3);
    for (Quantity q : {Distortion, Latency, Size})
      if (rng() % 2)
        p.limits[q] = (q == Distortion ? 0.4 : -0.3) * double(p.sites.size()) * (double(rng() % 1000) / 1000);
    double best = bruteForce(p);
    std::optional<std::vector<int>> solution = solve(p);
    ASSERT_EQ(bool(solution), std::isfinite(best)) << trial;
    infeasible += !solution;
    if (solution) {
      Cost c = total(p, *solution);
      EXPECT_NEAR(get(c, p.minimize), best, 1e-12) << trial;
      for (Quantity q : {Distortion, Latency, Size})
        if (p.limits[q])
          EXPECT_LE(get(c, q), *p.limits[q] + 1e-12) << trial;
    }
  }
  EXPECT_GT(infeasible, 10);
  EXPECT_LT(infeasible, 500);
}

// More states than are kept: what comes out stays within the limits and near the optimum.
TEST(Solver, ThinsManyStates) {
  std::mt19937 rng(2);
  Problem p = randomProblem(rng, 60, 4);
  p.limits[Distortion] = 5;
  std::optional<std::vector<int>> exact = solve(p, 1 << 20), thinned = solve(p, 256);
  ASSERT_TRUE(exact && thinned);
  EXPECT_LE(total(p, *thinned).distortion, 5);
  EXPECT_LE(total(p, *thinned).latency, total(p, *exact).latency * 0.9);
  p.limits[Size] = -2;
  std::optional<std::vector<int>> both = solve(p, 1024);
  ASSERT_TRUE(both);
  EXPECT_LE(total(p, *both).size, -2);
}
