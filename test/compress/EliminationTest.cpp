//===- EliminationTest.cpp - which units go first, and repair ---------------===//

#include "lib/compress/prune/PruneSpec.h"
#include "test/compress/Random.h"
#include <gtest/gtest.h>

using namespace nnopt::compress;

namespace {

/// Moments of random rows, after `mix` has changed them.
template <typename Mix> Gram momentsOf(int64_t rows, int64_t columns, Mix mix) {
  Matrix x = gaussian(rows, columns, 1);
  mix(x);
  Gram gram;
  gram.h = x.transpose() * x / float(rows);
  gram.mean = x.colwise().mean().transpose();
  gram.rows = rows;
  return gram;
}

UnitGroup groupOf(const Gram &gram, const Matrix &weights, int64_t units) {
  UnitGroup group;
  group.units = units;
  Consumer c{{weights, Vector::Zero(weights.rows())}, &gram, {}};
  int64_t each = weights.cols() / units;
  for (int64_t u = 0; u < units; ++u) {
    c.columns.emplace_back();
    for (int64_t i = 0; i < each; ++i)
      c.columns.back().push_back(u * each + i);
  }
  group.consumers.push_back(c);
  group.producers = gaussian(units, 3, 2);
  return group;
}

TEST(Elimination, OthersStandForAUnitThatIsTheirSum) {
  // Unit 2 has the largest weights and is 1 + the sum of the units 0 and 1: nothing is lost without
  // one of the three.
  Gram gram = momentsOf(
      500, 4, [](Matrix &x) { x.col(2) = x.col(0) + x.col(1) + Matrix::Ones(x.rows(), 1); });
  Matrix w(2, 4);
  w << 1, 2, 3, -1, 2, -1, 3, 1;
  UnitGroup group = groupOf(gram, w, 4);
  Elimination e = findCriterion("reconstruction")->eliminate(group);
  ASSERT_EQ(e.order.size(), 3u);
  EXPECT_NE(e.order[0], 3);
  EXPECT_LT(e.loss[0], 0.02); // of the damping
  // The outputs are 4 x0 + 5 x1 - x3 and 5 x0 + 2 x1 + x3, of variance 72. Of that x3 has 2, and
  // what x2 alone cannot give of the rest (its best weights are 4.5 and 3.5) is 5.
  EXPECT_EQ(e.order[1], 3);
  EXPECT_NEAR(e.loss[1], 2.0 / 72, 0.01);
  EXPECT_NEAR(e.loss[2], 7.0 / 72, 0.02);
  // Criteria that look at single units keep it.
  EXPECT_NE(findCriterion("l1")->eliminate(group).order[0], 2);
}

TEST(Elimination, LossIsWhatTheOthersCannotMakeUpFor) {
  Gram gram = momentsOf(800, 12, [](Matrix &x) { x.col(1) += x.col(5); });
  Matrix w = gaussian(5, 12, 3);
  UnitGroup group = groupOf(gram, w, 6);
  Elimination e = findCriterion("reconstruction")->eliminate(group);
  EXPECT_TRUE(std::is_sorted(e.loss.begin(), e.loss.end()));
  std::vector<std::vector<LayerWeights>> weights = weightsWithout(group, e.order, {0, 1, 3});
  ASSERT_EQ(weights.size(), 3u);
  EXPECT_EQ(weights[0][0].weights, w);
  Matrix covariance = gram.h - gram.mean * gram.mean.transpose();
  double variance = (w * covariance).cwiseProduct(w).sum();
  for (size_t i : {1, 2}) {
    int64_t gone = i == 1 ? 1 : 3;
    // The same by normal equations over the columns that are left.
    Mask mask = Mask::Constant(5, 12, true);
    for (int64_t n = 0; n < gone; ++n)
      mask.middleCols(e.order[n] * 2, 2).setConstant(false);
    LeastSquares problem(gram, {w, Vector::Zero(5)}, dampingFor(gram), /*moveBias=*/true);
    Matrix expected = problem.solve(mask);
    const LayerWeights &solved = weights[i][0];
    EXPECT_LT((solved.weights - expected).cwiseAbs().maxCoeff(), 0.02);
    EXPECT_LT((solved.bias - problem.bias(expected)).cwiseAbs().maxCoeff(), 0.02);
    Matrix d = w - solved.weights;
    double error = (d * covariance).cwiseProduct(d).sum() / variance;
    EXPECT_NEAR(e.loss[gone - 1], error, 0.02 * error + 5e-3);
  }
}

TEST(Elimination, UnitsThatAreGoneComeFirst) {
  Gram gram = momentsOf(300, 5, [](Matrix &) {});
  UnitGroup group = groupOf(gram, gaussian(4, 5, 3), 5);
  group.gone = {3, 1};
  for (const Criterion &c : criteria()) {
    Elimination e = c.eliminate(group);
    ASSERT_EQ(e.order.size(), 4u) << c.name;
    EXPECT_EQ(e.order[0], 3) << c.name;
    EXPECT_EQ(e.order[1], 1) << c.name;
  }
}

TEST(Elimination, CriteriaLookAtWhatTheySay) {
  // Unit 0 is constant and large, unit 1 small and moving.
  Gram gram = momentsOf(300, 2, [](Matrix &x) { x.col(0).setConstant(10); });
  UnitGroup group = groupOf(gram, Matrix::Ones(3, 2), 2);
  EXPECT_EQ(findCriterion("fluctuation")->eliminate(group).order[0], 0);
  EXPECT_EQ(findCriterion("reconstruction")->eliminate(group).order[0], 0);
  EXPECT_EQ(findCriterion("wanda")->eliminate(group).order[0], 1);
  // A filter between two others is the median.
  group = groupOf(gram, Matrix::Ones(3, 2), 2);
  Gram three = momentsOf(300, 3, [](Matrix &) {});
  UnitGroup filters = groupOf(three, Matrix::Ones(2, 3), 3);
  filters.producers = Matrix(3, 2);
  filters.producers << 0, 0, 5, 5, 9, 9;
  EXPECT_EQ(findCriterion("geometric-median")->eliminate(filters).order[0], 1);
  filters.producers << 5, 0, 1, 0, 0, 9;
  EXPECT_EQ(findCriterion("l1")->eliminate(filters).order[0], 1);
  EXPECT_EQ(findCriterion("l2")->eliminate(filters).order[0], 1);
  filters.scales = Vector(3);
  filters.scales << 0.5f, 0.0f, 0.1f;
  EXPECT_EQ(findCriterion("bn-gamma")->eliminate(filters).order, (std::vector<int64_t>{1, 2}));
  // The first filter is the sum of the next two; the last is small, but no other has its direction.
  Gram four = momentsOf(300, 4, [](Matrix &) {});
  UnitGroup sums = groupOf(four, Matrix::Ones(2, 4), 4);
  sums.producers = Matrix(4, 4);
  sums.producers << 3, 1, 2, 0, 3, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1;
  EXPECT_EQ(findCriterion("l2")->eliminate(sums).order[0], 3);
  EXPECT_NE(findCriterion("merge")->eliminate(sums).order[0], 3);
  EXPECT_LT(findCriterion("merge")->eliminate(sums).loss[0], 0.02);
  EXPECT_EQ(findCriterion("none"), nullptr);
}

TEST(PruneSpec, Text) {
  PruneSpec spec;
  EXPECT_EQ(spec.parse("25%,criterion=fluctuation,steps=4"), "");
  EXPECT_DOUBLE_EQ(spec.share, 0.25);
  EXPECT_STREQ(spec.criterion->name, "fluctuation");
  EXPECT_EQ(spec.steps, 4);
  // Cubic: most goes early.
  EXPECT_NEAR(spec.shareAfter(1), 0.25 * (1 - 27.0 / 64), 1e-12);
  EXPECT_DOUBLE_EQ(spec.shareAfter(4), 0.25);
  for (const char *text : {"", "25", "0%", "100%", "-3%", "x%", "25%,steps=0", "25%,steps=x",
                           "25%,criterion=", "25%,more=1", "25%,"})
    EXPECT_NE(PruneSpec().parse(text), "") << text;
}

} // namespace
