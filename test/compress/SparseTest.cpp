//===- SparseTest.cpp - masks and least squares of sparse weights -----------===//

#include "lib/compress/LeastSquares.h"
#include "lib/compress/SparseMask.h"
#include "gtest/gtest.h"
#include <random>

using namespace nnopt::compress;

namespace {

Matrix randomMatrix(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Matrix m(rows, columns);
  for (int64_t i = 0; i < m.size(); ++i)
    m.data()[i] = normal(generator);
  return m;
}

/// Moments of correlated columns of very different sizes.
struct Data {
  Matrix x; // [rows, columns]
  Gram gram;
  Data(int64_t rows, int64_t columns, unsigned seed, float mean = 0) {
    x = randomMatrix(rows, columns, seed) *
        (Matrix::Identity(columns, columns) + 0.5f * randomMatrix(columns, columns, seed + 1));
    for (int64_t c = 0; c < columns; ++c)
      x.col(c) = (x.col(c) * std::exp2(float(c % 5 - 2))).array() + mean;
    gram = momentsOf(x, x);
    gram.cross = gram.dense = Matrix();
  }
  static Gram momentsOf(const Matrix &x, const Matrix &dense) {
    float n = float(x.rows());
    Gram g;
    g.h = x.transpose() * x / n;
    g.cross = dense.transpose() * x / n;
    g.dense = dense.transpose() * dense / n;
    g.mean = x.colwise().mean().transpose();
    g.denseMean = dense.colwise().mean().transpose();
    g.rows = x.rows();
    return g;
  }
};

/// The loss of the best weights on a mask, relative.
double lossOf(const Data &data, const Matrix &w, const Mask &mask) {
  LeastSquares problem(data.gram, {w, Vector::Zero(w.rows())}, 1e-6, false);
  return problem.error(problem.solve(mask));
}

TEST(SparsePattern, Text) {
  for (const char *text : {"70%", "0.5%", "99.25%", "70%,block=4x16", "2:4", "1:2", "80%,block=f32",
                           "80%,block=int8"}) {
    auto pattern = SparsePattern::parse(text);
    ASSERT_TRUE(pattern) << text;
    EXPECT_EQ(pattern->text(), text);
  }
  for (const char *text :
       {"", "70", "0%", "100%", "-5%", "x%", "nan%", "70%,", "70%,block=4", "70%,block=0x4", "4:2",
        "2:2", "0:4", "2:4,", "2:", ":4", "2:4,block=1x4", "70%,2:4", "70%,block=f64", "70%,block=f32,"})
    EXPECT_FALSE(SparsePattern::parse(text)) << text;
  EXPECT_DOUBLE_EQ(SparsePattern::parse("2:4")->zeros(), 0.5);
  EXPECT_EQ(SparsePattern::parse("80%,block=f32")->withLanes(16).text(), "80%,block=16x1");
  EXPECT_EQ(SparsePattern::parse("80%,block=int8")->withLanes(8).text(), "80%,block=8x4");
  EXPECT_EQ(SparsePattern::parse("80%,block=2x3")->withLanes(16).text(), "80%,block=2x3");
}

TEST(SparsePattern, ExactlyTheStatedShare) {
  Matrix equal = Matrix::Ones(7, 10), scores = randomMatrix(7, 10, 1).cwiseAbs();
  for (const Matrix *m : {&equal, &scores})
    for (double share : {0.1, 0.5, 0.7, 0.9}) {
      SparsePattern pattern;
      pattern.share = share;
      EXPECT_EQ(keepLargest(*m, pattern).count(), std::llround((1 - share) * 70));
      Mask rows = keepLargest(*m, pattern, Scope::Row);
      for (int64_t r = 0; r < 7; ++r)
        EXPECT_EQ(rows.row(r).count(), std::llround((1 - share) * 10));
    }
  // What is kept is what is largest.
  SparsePattern half;
  half.share = 0.5;
  Mask kept = keepLargest(scores, half);
  EXPECT_GE(kept.select(scores.array(), 1e9f).minCoeff(),
            kept.select(0.0f, scores.array()).maxCoeff());
}

TEST(SparsePattern, GroupsAndBlocks) {
  Matrix scores = randomMatrix(6, 10, 2).cwiseAbs();
  Mask groups = keepLargest(scores, *SparsePattern::parse("2:4"));
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t c = 0; c < 10; c += 4)
      EXPECT_EQ(groups.row(r).segment(c, std::min<int64_t>(4, 10 - c)).count(), 2);
  // 3 x 4 blocks, of which those at the right have two columns.
  Mask blocks = keepLargest(scores, *SparsePattern::parse("50%,block=2x3"));
  int64_t kept = 0;
  for (int64_t r = 0; r < 6; r += 2)
    for (int64_t c = 0; c < 10; c += 3) {
      auto block = blocks.block(r, c, 2, std::min<int64_t>(3, 10 - c));
      EXPECT_TRUE(block.all() || !block.any());
      kept += block.any();
    }
  EXPECT_EQ(kept, 6);
}

