//===- LeastSquares.h - weights that give wanted outputs --------*- C++ -*-===//
//
// The loss of a layer with weights V and bias c whose outputs should be t: E|t - V x - c|^2. It
// depends on the data through moments only, and is a sum over rows of V, each a problem of its own.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_LEASTSQUARES_H
#define NNOPT_LIB_COMPRESS_LEASTSQUARES_H

#include "lib/compress/Gram.h"
#include "lib/compress/SparsePattern.h"
#include <optional>

namespace nnopt::compress {

using MatrixD = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// What holds weights at their values, as a share of the mean power of what they multiply: a little
/// for stability, and more where there are few rows to tell `columns` weights from.
inline double dampingFor(const Gram &gram) {
  return 0.003 + 0.1 * double(gram.h.cols()) / double(std::max<int64_t>(gram.rows, 1));
}

class LeastSquares {
public:
  /// The outputs to be met are those of `original` in the float model, with what is missing added.
  /// `damping`, a share of the mean diagonal of E[x x'], times |V - original|^2 is added to the
  /// loss: directions that the data hardly has keep their weights. With `moveBias` the bias is
  /// solved too.
  LeastSquares(const Gram &gram, const LayerWeights &original, double damping, bool moveBias);

  /// The weights with the least loss.
  Matrix solve() const;
  /// The same among weights that are zero outside of the mask: normal equations of each row,
  /// restricted to what it keeps.
  Matrix solve(const Mask &mask) const;
  /// The best bias beside given weights.
  Vector bias(const Matrix &weights) const;
  /// The loss without damping, relative to the variance of the outputs.
  double error(const Matrix &weights) const;
  /// E[x x'] of what deviates from the mean (where the bias moves), damped.
  const MatrixD &hessian() const { return h; }

private:
  MatrixD h, target; // h v = target for each row v
  double damping, energy;
  MatrixD original;
  Eigen::VectorXd mean, targetMean;
  Vector fixedBias;
  bool moveBias;
};

/// The weights of a layer with the least loss, each of its groups by itself, and the bias with
/// `moveBias`; nothing where the moments are no numbers.
std::optional<LayerWeights> solveLayer(const LinearLayer &layer, const Gram &gram, bool moveBias);

} // namespace nnopt::compress

#endif
