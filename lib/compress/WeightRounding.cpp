//===- WeightRounding.cpp - matrices of weights in few bits -----------------===//

#include "lib/compress/WeightRounding.h"
#include "lib/compress/WidenedConstants.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace nnopt::compress {

/// Share of the mean of the diagonal that is added to moments before they are inverted.
constexpr float kDamping = 0.01f;

Matrix RoundedWeights::values() const {
  Matrix result(codes.rows(), codes.cols());
  int64_t size = group();
  for (int64_t r = 0; r < codes.rows(); ++r)
    for (int64_t c = 0; c < codes.cols(); ++c) {
      int zero = zeros.size() ? zeros(r, c / size) : 0;
      result(r, c) = float(codes(r, c) - zero) * scales(r, c / size);
    }
  return result;
}

namespace {

/// The scale and zero point of a group.
struct GroupParameters {
  float scale = 1;
  int zero = 0;
};

int codeOf(float w, const GroupParameters &p, const RoundingGrid &grid) {
  float q = std::nearbyint(w / p.scale) + float(p.zero);
  return int(std::clamp(q, float(grid.low()), float(grid.high())));
}

/// The parameters that cover `share` of the range of a group and zero.
GroupParameters covering(float low, float high, float share, const RoundingGrid &grid) {
  GroupParameters p;
  float width = grid.symmetric ? std::max(std::max(-low, high), 0.0f) / float(grid.high())
                               : (std::max(high, 0.0f) - std::min(low, 0.0f)) / float(grid.high());
  float scale = width * share;
  // Where its relative error is that of 11 bits, so that the scale takes two bytes.
  if (scale >= 0x1p-14f && scale <= 65504)
    scale = roundedToHalves(scale, "f16").front();
  if (!(scale >= 1e-30f))
    return p; // zeros, as good as
  p.scale = scale;
  if (!grid.symmetric)
    p.zero = int(std::clamp(std::nearbyint(-std::min(low, 0.0f) * share / scale), float(grid.low()), float(grid.high())));
  return p;
}

GroupParameters bestParameters(const float *w, int64_t count, const float *importance, const RoundingGrid &grid) {
  auto [low, high] = std::minmax_element(w, w + count);
  GroupParameters best = covering(*low, *high, 1, grid);
  // With many levels clipping costs more than it gains.
  if (grid.bits >= 8)
    return best;
  double least = INFINITY;
  for (int step = 0; step <= 24; ++step) {
    // Above 1: the level below the least one that is used on the other side may be nearer.
    GroupParameters p = covering(*low, *high, 1.04f - 0.02f * float(step), grid);
    double error = 0;
    for (int64_t i = 0; i < count && error < least; ++i) {
      double e = double(codeOf(w[i], p, grid) - p.zero) * p.scale - w[i];
      error += e * e * (importance ? importance[i] : 1);
    }
    if (error < least) {
      least = error;
      best = p;
    }
  }
  return best;
}

/// Scales and zero points of all groups; no codes yet.
RoundedWeights parametersOf(const Matrix &w, const RoundingGrid &grid, const Vector &importance) {
  RoundedWeights r;
  int64_t groups = w.cols() / grid.group;
  r.codes.resize(w.rows(), w.cols());
  r.scales.resize(w.rows(), groups);
  if (!grid.symmetric)
    r.zeros.resize(w.rows(), groups);
  for (int64_t row = 0; row < w.rows(); ++row)
    for (int64_t g = 0; g < groups; ++g) {
      GroupParameters p = bestParameters(w.row(row).data() + g * grid.group, grid.group,
                                         importance.size() ? importance.data() + g * grid.group : nullptr, grid);
      r.scales(row, g) = p.scale;
      if (!grid.symmetric)
        r.zeros(row, g) = int16_t(p.zero);
    }
  return r;
}

GroupParameters parametersAt(const RoundedWeights &r, int64_t row, int64_t g) {
  return {r.scales(row, g), r.zeros.size() ? r.zeros(row, g) : 0};
}

} // namespace

RoundedWeights roundToNearest(const Matrix &w, const RoundingGrid &grid, const Vector &importance) {
  RoundedWeights r = parametersOf(w, grid, importance);
  for (int64_t row = 0; row < w.rows(); ++row)
    for (int64_t c = 0; c < w.cols(); ++c)
      r.codes(row, c) = int16_t(codeOf(w(row, c), parametersAt(r, row, c / grid.group), grid));
  return r;
}

RoundedWeights roundWithFeedback(const Matrix &w, const RoundingGrid &grid, const Matrix &h) {
  int64_t columns = w.cols();
  Vector importance = h.diagonal();
  RoundedWeights r = parametersOf(w, grid, importance);
  std::vector<int64_t> order(columns);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return importance[a] != importance[b] ? importance[a] > importance[b] : a < b;
  });

  // The upper factor U of the inverse, H^-1 = U' U. H = P P' with P upper triangular, which is Cholesky's factorization
  // from the last column on, and U = P^-1.
  Matrix reversed(columns, columns);
  Matrix hd = h;
  hd.diagonal().array() += std::max(kDamping * h.diagonal().mean(), 1e-20f);
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t j = 0; j < columns; ++j)
      reversed(i, j) = hd(order[columns - 1 - i], order[columns - 1 - j]);
  Eigen::LLT<Matrix> factor(reversed);
  if (factor.info() != Eigen::Success)
    return roundToNearest(w, grid, importance);
  Matrix lower = factor.matrixL();
  Matrix inverse = lower.triangularView<Eigen::Lower>().solve(Matrix::Identity(columns, columns));
  Matrix u = inverse.reverse();

  // A row of `left` is a column of the weights as it is now; a block of columns is finished before the others hear of it.
  constexpr int64_t kBlock = 64;
  Matrix left(columns, w.rows());
  for (int64_t i = 0; i < columns; ++i)
    left.row(i) = w.col(order[i]).transpose();
  for (int64_t begin = 0; begin < columns; begin += kBlock) {
    int64_t end = std::min(begin + kBlock, columns);
    Matrix errors(end - begin, w.rows());
    for (int64_t i = begin; i < end; ++i) {
      int64_t column = order[i], g = column / grid.group;
      for (int64_t row = 0; row < w.rows(); ++row) {
        GroupParameters p = parametersAt(r, row, g);
        int code = codeOf(left(i, row), p, grid);
        r.codes(row, column) = int16_t(code);
        errors(i - begin, row) = (left(i, row) - float(code - p.zero) * p.scale) / u(i, i);
      }
      for (int64_t k = i + 1; k < end; ++k)
        left.row(k) -= u(i, k) * errors.row(i - begin);
    }
    if (end < columns)
      left.bottomRows(columns - end).noalias() -= u.block(begin, end, end - begin, columns - end).transpose() * errors;
  }
  return r;
}

} // namespace nnopt::compress
