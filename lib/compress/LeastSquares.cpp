//===- LeastSquares.cpp - weights that give wanted outputs ------------------===//

#include "lib/compress/LeastSquares.h"

namespace nnopt::compress {

LeastSquares::LeastSquares(const Gram &gram, const LayerWeights &from, double share, bool moveBias)
    : h(gram.h.cast<double>()), original(from.weights.cast<double>()),
      mean(gram.mean.cast<double>()), fixedBias(from.bias), moveBias(moveBias) {
  bool compares = gram.compares();
  MatrixD cross = compares ? MatrixD(gram.cross.cast<double>()) : h;
  MatrixD dense = compares ? MatrixD(gram.dense.cast<double>()) : h;
  Eigen::VectorXd denseMean = compares ? Eigen::VectorXd(gram.denseMean.cast<double>()) : mean;
  // What the bias takes over: the means. Without it, they are part of the problem.
  targetMean = original * denseMean;
  target = original * cross;
  energy = ((original * dense).cwiseProduct(original)).sum();
  if (gram.missing.size()) {
    targetMean += gram.missingMean.cast<double>();
    target += gram.missing.cast<double>();
    energy += 2 * original.cwiseProduct(gram.missingDense.cast<double>()).sum() + gram.missingPower;
  }
  if (moveBias) {
    h -= mean * mean.transpose();
    target -= targetMean * mean.transpose();
    energy -= targetMean.squaredNorm();
  }
  damping = std::max(share * gram.h.diagonal().cast<double>().mean(), 1e-12);
  h.diagonal().array() += damping;
  target += damping * original;
}

Matrix LeastSquares::solve() const {
  return h.llt().solve(target.transpose()).transpose().cast<float>();
}

Matrix LeastSquares::solve(const Mask &mask) const {
  Matrix result = Matrix::Zero(target.rows(), target.cols());
  std::vector<int64_t> kept;
  for (int64_t r = 0; r < target.rows(); ++r) {
    kept.clear();
    for (int64_t c = 0; c < target.cols(); ++c)
      if (mask(r, c))
        kept.push_back(c);
    if (kept.empty())
      continue;
    Eigen::VectorXd t = target.row(r)(kept).transpose();
    Eigen::MatrixXd a = h(kept, kept);
    Eigen::VectorXd w = a.llt().solve(t);
    for (size_t i = 0; i < kept.size(); ++i)
      result(r, kept[i]) = float(w[int64_t(i)]);
  }
  return result;
}

Vector LeastSquares::bias(const Matrix &weights) const {
  if (!moveBias)
    return fixedBias;
  return fixedBias + (targetMean - weights.cast<double>() * mean).cast<float>();
}

double LeastSquares::error(const Matrix &weights) const {
  // energy - 2 v t + v h v, t and h without their damping.
  MatrixD v = weights.cast<double>();
  MatrixD d = v - original;
  double loss = energy - 2 * v.cwiseProduct(target).sum() + (v * h).cwiseProduct(v).sum();
  // damping: + |v|^2 - 2 v original = |v - original|^2 - |original|^2 was added.
  loss -= damping * (d.squaredNorm() - original.squaredNorm());
  return energy > 0 ? std::max(loss, 0.0) / energy : std::max(loss, 0.0);
}

std::optional<LayerWeights> solveLayer(const LinearLayer &layer, const Gram &gram, bool moveBias) {
  LayerWeights original = layer.weights(), solved = original;
  int64_t count = layer.groups(), channels = layer.outChannels() / count;
  for (int64_t g = 0; g < count; ++g) {
    LayerWeights part{original.weights.middleRows(g * channels, channels),
                      original.bias.segment(g * channels, channels)};
    const Gram &moments = count == 1 ? gram : gram.groups[g];
    LeastSquares problem(moments, part, dampingFor(moments), moveBias);
    part.weights = problem.solve();
    solved.weights.middleRows(g * channels, channels) = part.weights;
    solved.bias.segment(g * channels, channels) = problem.bias(part.weights);
  }
  if (!solved.weights.allFinite() || !solved.bias.allFinite())
    return std::nullopt;
  return solved;
}

} // namespace nnopt::compress
