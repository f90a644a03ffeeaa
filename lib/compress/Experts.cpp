//===- Experts.cpp - a feed-forward network as a mixture ------------------===//

#include "lib/compress/Experts.h"
#include <algorithm>
#include <numeric>
#include <random>

namespace nnopt::compress {

using MatrixD = Eigen::MatrixXd;
using VectorD = Eigen::VectorXd;

/// A neuron that is not zero for this share of rows belongs to the shared experts.
static constexpr double kAlwaysActive = 0.95;
/// Weights of the regressions' penalties, relative to the mean variance of a regressor.
static constexpr double kRouterRidge = 1e-3, kRepairRidge = 1e-2;
static constexpr int kClusterSteps = 15;

Matrix hiddenLayer(const FeedForward &network, const Matrix &x, const Product &product) {
  Matrix inputs = x.transpose();
  Matrix h = product(inputs, network.w1.transpose());
  h.rowwise() += network.bias1.transpose();
  h = h.unaryExpr(network.activation);
  if (network.w3.size()) {
    Matrix factor = product(inputs, network.w3.transpose());
    factor.rowwise() += network.bias3.transpose();
    h.array() *= factor.array();
  }
  return h;
}

double activationKept(const Matrix &h, const Matrix &w2, double share) {
  Eigen::RowVectorXf norms = w2.colwise().norm();
  int64_t kept = std::llround(share * double(h.cols()));
  double sum = 0;
  int64_t rows = 0;
  for (int64_t i = 0; i < h.rows(); ++i) {
    Eigen::RowVectorXf mass = h.row(i).cwiseAbs().cwiseProduct(norms);
    std::nth_element(mass.data(), mass.data() + std::min(kept, mass.size() - 1),
                     mass.data() + mass.size(), std::greater<>());
    double all = mass.cast<double>().sum();
    if (!(all > 0))
      continue;
    sum += mass.head(kept).cast<double>().sum() / all;
    ++rows;
  }
  return rows ? sum / double(rows) : 1;
}

std::vector<int64_t> balancedClusters(const Matrix &points, int64_t size) {
  int64_t n = points.rows(), clusters = n / size;
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(0);
  for (int64_t i = 0; i < clusters; ++i)
    std::swap(order[i], order[i + int64_t(random() % uint64_t(n - i))]);
  Matrix centers(clusters, points.cols());
  for (int64_t c = 0; c < clusters; ++c)
    centers.row(c) = points.row(order[c]);
  Vector lengths = points.rowwise().squaredNorm();
  std::vector<int64_t> cluster(n), pairs(n * clusters);
  for (int step = 0; step < kClusterSteps; ++step) {
    // Nearest pairs first, until a cluster is full.
    Matrix distance = -2 * points * centers.transpose();
    distance.colwise() += lengths;
    distance.rowwise() += centers.rowwise().squaredNorm().transpose();
    std::iota(pairs.begin(), pairs.end(), 0);
    std::sort(pairs.begin(), pairs.end(), [&](int64_t a, int64_t b) {
      float da = distance.data()[a], db = distance.data()[b];
      return da < db || (da == db && a < b);
    });
    std::vector<int64_t> next(n, -1), room(clusters, size);
    for (int64_t pair : pairs) {
      int64_t i = pair / clusters, c = pair % clusters;
      if (next[i] >= 0 || room[c] == 0)
        continue;
      next[i] = c;
      --room[c];
    }
    bool same = step > 0 && next == cluster;
    cluster = next;
    if (same)
      break;
    centers.setZero();
    for (int64_t i = 0; i < n; ++i)
      centers.row(cluster[i]) += points.row(i) / float(size);
  }
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return cluster[a] < cluster[b]; });
  return order;
}

/// Rows w of w1 as vectors whose inner products are those of the neurons' inputs w x over the data,
/// and of length 1: neurons with near vectors are large for the same x.
static Matrix directionsOf(const Matrix &w1, const Matrix &moments) {
  Matrix damped = moments;
  damped.diagonal().array() += 1e-4f * std::max(moments.trace(), 1e-20f) / float(moments.rows());
  Eigen::LLT<Matrix> factor(damped);
  Matrix directions = w1 * Matrix(factor.matrixL());
  Vector norms = directions.rowwise().norm().cwiseMax(1e-20f);
  return norms.cwiseInverse().asDiagonal() * directions;
}

Mixture groupNeurons(const FeedForward &network, const Matrix &x, const Matrix &h, int64_t size,
                     const Product &product) {
  int64_t hidden = h.cols();
  Mixture mixture;
  mixture.size = size;
  std::vector<int64_t> active(hidden);
  for (int64_t j = 0; j < hidden; ++j)
    active[j] = (h.col(j).array() != 0).count();
  std::vector<int64_t> byActivity(hidden);
  std::iota(byActivity.begin(), byActivity.end(), 0);
  std::stable_sort(byActivity.begin(), byActivity.end(),
                   [&](int64_t a, int64_t b) { return active[a] > active[b]; });
  int64_t always = std::count_if(active.begin(), active.end(), [&](int64_t count) {
    return double(count) >= kAlwaysActive * double(h.rows());
  });
  // Where all neurons are always active, that says nothing.
  mixture.shared = always < hidden / 2 ? always / size : 0;
  std::vector<int64_t> rest(byActivity.begin() + mixture.shared * size, byActivity.end());
  std::sort(rest.begin(), rest.end());
  mixture.order.assign(byActivity.begin(), byActivity.begin() + mixture.shared * size);
  Matrix weights(int64_t(rest.size()), network.w1.cols());
  for (size_t i = 0; i < rest.size(); ++i)
    weights.row(int64_t(i)) = network.w1.row(rest[i]);
  Matrix moments = product(x, x) / float(x.rows());
  for (int64_t i : balancedClusters(directionsOf(weights, moments), size))
    mixture.order.push_back(rest[i]);
  return mixture;
}