TEST(SparsePattern, BlocksOfChannelsOfAKernel) {
  // Three elements of a kernel: blocks of two channels are columns 0 and 3, 1 and 4, ...; the last channel is alone.
  Matrix scores = randomMatrix(4, 15, 2).cwiseAbs();
  SparsePattern pattern = *SparsePattern::parse("50%,block=2x2");
  pattern.columnStride = 3;
  Mask blocks = keepLargest(scores, pattern);
  int64_t kept = 0;
  for (int64_t r = 0; r < 4; r += 2)
    for (int64_t c : {0, 1, 2, 6, 7, 8, 12, 13, 14}) {
      auto block = blocks.block(r, c, 2, 1);
      EXPECT_TRUE(block.all() || !block.any());
      if (c < 12)
        EXPECT_TRUE((blocks.block(r, c, 2, 1) == blocks.block(r, c + 3, 2, 1)).all());
      kept += block.any();
    }
  EXPECT_EQ(kept, 9);
}

TEST(SparseMask, WandaWeighsByTheData) {
  Matrix w(1, 4), h = Matrix::Zero(4, 4);
  w << 1, -2, 3, 4;
  h.diagonal() << 100, 1, 1, 0.01f;
  SparsePattern half;
  half.share = 0.5;
  Mask magnitude = magnitudeMask(w, half, Scope::Layer), wanda = wandaMask(w, h, half, Scope::Row);
  EXPECT_TRUE(!magnitude(0, 0) && !magnitude(0, 1) && magnitude(0, 2) && magnitude(0, 3));
  EXPECT_TRUE(wanda(0, 0) && !wanda(0, 1) && wanda(0, 2) && !wanda(0, 3));
}

TEST(SparseMask, ObsEqualsWandaWithoutCorrelation) {
  Matrix w = randomMatrix(5, 16, 3), h = Matrix::Zero(16, 16);
  for (int64_t c = 0; c < 16; ++c)
    h(c, c) = float(c + 1);
  SparsePattern pattern;
  pattern.share = 0.75;
  EXPECT_TRUE((obsMask(w, h, pattern, 16) == wandaMask(w, h, pattern, Scope::Layer)).all());
}

TEST(SparseMask, ObsMakesUpForWhatIsRemoved) {
  // Columns 0 and 1 are nearly equal: one of them can stand for both. By magnitude, columns 1 and 2
  // would stay.
  Matrix x = randomMatrix(1000, 4, 4);
  x.col(1) = x.col(0) + 0.01f * x.col(1);
  Matrix h = x.transpose() * x / 1000.0f, w(1, 4);
  w << 1, 1.1f, 1.5f, 0.9f;
  SparsePattern half;
  half.share = 0.5;
  for (const Mask &mask : {obsMask(w, h, half), admmMask(w, h, half)})
    EXPECT_TRUE(mask(0, 0) != mask(0, 1) && mask(0, 2) && !mask(0, 3));
}

TEST(SparseMask, BetterMasksLoseLess) {
  Data data(2000, 48, 5);
  Matrix w = randomMatrix(24, 48, 6);
  for (const char *text : {"50%", "70%", "90%", "2:4", "70%,block=4x1", "70%,block=2x4"}) {
    SparsePattern p = *SparsePattern::parse(text);
    double magnitude = lossOf(data, w, magnitudeMask(w, p, Scope::Layer)),
           wanda = lossOf(data, w, wandaMask(w, data.gram.h, p, Scope::Layer)),
           obs = lossOf(data, w, obsMask(w, data.gram.h, p)),
           admm = lossOf(data, w, admmMask(w, data.gram.h, p));
    EXPECT_LT(wanda, magnitude) << text;
    EXPECT_LT(obs, magnitude) << text;
    EXPECT_LT(admm, std::min(obs, wanda)) << text;
  }
}

TEST(SparseMask, AdmmIsNearTheBestOfAll) {
  // All masks of 5 of 10 columns in a row.
  int64_t best = 0;
  for (unsigned seed = 0; seed < 20; ++seed) {
    Data data(500, 10, seed);
    Matrix w = randomMatrix(1, 10, seed + 100);
    double least = 1e9;
    for (int bits = 0; bits < 1024; ++bits) {
      if (__builtin_popcount(unsigned(bits)) != 5)
        continue;
      Mask mask(1, 10);
      for (int c = 0; c < 10; ++c)
        mask(0, c) = bits >> c & 1;
      least = std::min(least, lossOf(data, w, mask));
    }
    SparsePattern half;
    half.share = 0.5;
    double found = lossOf(data, w, admmMask(w, data.gram.h, half));
    EXPECT_GE(found, least * (1 - 1e-6));
    EXPECT_LE(found, least * 3 + 1e-6) << seed;
    best += found <= least * 1.01;
  }
  EXPECT_GE(best, 10);
}

