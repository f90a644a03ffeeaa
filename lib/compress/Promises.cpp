//===- Promises.cpp - what compiled models keep of promises -----------------===//

#include "lib/compress/Promises.h"
#include <algorithm>
#include <eigen3/Eigen/Cholesky>

namespace nnopt::compress {

std::map<std::string, double> keptPromises(const std::vector<Whole> &wholes, const std::vector<std::string> &names) {
  constexpr double kPrior = 0.1, kLeast = 0.05, kMost = 2;
  std::map<std::string, double> kept;
  for (const std::string &name : names)
    kept[name] = 1;
  if (wholes.empty())
    return kept;
  Eigen::MatrixXd promised = Eigen::MatrixXd::Zero(wholes.size(), kept.size());
  Eigen::VectorXd measured(wholes.size());
  for (size_t row = 0; row < wholes.size(); ++row) {
    measured[row] = wholes[row].milliseconds;
    for (const auto &[name, milliseconds] : wholes[row].promised)
      promised(row, std::distance(kept.begin(), kept.find(name))) = milliseconds;
  }
  Eigen::VectorXd sums = promised.rowwise().sum();
  double squares = sums.squaredNorm();
  double common = squares > 0 ? std::clamp(sums.dot(measured) / squares, kLeast, kMost) : 1;
  double weight = kPrior * std::max(promised.rowwise().squaredNorm().mean(), 1e-30);
  Eigen::MatrixXd normal = promised.transpose() * promised;
  normal.diagonal().array() += weight;
  Eigen::VectorXd right = promised.transpose() * measured;
  right.array() += weight * common;
  Eigen::VectorXd shares = normal.ldlt().solve(right);
  size_t i = 0;
  for (auto &[name, share] : kept)
    share = std::clamp(shares[i++], kLeast, kMost);
  return kept;
}

} // namespace nnopt::compress
