//===- Factorize.cpp - weights as products of smaller ones ------------------===//

#include "passes/factorize-low-rank/Factorize.h"

using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace nnopt::lowrank {

int64_t parametersOf(Structure structure, const std::vector<int64_t> &ranks, int64_t out,
                     const ColumnShape &s) {
  switch (structure) {
  case Structure::Matrix:
    return ranks[0] * (s.in * s.kernel() + out);
  case Structure::Spatial:
    return ranks[0] * (s.in * s.height + out * s.width);
  case Structure::Tucker:
    return (ranks[0] < s.in ? ranks[0] * s.in : 0) + ranks[0] * ranks[1] * s.kernel() +
           (ranks[1] < out ? ranks[1] * out : 0);
  }
  return 0;
}

int64_t Factors::parameters() const {
  int64_t count = 0;
  for (const Matrix &m : stages)
    count += m.size();
  return count;
}

/// [rows, channels * kernel] with the channels replaced by what `first` [channels, in] makes them
/// of: [rows, in * kernel].
static MatrixXd ofChannels(const MatrixXd &m, const MatrixXd &first, int64_t kernel) {
  MatrixXd result(m.rows(), first.cols() * kernel);
  for (int64_t k = 0; k < kernel; ++k) {
    MatrixXd element = m(Eigen::all, Eigen::seqN(k, first.rows(), kernel));
    result(Eigen::all, Eigen::seqN(k, first.cols(), kernel)) = element * first;
  }
  return result;
}

/// The channels of the columns of m [rows, in * kernel] through `first` [channels, in]: [rows,
/// channels * kernel].
static MatrixXd toChannels(const MatrixXd &m, const MatrixXd &first, int64_t kernel) {
  return ofChannels(m, first.transpose(), kernel);
}

/// The first stage v [rank, in * height] of a spatial pair, moved along the width as the second one
/// sees it: [rank * width, in * height * width].
static MatrixXd alongWidth(const MatrixXd &v, const ColumnShape &s) {
  MatrixXd result = MatrixXd::Zero(v.rows() * s.width, s.in * s.kernel());
  for (int64_t r = 0; r < v.rows(); ++r)
    for (int64_t b = 0; b < s.width; ++b)
      result.row(r * s.width + b)(Eigen::seqN(b, s.in * s.height, s.width)) = v.row(r);
  return result;
}

Matrix Factors::product(const ColumnShape &shape) const {
  std::vector<MatrixXd> m;
  for (const Matrix &stage : stages)
    m.push_back(stage.cast<double>());
  switch (structure) {
  case Structure::Matrix:
    return (m[1] * m[0]).cast<float>();
  case Structure::Spatial:
    return (m[1] * alongWidth(m[0], shape)).cast<float>();
  case Structure::Tucker: {
    bool narrows = ranks[0] < shape.in;
    MatrixXd result = narrows ? ofChannels(m[1], m[0], shape.kernel()) : m[0];
    size_t last = narrows ? 2 : 1;
    return (m.size() > last ? MatrixXd(m[last] * result) : result).cast<float>();
  }
  }
  return {};
}

MatrixXd damped(const MatrixXd &h, double share) {
  MatrixXd result = h;
  double mean = h.rows() ? h.trace() / double(h.rows()) : 0;
  // Values that are all zero: any weights do as well.
  result.diagonal().array() += mean > 0 ? share * mean : 1;
  return result;
}

/// Eigenvectors of a symmetric matrix in descending order of eigenvalues, which are made
/// non-negative.
static MatrixXd eigenvectors(const MatrixXd &m, VectorXd &values) {
  Eigen::SelfAdjointEigenSolver<MatrixXd> solver((m + m.transpose()) / 2);
  values = solver.eigenvalues().reverse().cwiseMax(0);
  return solver.eigenvectors().rowwise().reverse();
}

RankBasis::RankBasis(const MatrixXd &w, const MatrixXd &h) {
  // Of two ways to the same decomposition the one with the smaller eigenvalue problem.
  if (w.rows() <= w.cols()) {
    second = eigenvectors(w * h * w.transpose(), energy);
    first = second.transpose() * w;
  } else {
    Eigen::LLT<MatrixXd> cholesky(h);
    MatrixXd l = cholesky.matrixL(), wl = w * l;
    MatrixXd v = eigenvectors(wl.transpose() * wl, energy);
    second = wl * v;
    first = cholesky.matrixU().solve(v).transpose(); // (L'^-1 v)' = v' L^-1
  }
}

double RankBasis::lost(int64_t rank) const {
  double all = energy.sum();
  return all > 0 && rank < energy.size() ? energy.tail(energy.size() - rank).sum() / all : 0;
}

Factors RankBasis::factors(int64_t rank) const {
  // Both stages of the same size, so that no values between them are large or small.
  VectorXd scale(rank);
  for (int64_t r = 0; r < rank; ++r) {
    double a = second.col(r).norm(), b = first.row(r).norm();
    scale[r] = a > 0 && b > 0 ? std::sqrt(a / b) : 1;
  }
  Matrix a = (scale.asDiagonal() * first.topRows(rank)).cast<float>();
  Matrix b = (second.leftCols(rank) * scale.cwiseInverse().asDiagonal()).cast<float>();
  return {Structure::Matrix, {rank}, {a, b}};
}

/// The first stage of width `rank` for inputs with moments h, where t [in, anything] holds what
/// they are multiplied by.
static MatrixXd firstStage(const MatrixXd &t, const MatrixXd &h, int64_t rank) {
  Eigen::LLT<MatrixXd> cholesky(h);
  MatrixXd lt = cholesky.matrixU() * t;
  VectorXd energy;
  MatrixXd u = eigenvectors(lt * lt.transpose(), energy).leftCols(rank);
  return cholesky.matrixU().solve(u).transpose();
}

/// min_u E |(w - u p) x|^2, given p.
static MatrixXd behind(const MatrixXd &w, const MatrixXd &h, const MatrixXd &p) {
  MatrixXd hp = h * p.transpose(), g = p * hp;
  return damped(g, 1e-10).llt().solve(hp.transpose() * w.transpose()).transpose();
}

Factors factorizeBehind(const MatrixXd &w, const MatrixXd &h, const Matrix &first) {
  return {
      Structure::Matrix, {first.rows()}, {first, behind(w, h, first.cast<double>()).cast<float>()}};
}

Factors factorizeSpatial(const MatrixXd &w, const MatrixXd &h, const ColumnShape &s, int64_t rank) {
  int64_t rows = s.in * s.height;
  MatrixXd moments = MatrixXd::Zero(rows, rows), t(rows, w.rows() * s.width);
  for (int64_t b = 0; b < s.width; ++b) {
    auto column = Eigen::seqN(b, rows, s.width);
    moments += h(column, column);
    t.middleCols(b * w.rows(), w.rows()) = w(Eigen::all, column).transpose();
  }
  MatrixXd v = firstStage(t, moments / double(s.width), rank);
  MatrixXd u = behind(w, h, alongWidth(v, s));
  return {Structure::Spatial, {rank}, {v.cast<float>(), u.cast<float>()}};
}

Factors factorizeTucker(const MatrixXd &w, const MatrixXd &h, const ColumnShape &s, int64_t in,
                        int64_t out) {
  Factors result{Structure::Tucker, {in, out}, {}};
  MatrixXd core = w, moments = h;
  if (in < s.in) {
    MatrixXd channels = MatrixXd::Zero(s.in, s.in), t(s.in, w.rows() * s.kernel());
    for (int64_t k = 0; k < s.kernel(); ++k) {
      auto element = Eigen::seqN(k, s.in, s.kernel());
      channels += h(element, element);
      t.middleCols(k * w.rows(), w.rows()) = w(Eigen::all, element).transpose();
    }
    MatrixXd first = firstStage(t, channels / double(s.kernel()), in);
    result.stages.push_back(first.cast<float>());
    MatrixXd hp =
        toChannels(h, first, s.kernel()); // h P', P the channels of each element of the kernel
    moments = toChannels(hp.transpose(), first, s.kernel()); // P h P'
    core = damped(moments, 1e-10).llt().solve(hp.transpose() * w.transpose()).transpose();
  }
  if (out >= w.rows()) {
    result.stages.push_back(core.cast<float>());
    return result;
  }
  VectorXd energy;
  MatrixXd u = eigenvectors(core * moments * core.transpose(), energy).leftCols(out);
  result.stages.push_back((u.transpose() * core).cast<float>());
  result.stages.push_back(u.cast<float>());
  return result;
}

double relativeError(const MatrixXd &w, const MatrixXd &h, const Matrix &v) {
  MatrixXd d = w - v.cast<double>();
  double energy = (w * h).cwiseProduct(w).sum();
  return energy > 0 ? (d * h).cwiseProduct(d).sum() / energy : 0;
}

} // namespace nnopt::lowrank