TEST(SparseMask, DeadColumnsAndDeadData) {
  Data data(200, 8, 7);
  data.gram.h.row(3).setZero();
  data.gram.h.col(3).setZero();
  Matrix w = randomMatrix(4, 8, 8);
  SparsePattern half;
  half.share = 0.5;
  Mask mask = admmMask(w, data.gram.h, half);
  EXPECT_EQ(mask.count(), 16);
  EXPECT_FALSE(mask.col(3).any());
  EXPECT_EQ(admmMask(w, Matrix::Zero(8, 8), half).count(), 16);
}

TEST(LeastSquares, EqualsTheSolutionOnSamples) {
  Data data(400, 12, 9, /*mean=*/0.7f);
  Matrix dense = data.x + 0.3f * randomMatrix(400, 12, 10), w = randomMatrix(5, 12, 11);
  Vector b = randomMatrix(5, 1, 12);
  Gram gram = Data::momentsOf(data.x, dense);
  LeastSquares problem(gram, {w, b}, 1e-7, true);
  Mask mask = (randomMatrix(5, 12, 13).array() > 0).matrix();
  Matrix solved = problem.solve(mask);
  Vector bias = problem.bias(solved);
  double error = 0, energy = 0;
  for (int64_t r = 0; r < 5; ++r) {
    std::vector<int64_t> kept;
    for (int64_t c = 0; c < 12; ++c) {
      if (mask(r, c))
        kept.push_back(c);
      else
        EXPECT_EQ(solved(r, c), 0);
    }
    Eigen::MatrixXd a(400, kept.size() + 1);
    for (size_t i = 0; i < kept.size(); ++i)
      a.col(int64_t(i)) = data.x.col(kept[i]).cast<double>();
    a.col(int64_t(kept.size())).setOnes();
    Eigen::VectorXd t = (dense * w.row(r).transpose()).cast<double>().array() + double(b[r]);
    Eigen::VectorXd exact = a.colPivHouseholderQr().solve(t);
    for (size_t i = 0; i < kept.size(); ++i)
      EXPECT_NEAR(solved(r, kept[i]), exact[int64_t(i)], 1e-3);
    EXPECT_NEAR(bias[r], exact[int64_t(kept.size())], 1e-3);
    error += (t - a * exact).squaredNorm();
    energy += (t.array() - t.mean()).square().sum();
  }
  EXPECT_NEAR(problem.error(solved), error / energy, 1e-4);
}

/// A layer makes up for what a sum that it ends in lacks, as far as its columns tell.
TEST(LeastSquares, GivesWhatIsMissing) {
  Data data(400, 8, 20);
  Matrix w = randomMatrix(3, 8, 21), change = randomMatrix(3, 8, 22),
         rest = 0.1f * randomMatrix(400, 3, 23);
  Matrix missing = data.x * change.transpose() + rest;
  missing.array() += 2;
  Gram gram = Data::momentsOf(data.x, data.x);
  gram.missing = missing.transpose() * data.x / 400.0f;
  gram.missingDense = gram.missing;
  gram.missingMean = missing.colwise().mean().transpose();
  gram.missingPower = missing.squaredNorm() / 400.0;
  LeastSquares problem(gram, {w, Vector::Zero(3)}, 1e-7, true);
  Matrix solved = problem.solve();
  EXPECT_LT((solved - w - change).cwiseAbs().maxCoeff(), 0.1);
  EXPECT_LT((problem.bias(solved).array() - 2).abs().maxCoeff(), 0.1);
  Matrix wanted = data.x * w.transpose() + missing, given = data.x * solved.transpose();
  given.rowwise() += problem.bias(solved).transpose();
  wanted.rowwise() -= wanted.colwise().mean().eval();
  given.rowwise() -= given.colwise().mean().eval();
  EXPECT_NEAR(problem.error(solved), (wanted - given).squaredNorm() / wanted.squaredNorm(), 1e-4);
}

TEST(LeastSquares, KeepsTheBiasWhenAsked) {
  Data data(300, 6, 14, 1);
  Matrix w = randomMatrix(2, 6, 15);
  Vector b = randomMatrix(2, 1, 16);
  LeastSquares problem(data.gram, {w, b}, 1e-7, false);
  EXPECT_EQ(problem.bias(Matrix::Zero(2, 6)), b);
  EXPECT_LT((problem.solve() - w).cwiseAbs().maxCoeff(), 1e-3);
  EXPECT_NEAR(problem.error(w), 0, 1e-5);
}

TEST(LeastSquares, DampingHoldsWhatTheDataDoesNotSay) {
  Data data(300, 6, 17);
  data.gram.h.row(2).setZero();
  data.gram.h.col(2).setZero();
  data.gram.mean[2] = 0;
  Matrix w = randomMatrix(3, 6, 18);
  LeastSquares problem(data.gram, {w, Vector::Zero(3)}, 0.01, true);
  EXPECT_LT((problem.solve() - w).cwiseAbs().maxCoeff(), 1e-3);
}

} // namespace
