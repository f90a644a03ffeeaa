//===- Elimination.cpp - which channels a model can miss --------------------===//

#include "lib/compress/prune/Elimination.h"
#include "llvm/ADT/STLExtras.h"
#include <numeric>

namespace nnopt::compress {

//===----------------------------------------------------------------------===//
// Reconstruction: the loss that is left when the other units take over
//===----------------------------------------------------------------------===//

namespace {

/// The layer while columns go: P = (H + damping)^-1 over the columns that are left, V the weights
/// that make up for those that are gone. Without columns S the squared error of the outputs grows
/// by tr(V_S P_SS^-1 V_S'); the optimal brain surgeon (Hassibi and Stork 1993, equations 3 to 5)
/// for blocks, as in the column removal of Kurtic et al. 2023, "ZipLM".
class LayerWithout {
public:
  explicit LayerWithout(const Consumer &c) : columns(c.columns), bias(c.weights.bias) {
    int64_t n = c.weights.weights.cols();
    // The mean as one more column: the bias is free to change.
    Eigen::MatrixXd h(n + 1, n + 1);
    h.topLeftCorner(n, n) = c.gram->h.cast<double>();
    h.topRightCorner(n, 1) = c.gram->mean.cast<double>();
    h.bottomLeftCorner(1, n) = c.gram->mean.transpose().cast<double>();
    h(n, n) = 1;
    v = Eigen::MatrixXd::Zero(c.weights.weights.rows(), n + 1);
    v.leftCols(n) = c.weights.weights.cast<double>();
    Eigen::MatrixXd covariance =
        h.topLeftCorner(n, n) - h.topRightCorner(n, 1) * h.bottomLeftCorner(1, n);
    variance = std::max((v.leftCols(n) * covariance).cwiseProduct(v.leftCols(n)).sum(), 1e-30);
    double mean = h.diagonal().head(n).mean();
    h.diagonal().head(n).array() += dampingFor(*c.gram) * mean + 1e-12;
    p = h.llt().solve(Eigen::MatrixXd::Identity(n + 1, n + 1));
  }

  /// How much the relative error grows without a unit.
  double lossOf(int64_t unit) const {
    const std::vector<int64_t> &s = columns[unit];
    Eigen::MatrixXd vs = v(Eigen::all, s), ps = p(s, s);
    return (vs * ps.llt().solve(vs.transpose())).trace() / variance;
  }

  void remove(int64_t unit) {
    const std::vector<int64_t> &s = columns[unit];
    Eigen::MatrixXd rows = p(s, Eigen::all), inverse = Eigen::MatrixXd(p(s, s)).llt().solve(rows);
    v.noalias() -= Eigen::MatrixXd(v(Eigen::all, s)) * inverse;
    p.noalias() -= rows.transpose() * inverse;
    // What is gone has no part in anything any more.
    for (int64_t i : s) {
      v.col(i).setZero();
      p.row(i).setZero();
      p.col(i).setZero();
    }
  }

