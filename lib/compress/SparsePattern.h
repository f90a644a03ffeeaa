//===- SparsePattern.h - which weights may be zero together -----*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_SPARSEPATTERN_H
#define NNOPT_LIB_COMPRESS_SPARSEPATTERN_H

#include "lib/compress/Matrix.h"
#include <optional>
#include <string>

namespace nnopt::compress {

/// True where a weight is kept.
using Mask = Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A share of zeros anywhere in a matrix, or in blocks of rows x columns that are zero together; or
/// N:M, of every M columns in a row at most N that are not zero.
struct SparsePattern {
  double share = 0;
  int64_t blockRows = 1, blockColumns = 1;
  /// How far apart the columns of a block are: elements of a kernel, so that a block has neighbouring in channels.
  int64_t columnStride = 1;
  int64_t kept = 0, of = 0; // N and M; of = 0: no such groups
  /// Blocks are those that kernels skip as a whole: columns that a lane of 32 bits holds of f32 (1) or int8 (4), by as
  /// many rows as a vector has lanes. 0: blockRows and blockColumns say.
  int64_t columnsOfLane = 0;

  /// "70%", "70%,block=4x1", "70%,block=f32", "70%,block=int8" or "2:4"; nothing for anything else.
  static std::optional<SparsePattern> parse(const std::string &text);
  /// With the blocks of vectors of so many lanes, where these are asked for.
  SparsePattern withLanes(int64_t lanes) const;
  /// As parse() reads it.
  std::string text() const;
  /// The share of zeros: that of N:M follows from its numbers.
  double zeros() const { return of ? 1 - double(kept) / double(of) : share; }
};

/// Among what scores are compared: all of a matrix, or each row by itself.
enum class Scope { Layer, Row };

/// Keeps the weights with the largest scores (which are not negative; a block has the sum of its
/// scores) that the pattern allows: exactly round((1 - share) * size) of them where blocks fit. Of
/// equal scores the first are kept.
Mask keepLargest(const Matrix &scores, const SparsePattern &pattern, Scope scope = Scope::Layer);

} // namespace nnopt::compress

#endif
