//===- ChannelScales.cpp - channels of a value on one grid ------------------===//

#include "lib/compress/ChannelScales.h"
#include <cmath>

using namespace mlir;

namespace nnopt::compress {

namespace {

/// What a layer multiplies, in terms of in channels of all groups: squares of weights, summed over
/// the kernel, and the largest; [out channels, in channels of a group].
struct Reader {
  Matrix squares, largest;
  int64_t groups;

  int64_t kernel;

  explicit Reader(const LinearLayer &layer) : groups(layer.groups()), kernel(layer.kernel()) {
    Matrix w = layer.weights().weights;
    int64_t in = layer.inChannels();
    squares = largest = Matrix::Zero(w.rows(), in);
    for (int64_t o = 0; o < w.rows(); ++o)
      for (int64_t i = 0; i < in; ++i) {
        auto taps = w.row(o).segment(i * kernel, kernel);
        squares(o, i) = taps.squaredNorm();
        largest(o, i) = taps.cwiseAbs().maxCoeff();
      }
  }

  /// The expected squared error of the results: steps of a uniform grid are off by a twelfth of
  /// their square.
  double error(ArrayRef<double> scales, double activationStep,
               const TensorStatistics &statistics) const {
    double sum = 0;
    int64_t in = squares.cols(), outPerGroup = squares.rows() / groups;
    for (int64_t o = 0; o < squares.rows(); ++o) {
      int64_t first = o / outPerGroup * in;
      double most = 0, activations = 0, power = 0;
      for (int64_t i = 0; i < in; ++i) {
        double s = scales[first + i];
        most = std::max(most, largest(o, i) * s);
        activations += squares(o, i) * s * s;
        power += statistics.channelPower(first + i) / (s * s);
      }
      double weightStep = most / 127;
      sum += activations * activationStep * activationStep +
             weightStep * weightStep * power * double(kernel);
    }
    return sum / 12;
  }
};

} // namespace

/// Any factor will do: those of few digits are short in a recipe.
static double roundedTo8Bits(double v) {
  double unit = std::exp2(std::floor(std::log2(v)) - 7);
  return std::round(v / unit) * unit;
}

std::vector<double> channelScales(ArrayRef<LinearLayer> layers,
                                  const TensorStatistics &statistics) {
  size_t channels = statistics.channelMin().size();
  std::vector<double> ranges(channels), largest(channels);
  for (size_t c = 0; c < channels; ++c)
    ranges[c] = std::max(std::max(0.0f, statistics.channelMax()[c]),
                         -std::min(0.0f, statistics.channelMin()[c]));
  std::vector<Reader> readers;
  for (const LinearLayer &layer : layers) {
    readers.emplace_back(layer);
    const Matrix &m = readers.back().largest;
    int64_t outPerGroup = m.rows() / layer.groups();
    for (int64_t o = 0; o < m.rows(); ++o)
      for (int64_t i = 0; i < m.cols(); ++i) {
        double &to = largest[o / outPerGroup * m.cols() + i];
        to = std::max(to, double(m(o, i)));
      }
  }
  auto errorOf = [&](ArrayRef<double> scales) {
    double lo, hi, sum = 0;
    statistics.rangeOver(scales, lo, hi);
    for (const Reader &reader : readers)
      sum += reader.error(scales, (hi - lo) / 255, statistics);
    return sum;
  };
  std::vector<double> best;
  // Factors cost a multiplication of each element: they have to gain something.
  double limit = 0.8 * errorOf(std::vector<double>(channels, 1));
  // 1: values of equal ranges; less: part of what they differ by stays with the weights.
  for (double share : {0.25, 0.5, 0.75, 1.0}) {
    std::vector<double> scales(channels, 1);
    double most = 0;
    for (size_t c = 0; c < channels; ++c)
      most = std::max(most, ranges[c]);
    for (size_t c = 0; c < channels; ++c) {
      // A channel that is hardly there does not need a grid of its own.
      double range = std::max(ranges[c], most * 1e-3);
      if (range > 0)
        scales[c] = std::pow(range, share) * (largest[c] > 0 ? std::pow(largest[c], share - 1) : 1);
    }
    double top = *std::max_element(scales.begin(), scales.end());
    for (double &s : scales)
      s = roundedTo8Bits(std::max(s / top, 1e-3));
    if (double error = errorOf(scales); error < limit) {
      limit = error;
      best = scales;
    }
  }
  return best;
}

} // namespace nnopt::compress
