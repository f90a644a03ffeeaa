//===- LayerShares.cpp - how many zeros each layer gets ---------------------===//

#include "lib/compress/LayerShares.h"
#include <algorithm>
#include <cmath>

namespace nnopt::compress {

LayerImportance importanceOf(const Matrix &weights, const Gram &gram) {
  Vector means = weights * gram.mean;
  double variance = (weights * gram.h).cwiseProduct(weights).cast<double>().sum() -
                    means.cast<double>().squaredNorm();
  variance = std::max(variance / double(weights.rows()), 1e-30);
  Matrix scores = weights.cwiseAbs2() * gram.h.diagonal().asDiagonal() / float(variance);
  return LayerImportance(scores.data(), scores.data() + scores.size());
}

/// Whole numbers near to `wanted`, not above `limits`, with exactly the sum `total`.
static std::vector<int64_t> roundTo(std::vector<double> wanted, const std::vector<int64_t> &limits,
                                    int64_t total) {
  std::vector<int64_t> result;
  std::vector<std::pair<double, size_t>> rests;
  int64_t sum = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    result.push_back(std::clamp<int64_t>(int64_t(std::floor(wanted[i])), 0, limits[i]));
    rests.push_back({wanted[i] - double(result[i]), i});
    sum += result[i];
  }
  std::stable_sort(rests.begin(), rests.end(), [](auto &a, auto &b) { return a.first > b.first; });
  for (size_t at = 0; sum < total; at = (at + 1) % rests.size())
    if (size_t i = rests[at].second; result[i] < limits[i]) {
      ++result[i];
      ++sum;
    }
  for (size_t at = rests.size() - 1; sum > total; at = at ? at - 1 : rests.size() - 1)
    if (size_t i = rests[at].second; result[i] > 0) {
      --result[i];
      --sum;
    }
  return result;
}

std::vector<std::pair<std::string, std::vector<int64_t>>>
sharePlans(const std::vector<LayerImportance> &layers, double share) {
  std::vector<int64_t> sizes;
  std::vector<float> all;
  for (const LayerImportance &layer : layers) {
    sizes.push_back(int64_t(layer.size()));
    all.insert(all.end(), layer.begin(), layer.end());
  }
  if (all.empty())
    return {};
  int64_t total = std::llround(share * double(all.size()));
  std::vector<double> uniform, global, between;
  std::vector<float> ordered = all;
  std::nth_element(ordered.begin(),
                   ordered.begin() + std::min<int64_t>(total, int64_t(all.size()) - 1),
                   ordered.end());
  float threshold = ordered[std::min<int64_t>(total, int64_t(all.size()) - 1)];
  // A layer without any weight passes nothing on.
  double most = std::max(0.97, share);
  for (size_t i = 0; i < layers.size(); ++i) {
    double below = double(
        std::count_if(layers[i].begin(), layers[i].end(), [&](float v) { return v < threshold; }));
    uniform.push_back(share * double(sizes[i]));
    global.push_back(std::min(below, most * double(sizes[i])));
    between.push_back((uniform[i] + global[i]) / 2);
  }
  std::vector<int64_t> limits;
  for (int64_t size : sizes)
    limits.push_back(std::min<int64_t>(size, int64_t(std::ceil(most * double(size)))));
  return {{"uniform", roundTo(uniform, limits, total)},
          {"global", roundTo(global, limits, total)},
          {"between", roundTo(between, limits, total)}};
}

} // namespace nnopt::compress
