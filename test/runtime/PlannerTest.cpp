//===- PlannerTest.cpp - nnopt_plan_memory ----------------------------------===//

#include "runtime/format.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace {

struct Problem {
  std::vector<int64_t> size;
  std::vector<uint32_t> first, last, align;

  void add(int64_t s, uint32_t f, uint32_t l, uint32_t a = 1) {
    size.push_back(s);
    first.push_back(f);
    last.push_back(l);
    align.push_back(a);
  }
  int64_t plan() {
    offset.assign(size.size(), -1);
    std::vector<int64_t> work(4 * size.size());
    return nnopt_plan_memory(static_cast<uint32_t>(size.size()), size.data(), first.data(),
                             last.data(), align.data(), offset.data(), work.data(), &bound);
  }
  /// Checks everything that a plan promises.
  void check(int64_t total) const {
    int64_t end = 0, exact = 0;
    for (size_t i = 0; i < size.size(); ++i) {
      if (size[i] <= 0)
        continue;
      ASSERT_GE(offset[i], 0);
      ASSERT_EQ(offset[i] % align[i], 0);
      end = std::max(end, offset[i] + size[i]);
      int64_t live = 0;
      for (size_t j = 0; j < size.size(); ++j) {
        if (size[j] > 0 && first[j] <= first[i] && last[j] >= first[i])
          live += size[j];
        bool together = first[i] <= last[j] && first[j] <= last[i];
        if (j > i && size[j] > 0 && together) {
          ASSERT_TRUE(offset[i] + size[i] <= offset[j] || offset[j] + size[j] <= offset[i])
              << i << " and " << j << " overlap";
        }
      }
      exact = std::max(exact, live);
    }
    EXPECT_EQ(end, total);
    EXPECT_EQ(bound, exact);
    EXPECT_GE(total, bound);
  }

  std::vector<int64_t> offset;
  int64_t bound = 0;
};

TEST(Planner, Nothing) {
  Problem p;
  EXPECT_EQ(p.plan(), 0);
  EXPECT_EQ(p.bound, 0);
}

TEST(Planner, ChainReusesMemory) {
  Problem p;
  for (uint32_t i = 0; i < 10; ++i)
    p.add(100, i, i + 1);
  int64_t total = p.plan();
  EXPECT_EQ(total, 200);
  p.check(total);
}

TEST(Planner, EmptyBuffersTakeNoPlace) {
  Problem p;
  p.add(0, 0, 9);
  p.add(64, 0, 9);
  EXPECT_EQ(p.plan(), 64);
  EXPECT_EQ(p.offset[0], -1);
}

TEST(Planner, Alignment) {
  Problem p;
  p.add(1, 0, 1, 1);
  p.add(10, 0, 1, 64);
  p.add(5, 0, 1, 4096);
  int64_t total = p.plan();
  p.check(total);
}

// The biggest buffers first leave a hole that only the right order fills.
TEST(Planner, TriesSeveralOrders) {
  Problem p;
  p.add(4, 0, 1);
  p.add(8, 1, 2);
  p.add(4, 2, 3);
  p.add(12, 3, 4);
  int64_t total = p.plan();
  p.check(total);
  EXPECT_EQ(total, p.bound);
}

// Of a model (mamba2_small): the order of first use and what it becomes by moving takes 5.7 % more than the bound.
TEST(Planner, MovesBuffersInEachOrder) {
  Problem p;
  for (auto [size, first, last] : {std::array<uint32_t, 3>{2048, 0, 58}, {2048, 1, 2}, {8768, 2, 27}, {4608, 5, 26}, {4096, 15, 27},
                                   {5120, 23, 25}, {4096, 25, 26}, {2048, 58, 116}, {8768, 89, 114}, {4608, 92, 113}, {4096, 102, 114},
                                   {5120, 110, 112}, {4096, 112, 113}})
    p.add(64 * size, first, last, 64);
  int64_t total = p.plan();
  p.check(total);
  EXPECT_EQ(total, p.bound);
}

/// What is in the way goes first: the three orders alone meet the bound in 138 of these 200, and take 1.6 % more than it.
TEST(Planner, ComesCloseToTheBound) {
  std::mt19937 random(7);
  auto draw = [&](uint32_t below) { return static_cast<uint32_t>(random() % below); };
  int met = 0;
  double excess = 0;
  for (int round = 0; round < 200; ++round) {
    Problem p;
    for (int i = 0; i < 40; ++i) {
      uint32_t first = draw(40);
      p.add(64 * (1 + draw(20)), first, first + draw(6), 64);
    }
    int64_t total = p.plan();
    p.check(total);
    met += total == p.bound;
    excess += static_cast<double>(total) / static_cast<double>(p.bound) - 1;
  }
  EXPECT_GE(met, 175);
  EXPECT_LE(excess / 200, 0.005);
}

TEST(Planner, RefusesSumsThatOverflow) {
  Problem p;
  p.add(INT64_MAX / 2, 0, 1);
  p.add(INT64_MAX / 2, 0, 1);
  p.add(100, 0, 1);
  EXPECT_EQ(p.plan(), -1);
}

TEST(Planner, RandomProblems) {
  std::mt19937 rng(7);
  auto upTo = [&](uint32_t n) { return static_cast<uint32_t>(rng() % n); };
  double ratio = 0;
  const int problems = 400;
  for (int n = 0; n < problems; ++n) {
    Problem p;
    uint32_t count = 1 + upTo(60);
    for (uint32_t i = 0; i < count; ++i) {
      uint32_t first = upTo(50), length = upTo(10) == 0 ? upTo(50) : upTo(4);
      p.add(upTo(12) == 0 ? 0 : 1 + upTo(upTo(2) ? 100 : 10000), first, first + length,
            1u << upTo(7));
    }
    int64_t total = p.plan();
    p.check(total);
    if (p.bound)
      ratio += static_cast<double>(total) / static_cast<double>(p.bound) / problems;
    if (testing::Test::HasFatalFailure())
      return;
  }
  // Alignment alone costs some; far from the bound would mean that the orders are wrong.
  EXPECT_LT(ratio, 1.15);
}

TEST(Planner, ResultsAreReproducible) {
  Problem a, b;
  std::mt19937 rng(3);
  for (int i = 0; i < 200; ++i) {
    uint32_t first = static_cast<uint32_t>(rng() % 100);
    int64_t size = static_cast<int64_t>(rng() % 5) * 64;
    a.add(size, first, first + 3, 64);
    b.add(size, first, first + 3, 64);
  }
  EXPECT_EQ(a.plan(), b.plan());
  EXPECT_EQ(a.offset, b.offset);
}

TEST(Planner, TenThousandBuffersInAFewSeconds) {
  Problem p;
  for (uint32_t i = 0; i < 10000; ++i)
    p.add(1000 + i % 77, i, i + 1 + i % 5, 64);
  auto start = std::chrono::steady_clock::now();
  int64_t total = p.plan();
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_GE(total, p.bound);
  EXPECT_LT(seconds, 10);
}

} // namespace
