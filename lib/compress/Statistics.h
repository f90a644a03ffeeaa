//===- Statistics.h - what is known of a tensor's values --------*- C++ -*-===//
//
// Statistics of a stream of values. Their memory does not depend on how many values are added.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_STATISTICS_H
#define NNOPT_LIB_COMPRESS_STATISTICS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nnopt::compress {

class TensorStatistics {
public:
  static constexpr int64_t kBins = 4096;

  TensorStatistics() : bins(kBins) {}

  /// Adds values; those that are not finite are counted only.
  void add(const float *values, int64_t count);
  /// Adds to the ranges and squares of channels: values are [outer, channels, inner].
  void addChannels(const float *values, int64_t outer, int64_t channels, int64_t inner);

  int64_t count() const { return n; }
  int64_t notFinite() const { return strange; }
  double min() const { return n ? low : 0; }
  double max() const { return n ? high : 0; }
  double mean() const { return average; }
  double variance() const { return n ? squares / double(n) : 0; }
  double meanAbsolute() const { return n ? absolute / double(n) : 0; }
  const std::vector<float> &channelMin() const { return channelLow; }
  const std::vector<float> &channelMax() const { return channelHigh; }
  /// The range of the values when each channel is divided by its scale; it has 0.
  void rangeOver(llvm::ArrayRef<double> scales, double &lo, double &hi) const;
  /// E[x^2] of a channel.
  double channelPower(int64_t channel) const { return channelSquares[channel] / double(channelCount); }

  /// The least and largest values when the share 1 - `share` of all values, half of it at each end,
  /// is left out. As exact as a bin is wide.
  void percentileRange(double share, double &lo, double &hi) const;
  /// Mean squared error of rounding to `levels` values that are evenly spaced over [lo, hi], zero
  /// among them; values outside become its ends. Each bin counts as its middle.
  double quantizationError(double lo, double hi, int levels) const;
  /// The divergence of the values' histogram, clipped to [lo, hi], from what is left of it after rounding to `levels` values
  /// (Migacz 2017, "8-bit inference with TensorRT").
  double divergence(double lo, double hi, int levels) const;
  /// The range with the least divergence() or quantizationError(), inside of that of the values: each end moves by itself.
  void leastDivergenceRange(int levels, double &lo, double &hi) const;
  void leastErrorRange(int levels, double &lo, double &hi) const;

  /// Bytes that this object keeps.
  size_t bytes() const;

private:
  /// The range with the least `errorOf`(lo, hi).
  void leastRange(llvm::function_ref<double(double, double)> errorOf, double &lo, double &hi) const;
  double middle(int64_t bin) const { return (double(bin) + 0.5) * width() - limit; }
  double width() const { return 2 * limit / kBins; }

  int64_t n = 0, strange = 0;
  double low = 0, high = 0, average = 0, squares = 0, absolute = 0;
  /// Bins divide [-limit, limit), limit a power of two. Growing it joins pairs of bins, which is
  /// exact.
  double limit = 0;
  std::vector<int64_t> bins;
  std::vector<float> channelLow, channelHigh;
  std::vector<double> channelSquares;
  int64_t channelCount = 0; // values of each
};

} // namespace nnopt::compress

#endif
