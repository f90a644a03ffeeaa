//===- Factorize.h - weights as products of smaller ones --------*- C++ -*-===//
//
// W [out, in * kernel], as LinearLayer has it, as a chain of stages of fewer parameters. What is
// small is the error of the outputs, E |(W - V) x|^2 = tr (W - V) H (W - V)', for the moments H = E
// x x' of the rows that the layer reads; with H = I it is the error of the weights.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_FACTORIZE_LOW_RANK_FACTORIZE_H
#define NNOPT_PASSES_FACTORIZE_LOW_RANK_FACTORIZE_H

#include "lib/compress/Matrix.h"
#include <cstdint>
#include <vector>

namespace nnopt::lowrank {

using compress::Matrix;
using compress::Vector;

/// The columns of a layer: in channels, and the kernel over them; 1 x 1 for matrix products.
/// Kernels of one or three dimensions are `elements` x 1.
struct ColumnShape {
  int64_t in, height, width;
  int64_t kernel() const { return height * width; }
};

/// How a chain of stages is made up. Ranks are the numbers of channels between stages.
enum class Structure {
  /// The whole kernel to `rank` channels, 1 x 1 to all.
  Matrix,
  /// height x 1 to `rank` channels, 1 x width to all (Jaderberg et al. 2014, section 2, scheme 2).
  Spatial,
  /// 1 x 1 to ranks[0] channels, the whole kernel to ranks[1], 1 x 1 to all; without the first
  /// stage where ranks[0] are all
  /// in channels, without the last one where ranks[1] are all out channels (Kim et al. 2016,
  /// section 3.1: Tucker-2).
  Tucker,
};

struct Factors {
  Structure structure;
  std::vector<int64_t> ranks;
  /// In the order in which they are applied, rows for channels of the stage's result:
  /// Matrix: [rank, in * kernel], [out, rank]. Spatial: [rank, in * height], [out, rank * width].
  /// Tucker: [ranks[0], in], [ranks[1], ranks[0] * kernel], [out, ranks[1]].
  std::vector<Matrix> stages;

  int64_t parameters() const;
  /// The weights that the chain stands for, [out, in * kernel].
  Matrix product(const ColumnShape &shape) const;
};

/// Ranks with which a structure has parameters: what stages() of that many would hold.
int64_t parametersOf(Structure structure, const std::vector<int64_t> &ranks, int64_t out,
                     const ColumnShape &shape);

/// `h` with a share of its mean diagonal added to the diagonal, in double.
Eigen::MatrixXd damped(const Eigen::MatrixXd &h, double share);

/// The truncations of W to lower ranks that change the outputs least, all at once: W_r = U U' W
/// with the leading eigenvectors U of W H W' (the truncated singular value decomposition of W L, H
/// = L L', times the inverse of L).
class RankBasis {
public:
  RankBasis(const Eigen::MatrixXd &w, const Eigen::MatrixXd &h);
  /// The share of the outputs' energy that rank r loses.
  double lost(int64_t rank) const;
  Factors factors(int64_t rank) const;

private:
  Eigen::MatrixXd second, first; // all ranks, in order of energy
  Eigen::VectorXd energy;        // descending
};

/// The best second stage behind a given first one, of structure `Matrix`.
Factors factorizeBehind(const Eigen::MatrixXd &w, const Eigen::MatrixXd &h, const Matrix &first);

/// Kernels of two dimensions as two of one. The first stage is the best for the moments of the
/// columns of the kernel, taken over its width; the second one is then exact least squares.
Factors factorizeSpatial(const Eigen::MatrixXd &w, const Eigen::MatrixXd &h,
                         const ColumnShape &shape, int64_t rank);

/// Channels before and behind the kernel. The first stage is the best for the moments of the
/// channels, taken over the kernel; the others are then exact.
Factors factorizeTucker(const Eigen::MatrixXd &w, const Eigen::MatrixXd &h,
                        const ColumnShape &shape, int64_t in, int64_t out);

/// tr (w - v) h (w - v)' / tr w h w'.
double relativeError(const Eigen::MatrixXd &w, const Eigen::MatrixXd &h, const Matrix &v);

} // namespace nnopt::lowrank

#endif
