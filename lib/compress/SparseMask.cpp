//===- SparseMask.cpp - which weights to keep -------------------------------===//

#include "lib/compress/SparseMask.h"

namespace nnopt::compress {

Mask magnitudeMask(const Matrix &weights, const SparsePattern &pattern, Scope scope) {
  return keepLargest(weights.cwiseAbs(), pattern, scope);
}

Mask wandaMask(const Matrix &weights, const Matrix &hessian, const SparsePattern &pattern,
               Scope scope) {
  Vector norms = hessian.diagonal().cwiseMax(0).cwiseSqrt();
  return keepLargest(weights.cwiseAbs() * norms.asDiagonal(), pattern, scope);
}

Mask obsMask(Matrix weights, const Matrix &hessian, const SparsePattern &pattern,
             int64_t blockSize) {
  int64_t rows = weights.rows(), columns = weights.cols();
  // Blocks end where groups of the pattern do.
  int64_t unit = pattern.of ? pattern.of : pattern.blockColumns * pattern.columnStride;
  blockSize = std::max<int64_t>(1, blockSize / unit) * unit;
  // Row c of the upper factor of H^-1 has, behind c, how the columns behind change when column c
  // does; its diagonal element squared is [H^-1]_cc once the columns before are fixed.
  Eigen::MatrixXd inverse =
      hessian.cast<double>().llt().solve(Eigen::MatrixXd::Identity(columns, columns));
  Matrix factor = Matrix(inverse.llt().matrixU().toDenseMatrix().cast<float>());
  Mask mask(rows, columns);
  for (int64_t begin = 0; begin < columns; begin += blockSize) {
    int64_t size = std::min(blockSize, columns - begin), end = begin + size;
    Vector weight = factor.diagonal().segment(begin, size).cwiseInverse();
    Matrix scores = (weights.middleCols(begin, size) * weight.asDiagonal()).cwiseAbs2();
    Mask kept = keepLargest(scores, pattern);
    mask.middleCols(begin, size) = kept;
    Matrix errors = Matrix::Zero(rows, size);
    for (int64_t i = 0; i < size; ++i) {
      int64_t c = begin + i;
      for (int64_t r = 0; r < rows; ++r)
        if (!kept(r, i))
          errors(r, i) = weights(r, c) / factor(c, c);
      weights.block(0, c, rows, size - i) -= errors.col(i) * factor.block(c, c, 1, size - i);
    }
    if (end < columns)
      weights.rightCols(columns - end) -= errors * factor.block(begin, end, size, columns - end);
  }
  return mask;
}

Mask admmMask(const Matrix &weights, const Matrix &hessian, const SparsePattern &pattern) {
  constexpr int kSteps = 33, kSame = 3; // of which so many share a penalty, and so a factorization
  constexpr float kFirst = 0.02f, kGrowth = 1.6f;
  // In units in which each column has power 1, so that one penalty fits all of them.
  Vector scale =
      hessian.diagonal().cwiseMax(1e-20f * hessian.diagonal().maxCoeff() + 1e-30f).cwiseSqrt();
  Matrix h = scale.cwiseInverse().asDiagonal() * hessian * scale.cwiseInverse().asDiagonal();
  Matrix w = weights * scale.asDiagonal(), goal = w * h;
  Mask mask = keepLargest(w.cwiseAbs2(), pattern);
  Matrix sparse = mask.select(w, 0), dual = Matrix::Zero(w.rows(), w.cols());
  float penalty = kFirst;
  Eigen::LLT<Eigen::MatrixXf> factor;
  for (int step = 0; step < kSteps; ++step) {
    if (step % kSame == 0) {
      if (step) {
        penalty *= kGrowth;
        dual /= kGrowth; // it is kept in units of the penalty
      }
      Eigen::MatrixXf damped = h;
      damped.diagonal().array() += penalty;
      factor.compute(damped);
    }
    Matrix dense = factor.solve((goal + penalty * (sparse - dual)).transpose()).transpose();
    Matrix sum = dense + dual;
    mask = keepLargest(sum.cwiseAbs2(), pattern);
    sparse = mask.select(sum, 0);
    dual = sum - sparse;
  }
  return mask;
}

} // namespace nnopt::compress