static Matrix columnsInOrder(const Matrix &m, const std::vector<int64_t> &order) {
  Matrix result(m.rows(), m.cols());
  for (int64_t i = 0; i < m.rows(); ++i)
    for (size_t j = 0; j < order.size(); ++j)
      result(i, int64_t(j)) = m(i, order[j]);
  return result;
}

/// Ridge regression of the experts' shares in the output, |h_j w2_j| over an expert's neurons, on
/// [x, 1].
static void fitRouter(Mixture &mixture, const Matrix &x, const Matrix &h, const Product &product) {
  int64_t experts = h.cols() / mixture.size;
  Eigen::RowVectorXf norms = mixture.w2.colwise().norm();
  Matrix mass(h.rows(), experts);
  for (int64_t i = 0; i < h.rows(); ++i)
    for (int64_t e = 0; e < experts; ++e)
      mass(i, e) = h.row(i)
                       .segment(e * mixture.size, mixture.size)
                       .cwiseProduct(norms.segment(e * mixture.size, mixture.size))
                       .norm();
  double rows = double(x.rows());
  VectorD meanX = x.cast<double>().colwise().mean(), meanY = mass.cast<double>().colwise().mean();
  MatrixD xx = product(x, x).cast<double>() / rows - meanX * meanX.transpose();
  MatrixD xy = product(x, mass).cast<double>() / rows - meanX * meanY.transpose();
  xx.diagonal().array() += kRouterRidge * xx.trace() / double(xx.rows()) + 1e-20;
  MatrixD solution = xx.llt().solve(xy); // [in, experts]
  mixture.router = solution.transpose().cast<float>();
  mixture.routerBias = (meanY - solution.transpose() * meanX).cast<float>();
}

/// Least squares for w2 and bias2 under which the experts that are left, `kept`, give the outputs
/// `y`. The penalty draws them to what they were.
static void repair(Mixture &mixture, const Matrix &kept, const Matrix &y, const Product &product) {
  double rows = double(kept.rows());
  VectorD meanH = kept.cast<double>().colwise().mean(), meanY = y.cast<double>().colwise().mean();
  MatrixD hh = product(kept, kept).cast<double>() / rows - meanH * meanH.transpose();
  MatrixD hy = product(kept, y).cast<double>() / rows - meanH * meanY.transpose();
  double penalty = kRepairRidge * hh.trace() / double(hh.rows()) + 1e-20;
  hh.diagonal().array() += penalty;
  hy += penalty * mixture.w2.transpose().cast<double>();
  MatrixD solution = hh.llt().solve(hy); // [hidden, out]
  mixture.w2 = solution.transpose().cast<float>();
  mixture.bias2 = (meanY - solution.transpose() * meanH).cast<float>();
}

void route(Mixture &mixture, const FeedForward &network, const Matrix &x, const Matrix &h,
           double share, const Product &product) {
  int64_t experts = h.cols() / mixture.size, in = x.cols();
  mixture.w2 = columnsInOrder(network.w2, mixture.order);
  mixture.bias2 = network.bias2;
  if (share >= 1) {
    mixture.shared = experts;
    mixture.router = Matrix::Zero(experts, in);
    mixture.routerBias = Vector::Ones(experts);
    return;
  }
  Matrix ordered = columnsInOrder(h, mixture.order);
  fitRouter(mixture, x, ordered, product);
  // One threshold for all experts: an expert matters as much as it adds to the output.
  Matrix scores = product(x.transpose(), mixture.router.transpose());
  scores.rowwise() += mixture.routerBias.transpose();
  std::vector<float> routed;
  for (int64_t i = 0; i < scores.rows(); ++i)
    routed.insert(routed.end(), scores.row(i).data() + mixture.shared,
                  scores.row(i).data() + experts);
  int64_t shared = mixture.shared;
  double left = share * double(experts) - double(shared);
  double keep = std::clamp(left / double(std::max<int64_t>(1, experts - shared)), 0.0, 1.0);
  float threshold = 0;
  if (!routed.empty()) {
    auto at = routed.begin() + std::min(int64_t(routed.size()) - 1,
                                        int64_t((1 - keep) * double(routed.size())));
    std::nth_element(routed.begin(), at, routed.end());
    threshold = *at;
  }
  mixture.routerBias.array() -= threshold;
  mixture.router.topRows(shared).setZero();
  mixture.routerBias.head(shared).setOnes();
  Matrix y = product(h.transpose(), network.w2.transpose());
  y.rowwise() += network.bias2.transpose();
  for (int64_t i = 0; i < scores.rows(); ++i)
    for (int64_t e = shared; e < experts; ++e)
      if (!(scores(i, e) - threshold > 0))
        ordered.row(i).segment(e * mixture.size, mixture.size).setZero();
  repair(mixture, ordered, y, product);
}

} // namespace nnopt::compress