  LayerWeights weights() const {
    int64_t n = v.cols() - 1;
    return {v.leftCols(n).cast<float>(), bias + v.col(n).cast<float>()};
  }

private:
  const std::vector<std::vector<int64_t>> &columns;
  Vector bias;
  Eigen::MatrixXd p, v; // by columns, which go
  double variance;
};

} // namespace

static Elimination byReconstruction(const UnitGroup &group) {
  std::vector<LayerWithout> layers(group.consumers.begin(), group.consumers.end());
  std::vector<int64_t> left(group.units);
  std::iota(left.begin(), left.end(), 0);
  Elimination result;
  double total = 0;
  for (int64_t unit : group.gone) {
    for (LayerWithout &layer : layers)
      layer.remove(unit);
    result.order.push_back(unit);
    result.loss.push_back(0);
    left.erase(llvm::find(left, unit));
  }
  while (left.size() > 1) {
    size_t best = 0;
    double least = INFINITY;
    for (auto [i, unit] : llvm::enumerate(left)) {
      double loss = 0;
      for (const LayerWithout &layer : layers)
        loss += layer.lossOf(unit);
      if (loss < least)
        least = loss, best = i;
    }
    for (LayerWithout &layer : layers)
      layer.remove(left[best]);
    result.order.push_back(left[best]);
    result.loss.push_back(total += std::max(least, 0.0));
    left.erase(left.begin() + best);
  }
  return result;
}

/// What the weights that make the other units cannot make up for in those that make a unit, times the weights that read it: merging a
/// filter into the next layer without data (Bai et al. 2023, "Unified Data-Free Compression", section 3.2). That is reconstruction
/// with the moments that units have when what makes them reads white noise.
static Elimination byMerging(const UnitGroup &group) {
  Matrix moments = group.producers.cols() ? Matrix(group.producers * group.producers.transpose())
                                          : Matrix(Matrix::Identity(group.units, group.units));
  std::vector<Gram> grams(group.consumers.size());
  UnitGroup white = group;
  for (auto [c, gram] : llvm::zip_equal(white.consumers, grams)) {
    int64_t columns = c.weights.weights.cols();
    gram.h = Matrix::Zero(columns, columns);
    gram.mean = Vector::Zero(columns);
    gram.rows = 1000 * columns; // many: nothing is uncertain
    for (int64_t u = 0; u < group.units; ++u)
      for (int64_t v = 0; v < group.units; ++v)
        for (auto [a, b] : llvm::zip(c.columns[u], c.columns[v]))
          gram.h(a, b) = moments(u, v);
    c.gram = &gram;
  }
  return byReconstruction(white);
}

//===----------------------------------------------------------------------===//
// Scores of single units
//===----------------------------------------------------------------------===//

static Elimination byScores(std::vector<double> scores, const UnitGroup &group) {
  // Whatever is gone comes before all others.
  for (auto [i, unit] : llvm::enumerate(group.gone))
    scores[unit] = double(i) * 1e-300;
  Elimination result;
  result.order.resize(scores.size());
  std::iota(result.order.begin(), result.order.end(), 0);
  llvm::stable_sort(result.order, [&](int64_t a, int64_t b) { return scores[a] < scores[b]; });
  double sum = std::accumulate(scores.begin(), scores.end(), 0.0), total = 0;
  for (int64_t unit : result.order)
    result.loss.push_back((total += scores[unit]) / std::max(sum, 1e-30));
  result.order.pop_back();
  result.loss.pop_back();
  return result;
}

/// The sum of `score(consumer, column)` over the columns of each unit.
template <typename Score> static Elimination byColumns(const UnitGroup &group, Score score) {
  std::vector<double> scores(group.units, 0.0);
  for (const Consumer &c : group.consumers)
    for (int64_t u = 0; u < group.units; ++u)
      for (int64_t column : c.columns[u])
        scores[u] += score(c, column);
  return byScores(std::move(scores), group);
}

/// Norms of all weights that belong to a unit: those that make it and those that read it.
static Elimination byNorm(const UnitGroup &group, int p) {
  auto norm = [p](const auto &v) {
    return p == 1 ? double(v.template lpNorm<1>()) : double(v.squaredNorm());
  };
  std::vector<double> scores(group.units, 0.0);
  for (int64_t u = 0; u < group.units; ++u) {
    if (group.producers.cols())
      scores[u] += norm(group.producers.row(u));
    for (const Consumer &c : group.consumers)
      for (int64_t column : c.columns[u])
        scores[u] += norm(c.weights.weights.col(column));
  }
  return byScores(std::move(scores), group);
}

/// The distance of a unit's weights to those of all others: what is near the geometric median
/// others can stand for (He et al. 2019, "Filter Pruning via Geometric Median", equation 8).
static Elimination byGeometricMedian(const UnitGroup &group) {
  Matrix rows = group.producers;
  if (!rows.cols()) { // the weights that read it
    const Consumer &c = group.consumers.front();
    rows.resize(group.units, c.columns[0].size() * c.weights.weights.rows());
    for (int64_t u = 0; u < group.units; ++u) {
      Matrix columns = c.weights.weights(Eigen::all, c.columns[u]);
      rows.row(u) = Eigen::Map<const Eigen::RowVectorXf>(columns.data(), columns.size());
    }
  }
  std::vector<double> scores(group.units, 0.0);
  for (int64_t u = 0; u < group.units; ++u)
    scores[u] = (rows.rowwise() - rows.row(u)).rowwise().norm().sum();
  return byScores(std::move(scores), group);
}

llvm::ArrayRef<Criterion> criteria() {
  static const Criterion all[] = {
      {"reconstruction", "outputs of the layers behind that the units that stay cannot give",
       byReconstruction},
      {"fluctuation",
       "variance of what is read, times squared weights that read it (An et al. 2023, FLAP)",
       [](const UnitGroup &g) {
         return byColumns(g, [](const Consumer &c, int64_t i) {
           double variance = std::max(
               double(c.gram->h(i, i)) - double(c.gram->mean[i]) * double(c.gram->mean[i]), 0.0);
           return variance * double(c.weights.weights.col(i).squaredNorm());
         });
       }},
      {"wanda", "size of what is read, times absolute weights that read it (Sun et al. 2023)",
       [](const UnitGroup &g) {
         return byColumns(g, [](const Consumer &c, int64_t i) {
           return std::sqrt(std::max(double(c.gram->h(i, i)), 0.0)) *
                  double(c.weights.weights.col(i).lpNorm<1>());
         });
       }},
      {"l1", "absolute weights that make and read a unit (Li et al. 2016)",
       [](const UnitGroup &g) { return byNorm(g, 1); }},
      {"l2", "squared weights that make and read a unit",
       [](const UnitGroup &g) { return byNorm(g, 2); }},
      {"geometric-median", "distance to the weights of the other units (He et al. 2019)",
       byGeometricMedian},
      {"bn-gamma", "scales of the batch normalizations that end in a unit (Liu et al. 2017, network slimming)",
       [](const UnitGroup &g) {
         std::vector<double> scores(g.units, 1.0);
         for (int64_t u = 0; u < g.scales.size(); ++u)
           scores[u] = std::max(double(g.scales[u]), 1e-30); // more than units that are gone
         return byScores(std::move(scores), g);
       },
       /*needsScales=*/true},
      {"merge", "weights that make a unit and are no combination of those of the others (Bai et al. 2023, UDFC)", byMerging},
  };
  return all;
}

const Criterion *findCriterion(llvm::StringRef name) {
  for (const Criterion &c : criteria())
    if (name == c.name)
      return &c;
  return nullptr;
}

std::vector<std::vector<LayerWeights>> weightsWithout(const UnitGroup &group,
                                                      llvm::ArrayRef<int64_t> order,
                                                      llvm::ArrayRef<int64_t> counts) {
  std::vector<LayerWithout> layers(group.consumers.begin(), group.consumers.end());
  std::vector<std::vector<LayerWeights>> result;
  int64_t gone = 0;
  for (int64_t count : counts) {
    for (; gone < count; ++gone)
      for (LayerWithout &layer : layers)
        layer.remove(order[gone]);
    result.emplace_back();
    for (const LayerWithout &layer : layers)
      result.back().push_back(layer.weights());
  }
  return result;
}

} // namespace nnopt::compress
