//===- FactorizeTest.cpp - weights as products of smaller ones --------------===//

#include "passes/factorize-low-rank/Factorize.h"
#include "gtest/gtest.h"
#include <random>

using namespace nnopt::lowrank;
using Eigen::MatrixXd;

static MatrixXd normal(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<double> d;
  return MatrixXd::NullaryExpr(rows, columns, [&] { return d(rng); });
}

/// Moments of correlated rows.
static MatrixXd moments(int64_t columns, unsigned seed) {
  MatrixXd mixed = normal(4 * columns, columns, seed) * normal(columns, columns, seed + 1);
  return damped(mixed.transpose() * mixed / double(4 * columns), 1e-3);
}

static double worst(const MatrixXd &w, const Matrix &v) {
  return (w - v.cast<double>()).cwiseAbs().maxCoeff() / w.cwiseAbs().maxCoeff();
}

/// A planted rank is found again, whatever the moments and whichever side is longer.
TEST(Factorize, PlantedRank) {
  for (auto [out, columns] : {std::pair(40, 24), std::pair(24, 40)}) {
    MatrixXd w = normal(out, 5, 1) * normal(5, columns, 2);
    RankBasis basis(w, moments(columns, 3));
    EXPECT_LT(basis.lost(5), 1e-12);
    EXPECT_GT(basis.lost(4), 1e-4);
    Factors f = basis.factors(5);
    EXPECT_EQ(f.parameters(), 5 * (out + columns));
    EXPECT_LT(worst(w, f.product({columns, 1, 1})), 1e-5);
  }
}

/// No other matrix of the rank changes the outputs less: it is the truncated decomposition of W L
/// (Eckart and Young 1936), and what `lost` says is its error.
TEST(Factorize, WhitenedTruncation) {
  MatrixXd w = normal(20, 30, 1), h = moments(30, 2);
  RankBasis basis(w, h);
  Eigen::LLT<MatrixXd> cholesky(h);
  Eigen::JacobiSVD<MatrixXd> svd(w * MatrixXd(cholesky.matrixL()));
  double all = svd.singularValues().squaredNorm();
  for (int64_t rank : {1, 7, 16}) {
    double tail = svd.singularValues().tail(20 - rank).squaredNorm() / all;
    EXPECT_NEAR(basis.lost(rank), tail, 1e-9);
    EXPECT_NEAR(relativeError(w, h, basis.factors(rank).product({30, 1, 1})), tail, 1e-5);
    EXPECT_LT(
        tail,
        relativeError(w, h,
                      RankBasis(w, MatrixXd::Identity(30, 30)).factors(rank).product({30, 1, 1})));
  }
}

/// Behind the first stage of the best pair, the best second one is the one of that pair.
TEST(Factorize, BehindGiven) {
  MatrixXd w = normal(20, 30, 1), h = moments(30, 2);
  Factors f = RankBasis(w, h).factors(6), g = factorizeBehind(w, h, f.stages[0]);
  EXPECT_LT((f.stages[1] - g.stages[1]).cwiseAbs().maxCoeff(),
            1e-4 * f.stages[1].cwiseAbs().maxCoeff());
}

/// Kernels that are products of a column and a row, and channels that are mixtures of few, are
/// found; factors that are not exact are at least as good as what weights alone would say.
TEST(Factorize, PlantedSpatial) {
  ColumnShape shape{6, 3, 5};
  Factors planted{
      Structure::Spatial, {4}, {normal(4, 18, 1).cast<float>(), normal(7, 20, 2).cast<float>()}};
  MatrixXd w = planted.product(shape).cast<double>(), h = moments(90, 3);
  // An element of the product, by the definition: sum over the channels between.
  double element = 0;
  for (int r = 0; r < 4; ++r)
    element += double(planted.stages[1](6, r * 5 + 4)) * double(planted.stages[0](r, 5 * 3 + 2));
  EXPECT_NEAR(w(6, (5 * 3 + 2) * 5 + 4), element, 1e-5);
  Factors found = factorizeSpatial(w, h, shape, 4);
  EXPECT_EQ(found.parameters(), parametersOf(Structure::Spatial, {4}, 7, shape));
  EXPECT_LT(worst(w, found.product(shape)), 1e-5);
  MatrixXd full = normal(7, 90, 4);
  EXPECT_LT(
      relativeError(full, h, factorizeSpatial(full, h, shape, 9).product(shape)),
      relativeError(full, h,
                    factorizeSpatial(full, MatrixXd::Identity(90, 90), shape, 9).product(shape)));
}

TEST(Factorize, PlantedTucker) {
  ColumnShape shape{10, 3, 3};
  Factors planted{Structure::Tucker,
                  {3, 4},
                  {normal(3, 10, 1).cast<float>(), normal(4, 27, 2).cast<float>(),
                   normal(12, 4, 3).cast<float>()}};
  MatrixXd w = planted.product(shape).cast<double>(), h = moments(90, 4);
  double element = 0;
  for (int r = 0; r < 3; ++r)
    for (int q = 0; q < 4; ++q)
      element += double(planted.stages[2](11, q)) * double(planted.stages[1](q, r * 9 + 5)) *
                 double(planted.stages[0](r, 7));
  EXPECT_NEAR(w(11, 7 * 9 + 5), element, 1e-4);
  for (auto [in, out] : {std::pair(3, 4), std::pair(3, 12), std::pair(10, 4)}) {
    Factors found = factorizeTucker(w, h, shape, in, out);
    EXPECT_EQ(found.stages.size(), 1u + (in < 10) + (out < 12));
    EXPECT_EQ(found.parameters(), parametersOf(Structure::Tucker, {in, out}, 12, shape));
    EXPECT_LT(worst(w, found.product(shape)), 1e-5);
  }
  // With all in channels it is the truncation of the whole matrix.
  MatrixXd full = normal(12, 90, 5);
  EXPECT_NEAR(relativeError(full, h, factorizeTucker(full, h, shape, 10, 6).product(shape)),
              RankBasis(full, h).lost(6), 1e-5);
}

/// Values that calibration never saw, and weights of zeros.
TEST(Factorize, Degenerate) {
  MatrixXd w = normal(8, 12, 1), zero = MatrixXd::Zero(12, 12);
  EXPECT_LT(worst(w, RankBasis(w, damped(zero, 1e-3)).factors(8).product({12, 1, 1})), 1e-5);
  Factors f = RankBasis(MatrixXd::Zero(8, 12), damped(zero, 1e-3)).factors(2);
  EXPECT_TRUE(f.product({12, 1, 1}).isZero(0));
  EXPECT_EQ(relativeError(MatrixXd::Zero(8, 12), zero, f.product({12, 1, 1})), 0);
}
