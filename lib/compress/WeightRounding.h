//===- WeightRounding.h - matrices of weights in few bits -------*- C++ -*-===//
//
// w ~ scale (q - zero) with integers q of `bits` bits; each row is divided into groups of neighbours along the columns that
// have a scale (and a zero point) of their own.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_WEIGHTROUNDING_H
#define NNOPT_LIB_COMPRESS_WEIGHTROUNDING_H

#include "lib/compress/Matrix.h"
#include <cstdint>

namespace nnopt::compress {

struct RoundingGrid {
  int bits = 4;
  int64_t group = 32; // divides the columns
  /// Signed integers without zero points; else unsigned ones with them.
  bool symmetric = true;

  int low() const { return symmetric ? -(1 << (bits - 1)) : 0; }
  int high() const { return low() + (1 << bits) - 1; }
};

struct RoundedWeights {
  using Codes = Eigen::Matrix<int16_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  Codes codes;   // [rows, columns]
  Matrix scales; // [rows, groups]
  Codes zeros;   // [rows, groups]; empty: 0

  int64_t group() const { return codes.cols() / scales.cols(); }
  Matrix values() const;
};

/// Rounds to the nearest. The range of a group shrinks as far as that makes the sum of squared errors smaller, which each
/// column enters with its `importance` (empty: all the same). Scales are 16-bit floats where that is exact enough.
RoundedWeights roundToNearest(const Matrix &weights, const RoundingGrid &grid, const Vector &importance);

/// Rounds so that E|(W - Q) x|^2 is small, h being E[x x']: column after column, and what a column loses is made up for by
/// those that come later (Frantar et al. 2022, "GPTQ", section 3). Columns that matter most come first.
RoundedWeights roundWithFeedback(const Matrix &weights, const RoundingGrid &grid, const Matrix &h);

} // namespace nnopt::compress

#endif
