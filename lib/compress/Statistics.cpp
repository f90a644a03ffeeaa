//===- Statistics.cpp - what is known of a tensor's values ------------------===//

#include "lib/compress/Statistics.h"
#include <algorithm>
#include <cmath>

namespace nnopt::compress {

void TensorStatistics::add(const float *values, int64_t count) {
  double largest = 0, sum = 0;
  int64_t finite = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) {
      ++strange;
      continue;
    }
    double v = values[i];
    if (n + finite == 0)
      low = high = v;
    low = std::min(low, v);
    high = std::max(high, v);
    largest = std::max(largest, std::fabs(v));
    absolute += std::fabs(v);
    sum += v;
    ++finite;
  }
  if (!finite)
    return;
  // Chan, Golub and LeVeque 1983: the sums of squared deviations of two parts, joined.
  double mean = sum / double(finite), deviations = 0;
  for (int64_t i = 0; i < count; ++i)
    if (std::isfinite(values[i]))
      deviations += (values[i] - mean) * (values[i] - mean);
  double total = double(n + finite), delta = mean - average;
  squares += deviations + delta * delta * double(n) * double(finite) / total;
  average += delta * double(finite) / total;
  n += finite;

  if (limit == 0 && largest > 0)
    limit = std::exp2(std::floor(std::log2(largest)) + 1);
  while (largest >= limit && largest > 0) {
    // Bin i of twice the range holds bins 2 (i - kBins / 4) and the next of the old one.
    std::vector<int64_t> joined(kBins);
    for (int64_t i = 0; i < kBins; ++i)
      joined[kBins / 4 + i / 2] += bins[i];
    bins = std::move(joined);
    limit *= 2;
  }
  if (limit == 0) { // zeros only, so far
    bins[kBins / 2] += finite;
    return;
  }
  double scale = kBins / (2 * limit);
  for (int64_t i = 0; i < count; ++i)
    if (std::isfinite(values[i]))
      ++bins[std::min<int64_t>(kBins - 1, int64_t((values[i] + limit) * scale))];
}

void TensorStatistics::addChannels(const float *values, int64_t outer, int64_t channels,
                                   int64_t inner) {
  if (channelLow.empty()) {
    channelLow.assign(channels, INFINITY);
    channelHigh.assign(channels, -INFINITY);
    channelSquares.assign(channels, 0);
  }
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t c = 0; c < channels; ++c) {
      float low = channelLow[c], high = channelHigh[c];
      double sum = 0;
      for (int64_t i = 0; i < inner; ++i) {
        float v = values[(o * channels + c) * inner + i];
        if (!std::isfinite(v))
          continue;
        low = std::min(low, v);
        high = std::max(high, v);
        sum += double(v) * v;
      }
      channelLow[c] = low;
      channelHigh[c] = high;
      channelSquares[c] += sum;
    }
  channelCount += outer * inner;
}

void TensorStatistics::percentileRange(double share, double &lo, double &hi) const {
  lo = min();
  hi = max();
  double left = (1 - share) / 2 * double(n);
  int64_t below = 0, above = 0;
  for (int64_t i = 0; i < kBins && limit > 0; ++i) {
    below += bins[i];
    if (double(below) > left) {
      lo = std::max(lo, middle(i) - width() / 2);
      break;
    }
  }
  for (int64_t i = kBins - 1; i >= 0 && limit > 0; --i) {
    above += bins[i];
    if (double(above) > left) {
      hi = std::min(hi, middle(i) + width() / 2);
      break;
    }
  }
}

double TensorStatistics::quantizationError(double lo, double hi, int levels) const {
  if (!n || !(hi > lo))
    return 0;
  double step = (hi - lo) / (levels - 1), zero = std::nearbyint(-lo / step), error = 0;
  for (int64_t i = 0; i < kBins; ++i) {
    if (!bins[i])
      continue;
    double v = middle(i), q = std::clamp(std::nearbyint(v / step) + zero, 0.0, double(levels - 1));
    double e = (q - zero) * step - v;
    error += e * e * double(bins[i]);
  }
  return error / double(n);
}

void TensorStatistics::rangeOver(llvm::ArrayRef<double> scales, double &lo, double &hi) const {
  lo = hi = 0;
  for (auto [c, scale] : llvm::enumerate(scales)) {
    lo = std::min(lo, channelLow[c] / scale);
    hi = std::max(hi, channelHigh[c] / scale);
  }
}

double TensorStatistics::divergence(double lo, double hi, int levels) const {
  if (!n || !(hi > lo))
    return 0;
  double step = (hi - lo) / (levels - 1);
  auto levelOf = [&](int64_t bin) { return std::clamp<int64_t>(int64_t(std::nearbyint((middle(bin) - lo) / step)), 0, levels - 1); };
  auto isInside = [&](int64_t bin) { return middle(bin) + width() / 2 > lo && middle(bin) - width() / 2 <= hi; };
  // What is outside belongs to the last bins inside.
  int64_t first = 0, last = kBins - 1;
  while (first < last && !isInside(first))
    ++first;
  while (last > first && !isInside(last))
    --last;
  double below = 0, above = 0, inside = 0;
  std::vector<double> counts(levels), used(levels); // of the bins of a level
  for (int64_t i = 0; i < kBins; ++i) {
    if (!bins[i])
      continue;
    if (i < first || i > last) {
      (i < first ? below : above) += double(bins[i]);
      continue;
    }
    counts[levelOf(i)] += double(bins[i]);
    used[levelOf(i)] += 1;
    inside += double(bins[i]);
  }
  if (!(inside > 0))
    return INFINITY;
  // Bins that clipping alone fills have nothing behind them.
  constexpr double kNothing = 1e-9;
  double result = 0;
  for (int64_t i = first; i <= last; ++i) {
    double p = (double(bins[i]) + (i == first ? below : 0) + (i == last ? above : 0)) / double(n);
    if (p == 0)
      continue;
    double q = bins[i] ? counts[levelOf(i)] / used[levelOf(i)] / inside : kNothing;
    result += p * std::log(p / q);
  }
  return result;
}

void TensorStatistics::leastDivergenceRange(int levels, double &lo, double &hi) const {
  leastRange([&](double l, double h) { return divergence(l, h, levels); }, lo, hi);
}

void TensorStatistics::leastErrorRange(int levels, double &lo, double &hi) const {
  leastRange([&](double l, double h) { return quantizationError(l, h, levels); }, lo, hi);
}

void TensorStatistics::leastRange(llvm::function_ref<double(double, double)> errorOf, double &lo, double &hi) const {
  const double first[] = {std::min(min(), 0.0), std::max(max(), 0.0)};
  double ends[] = {first[0], first[1]}, least = errorOf(ends[0], ends[1]);
  // One end after the other, twice: shrinking it trades clipped values for a finer grid.
  for (int round = 0; round < 2; ++round)
    for (int end : {1, 0})
      for (int i = 1; i < 50 && first[end] != 0; ++i) {
        double tried[] = {ends[0], ends[1]};
        tried[end] = first[end] * (1 - i / 50.0);
        double error = errorOf(tried[0], tried[1]);
        if (tried[1] > tried[0] && error < least) {
          least = error;
          ends[end] = tried[end];
        }
      }
  lo = ends[0];
  hi = ends[1];
}

size_t TensorStatistics::bytes() const {
  return sizeof(*this) + bins.capacity() * sizeof(int64_t) +
         (channelLow.capacity() + channelHigh.capacity()) * sizeof(float) + channelSquares.capacity() * sizeof(double);
}

} // namespace nnopt::compress
