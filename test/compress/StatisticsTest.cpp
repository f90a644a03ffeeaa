//===- StatisticsTest.cpp - statistics of streams of values -----------------===//

#include "lib/compress/Statistics.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>
#include <random>

using namespace nnopt::compress;

static std::vector<float> normal(int n, unsigned seed, float scale = 1, float shift = 0) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> d(shift, scale);
  std::vector<float> v(n);
  for (float &x : v)
    x = d(rng);
  return v;
}

TEST(Statistics, EqualsTwoPasses) {
  std::vector<float> all;
  TensorStatistics s;
  for (unsigned part = 0; part < 10; ++part) { // ranges grow from part to part
    std::vector<float> v = normal(1000 + 77 * int(part), part, std::exp2(float(part) - 4), 3);
    s.add(v.data(), int64_t(v.size()));
    all.insert(all.end(), v.begin(), v.end());
  }
  double sum = 0, squares = 0, absolute = 0;
  for (float x : all)
    sum += x, absolute += std::fabs(x);
  double mean = sum / double(all.size());
  for (float x : all)
    squares += (x - mean) * (x - mean);
  EXPECT_EQ(s.count(), int64_t(all.size()));
  EXPECT_EQ(s.min(), *std::min_element(all.begin(), all.end()));
  EXPECT_EQ(s.max(), *std::max_element(all.begin(), all.end()));
  EXPECT_NEAR(s.mean(), mean, 1e-9 * std::fabs(mean) + 1e-9);
  EXPECT_NEAR(s.variance(), squares / double(all.size()), 1e-9 * s.variance());
  EXPECT_NEAR(s.meanAbsolute(), absolute / double(all.size()), 1e-9 * s.meanAbsolute());
  // Percentiles are exact up to a bin.
  std::sort(all.begin(), all.end());
  double lo, hi, bin = 2 * 256.0 / TensorStatistics::kBins;
  s.percentileRange(0.98, lo, hi);
  EXPECT_NEAR(lo, all[all.size() / 100], 2 * bin);
  EXPECT_NEAR(hi, all[all.size() - 1 - all.size() / 100], 2 * bin);
}

TEST(Statistics, ErrorOfQuantization) {
  std::vector<float> v = normal(200000, 5);
  TensorStatistics s;
  s.add(v.data(), int64_t(v.size()));
  double step = 6.0 / 255, zero = std::nearbyint(3 / step), error = 0;
  for (float x : v) {
    double q = std::min(255.0, std::max(0.0, std::nearbyint(x / step) + zero));
    error += ((q - zero) * step - x) * ((q - zero) * step - x);
  }
  EXPECT_NEAR(s.quantizationError(-3, 3, 256), error / double(v.size()), 0.02 * error / double(v.size()));
}

/// Few outliers far away: the range of least divergence leaves them out; without any it is nearly whole.
TEST(Statistics, RangeOfLeastDivergence) {
  std::vector<float> v = normal(200000, 5);
  TensorStatistics s;
  s.add(v.data(), int64_t(v.size()));
  double lo, hi;
  s.leastDivergenceRange(256, lo, hi);
  EXPECT_LT(lo, -2.5);
  EXPECT_GT(hi, 2.5);
  EXPECT_LE(s.divergence(lo, hi, 256), s.divergence(s.min(), s.max(), 256));
  float outlier = 60;
  for (int i = 0; i < 4; ++i)
    s.add(&outlier, 1);
  s.leastDivergenceRange(256, lo, hi);
  EXPECT_LT(hi, 15);
  EXPECT_LT(s.divergence(lo, hi, 256), s.divergence(s.min(), s.max(), 256));
  // A value for each level: nothing is lost by rounding, and clipping loses.
  TensorStatistics levels;
  for (int i = 0; i < 256; ++i)
    for (int count = 0; count <= i; ++count) {
      float x = float(i) + 0.5f;
      levels.add(&x, 1);
    }
  EXPECT_NEAR(levels.divergence(0.5, 255.5, 256), 0, 1e-9);
  EXPECT_GT(levels.divergence(0.5, 200, 256), 0.01);
}

TEST(Statistics, MemoryDoesNotGrow) {
  TensorStatistics few, many;
  for (int sample = 0; sample < 8192; ++sample) {
    std::vector<float> v = normal(96, unsigned(sample), 1 + float(sample % 50));
    if (sample < 512) {
      few.add(v.data(), 96);
      few.addChannels(v.data(), 2, 8, 6);
    }
    many.add(v.data(), 96);
    many.addChannels(v.data(), 2, 8, 6);
  }
  EXPECT_EQ(few.count(), 512 * 96);
  EXPECT_EQ(many.count(), 8192 * 96);
  EXPECT_EQ(few.bytes(), many.bytes());
}

TEST(Statistics, Channels) {
  TensorStatistics s;
  std::vector<float> v = {1, 2, -3, 4, 5, 6, 7, -8}; // [2, 2, 2]
  s.addChannels(v.data(), 2, 2, 2);
  EXPECT_EQ(s.channelMin(), (std::vector<float>{1, -8}));
  EXPECT_EQ(s.channelMax(), (std::vector<float>{6, 7}));
}

TEST(Statistics, ZerosAndNotFinite) {
  TensorStatistics s;
  std::vector<float> v = {0, 0, INFINITY, NAN};
  s.add(v.data(), 4);
  EXPECT_EQ(s.count(), 2);
  EXPECT_EQ(s.notFinite(), 2);
  EXPECT_EQ(s.max(), 0);
  v = {1, 2};
  s.add(v.data(), 2);
  EXPECT_EQ(s.min(), 0);
  EXPECT_EQ(s.max(), 2);
}
