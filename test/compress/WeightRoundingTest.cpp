//===- WeightRoundingTest.cpp - weights in few bits -------------------------===//

#include "lib/compress/WeightRounding.h"
#include "test/compress/Random.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace nnopt::compress;

namespace {

/// Moments of columns that depend on each other and differ in size.
Matrix correlated(int64_t columns, unsigned seed) {
  Matrix x = gaussian(4 * columns, columns, seed) * gaussian(columns, columns, seed + 1);
  for (int64_t c = 0; c < columns; ++c)
    x.col(c) *= std::exp2(float(c % 5));
  return x.transpose() * x / float(x.rows());
}

double outputError(const Matrix &w, const Matrix &q, const Matrix &h) {
  Matrix d = w - q;
  return (d * h).cwiseProduct(d).sum();
}

TEST(WeightRounding, IntegersThatFitAreExact) {
  for (bool symmetric : {true, false}) {
    RoundingGrid grid{4, 16, symmetric};
    Matrix w(3, 32);
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t c = 0; c < 32; ++c)
        w(r, c) = float((r * 7 + c * 5) % 15 - 7) * 0.25f;
    w(0, 0) = w(1, 0) = w(2, 0) = w(0, 16) = w(1, 16) = w(2, 16) = 7 * 0.25f;
    w(0, 1) = w(1, 1) = w(2, 1) = w(0, 17) = w(1, 17) = w(2, 17) = -7 * 0.25f;
    RoundedWeights r = roundToNearest(w, grid, {});
    EXPECT_EQ(r.group(), 16);
    EXPECT_LE((r.values() - w).cwiseAbs().maxCoeff(), symmetric ? 0.0f : 0.13f);
    EXPECT_GE(r.codes.minCoeff(), grid.low());
    EXPECT_LE(r.codes.maxCoeff(), grid.high());
  }
}

TEST(WeightRounding, ErrorsAreHalfAStepWithoutClipping) {
  Matrix w = gaussian(5, 40, 1);
  RoundedWeights r = roundToNearest(w, {8, 40, true}, {});
  for (int64_t row = 0; row < w.rows(); ++row) {
    EXPECT_NEAR(r.scales(row, 0), w.row(row).cwiseAbs().maxCoeff() / 127, 1e-3 * r.scales(row, 0));
    EXPECT_LE((r.values() - w).row(row).cwiseAbs().maxCoeff(), 0.51f * r.scales(row, 0) + 0.05f * r.scales(row, 0));
  }
}

TEST(WeightRounding, ShrinkingARangeHelpsAndImportanceCounts) {
  // An outlier alone in a group of small weights that do not matter, or do.
  Matrix w = 0.1f * gaussian(1, 32, 2);
  w(0, 5) = 2;
  Vector importance = Vector::Ones(32), small = Vector::Ones(32);
  small[5] = 1e-4f;
  auto error = [&](const RoundedWeights &r, const Vector &by) {
    return (r.values() - w).cwiseAbs2().row(0).dot(by.transpose());
  };
  RoundedWeights all = roundToNearest(w, {4, 32, true}, importance), few = roundToNearest(w, {4, 32, true}, small);
  EXPECT_LT(few.scales(0, 0), 0.8f * all.scales(0, 0));
  EXPECT_LT(error(few, small), error(all, small));
  EXPECT_LE(error(all, importance), error(few, importance));
}

TEST(WeightRounding, ZerosAndTinyWeightsStayFinite) {
  for (bool symmetric : {true, false}) {
    Matrix w = Matrix::Zero(2, 16);
    w(1, 3) = 1e-38f;
    RoundedWeights r = roundToNearest(w, {4, 16, symmetric}, {});
    EXPECT_TRUE(r.values().allFinite());
    EXPECT_LE((r.values() - w).cwiseAbs().maxCoeff(), 1e-37f);
  }
}

TEST(WeightRounding, ZeroPointsHelpWhereWeightsAreOfOneSign) {
  Matrix w = gaussian(4, 64, 3).cwiseAbs();
  auto error = [&](bool symmetric) { return (roundToNearest(w, {4, 32, symmetric}, {}).values() - w).squaredNorm(); };
  EXPECT_LT(error(false), 0.5 * error(true));
}

TEST(WeightRounding, FeedbackMakesOutputErrorsSmaller) {
  for (bool symmetric : {true, false}) {
    RoundingGrid grid{4, 32, symmetric};
    Matrix w = gaussian(48, 192, 4), h = correlated(192, 5);
    double nearest = outputError(w, roundToNearest(w, grid, h.diagonal()).values(), h);
    RoundedWeights r = roundWithFeedback(w, grid, h);
    EXPECT_LT(outputError(w, r.values(), h), 0.5 * nearest);
    EXPECT_GE(r.codes.minCoeff(), grid.low());
    EXPECT_LE(r.codes.maxCoeff(), grid.high());
  }
}

TEST(WeightRounding, FeedbackIsNearestWithoutCorrelation) {
  // Nothing to be made up for: columns that are independent.
  Matrix w = gaussian(6, 96, 6), h = Matrix::Identity(96, 96);
  EXPECT_EQ(roundWithFeedback(w, {4, 32, true}, h).codes, roundToNearest(w, {4, 32, true}, h.diagonal()).codes);
}

TEST(WeightRounding, MomentsOfFewRowsAreNoObstacle) {
  // Columns that were never seen, and fewer rows than columns.
  Matrix x = gaussian(10, 64, 7);
  x.col(3).setZero();
  Matrix h = x.transpose() * x / 10, w = gaussian(8, 64, 8);
  RoundedWeights r = roundWithFeedback(w, {4, 32, true}, h);
  EXPECT_TRUE(r.values().allFinite());
  EXPECT_LT(outputError(w, r.values(), h), outputError(w, roundToNearest(w, {4, 32, true}, h.diagonal()).values(), h));
  EXPECT_TRUE(roundWithFeedback(w, {4, 32, true}, Matrix::Zero(64, 64)).values().allFinite());
}

} // namespace
