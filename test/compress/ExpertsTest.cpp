//===- ExpertsTest.cpp - networks as mixtures -------------------------------===//

#include "lib/compress/Experts.h"
#include "test/compress/Random.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>

using namespace nnopt::compress;

namespace {

Matrix times(const Matrix &x, const Matrix &y) { return x.transpose() * y; }

/// Neurons of `groups` kinds, shuffled: those of a kind respond to nearly the same direction, and
/// to inputs beyond `threshold` along it.
FeedForward planted(int64_t groups, int64_t size, int64_t in, float threshold) {
  Matrix kinds = gaussian(groups, in, 1).rowwise().normalized();
  FeedForward network;
  int64_t hidden = groups * size;
  network.w1 = 0.02f * gaussian(hidden, in, 2);
  for (int64_t j = 0; j < hidden; ++j)
    network.w1.row(j) += kinds.row(j % groups); // a permutation of the experts' order
  network.bias1 = Vector::Constant(hidden, -threshold);
  network.w2 = gaussian(8, hidden, 3);
  network.bias2 = gaussian(8, 1, 4);
  network.activation = [](float v) { return std::max(v, 0.0f); };
  return network;
}

Matrix outputs(const FeedForward &network, const Matrix &h) {
  Matrix y = h * network.w2.transpose();
  y.rowwise() += network.bias2.transpose();
  return y;
}

/// What the mixture computes, and the share of neurons that it does for it.
Matrix run(const Mixture &mixture, const Matrix &x, const Matrix &h, double &share) {
  Matrix ordered(h.rows(), h.cols());
  int64_t chosen = 0;
  for (int64_t i = 0; i < h.rows(); ++i)
    for (int64_t k = 0; k < h.cols(); ++k) {
      int64_t e = k / mixture.size;
      bool on = mixture.router.row(e).dot(x.row(i)) + mixture.routerBias[e] > 0;
      ordered(i, k) = on ? h(i, mixture.order[k]) : 0;
      chosen += on;
    }
  share = double(chosen) / double(h.size());
  Matrix y = ordered * mixture.w2.transpose();
  y.rowwise() += mixture.bias2.transpose();
  return y;
}

TEST(Experts, ClustersHaveEqualSizesAndFindGroups) {
  FeedForward network = planted(8, 16, 24, 0);
  std::vector<int64_t> order = balancedClusters(network.w1, 16), sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (int64_t i = 0; i < 128; ++i)
    EXPECT_EQ(sorted[i], i);
  int64_t pure = 0;
  for (int64_t e = 0; e < 8; ++e)
    for (int64_t j = 0; j < 16; ++j)
      pure += order[e * 16 + j] % 8 == order[e * 16] % 8;
  EXPECT_GE(pure, 96);
}

TEST(Experts, AllKeptIsExact) {
  FeedForward network = planted(8, 16, 24, 0.5f);
  Matrix x = gaussian(300, 24, 5), h = hiddenLayer(network, x, times);
  Mixture mixture = groupNeurons(network, x, h, 16, times);
  route(mixture, network, x, h, 1, times);
  double share;
  Matrix y = outputs(network, h), z = run(mixture, x, h, share);
  EXPECT_EQ(share, 1);
  EXPECT_LT((y - z).cwiseAbs().maxCoeff(), 1e-5f * y.cwiseAbs().maxCoeff());
}

TEST(Experts, KeepsTheShareAndNearlyTheOutputs) {
  FeedForward network = planted(16, 16, 24, 1);
  Matrix x = gaussian(4000, 24, 5), h = hiddenLayer(network, x, times);
  Mixture mixture = groupNeurons(network, x, h, 16, times);
  Matrix fresh = gaussian(1000, 24, 6), hidden = hiddenLayer(network, fresh, times);
  Matrix y = outputs(network, hidden);
  double centered = (y.rowwise() - y.colwise().mean()).squaredNorm(), before = 0;
  for (double share : {0.75, 0.5, 0.3}) {
    route(mixture, network, x, h, share, times);
    double computed;
    double error = (run(mixture, fresh, hidden, computed) - y).squaredNorm() / centered;
    EXPECT_NEAR(computed, share, 0.03);
    EXPECT_GE(error, before * 0.9) << share;
    EXPECT_LT(error, 0.1) << share;
    before = error;
  }
}

TEST(Experts, NeuronsThatAreAlwaysActiveAreShared) {
  FeedForward network = planted(8, 16, 24, 1.5f);
  for (int64_t j = 40; j < 60; ++j)
    network.bias1[j] = 20;
  Matrix x = gaussian(500, 24, 5), h = hiddenLayer(network, x, times);
  Mixture mixture = groupNeurons(network, x, h, 16, times);
  EXPECT_EQ(mixture.shared, 1);
  for (int64_t j = 0; j < 16; ++j) {
    EXPECT_GE(mixture.order[j], 40);
    EXPECT_LT(mixture.order[j], 60);
  }
  route(mixture, network, x, h, 0.5, times);
  EXPECT_TRUE(mixture.router.row(0).isZero());
  EXPECT_GT(mixture.routerBias[0], 0);
}

// Norms are 32-bit floats, whose last bit depends on the CPU.
TEST(Experts, ActivationKeptIsTheLargestTerms) {
  Matrix h(2, 4), w2(1, 4);
  h << 1, 0, 0, 3, 2, 2, 2, 2;
  w2 << 1, 1, 1, 1;
  EXPECT_NEAR(activationKept(h, w2, 0.25), (0.75 + 0.25) / 2, 1e-7);
  EXPECT_NEAR(activationKept(h, w2, 0.5), (1 + 0.5) / 2, 1e-7);
  w2 << 6, 1, 1, 1; // what counts is what reaches the output
  EXPECT_NEAR(activationKept(h, w2, 0.25), (6.0 / 9 + 12.0 / 18) / 2, 1e-7);
}

TEST(Experts, GatesMultiply) {
  FeedForward network = planted(4, 4, 6, 0);
  network.w3 = gaussian(16, 6, 9);
  network.bias3 = gaussian(16, 1, 10);
  Matrix x = gaussian(5, 6, 5), h = hiddenLayer(network, x, times);
  float first = std::max(network.w1.row(3).dot(x.row(2)) + network.bias1[3], 0.0f);
  EXPECT_NEAR(h(2, 3), first * (network.w3.row(3).dot(x.row(2)) + network.bias3[3]), 1e-5f);
}

} // namespace
