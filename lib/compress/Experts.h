//===- Experts.h - a feed-forward network as a mixture ----------*- C++ -*-===//
//
// Neurons of a hidden layer that are large for the same inputs become an expert; a linear router
// says from the input which experts matter (Zhang et al. 2021, MoEfication). All of it is solved in
// closed form from rows of calibration data.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_EXPERTS_H
#define NNOPT_LIB_COMPRESS_EXPERTS_H

#include "lib/compress/Matrix.h"
#include <cstdint>
#include <functional>
#include <vector>

namespace nnopt::compress {

/// y = w2 h + bias2 with h = activation(w1 x + bias1), times (w3 x + bias3) where there is a w3.
struct FeedForward {
  Matrix w1, w3; // [hidden, in]
  Vector bias1, bias3;
  Matrix w2; // [out, hidden]
  Vector bias2;
  std::function<float(float)> activation;
};

/// x' y.
using Product = std::function<Matrix(const Matrix &x, const Matrix &y)>;

/// h for rows of x, [rows, hidden].
Matrix hiddenLayer(const FeedForward &network, const Matrix &x, const Product &product);

/// The share of sum_j |h_j| |w2_j| that the largest terms, `share` of them, make up: the mean over
/// rows. What is left is lost even if one knew which neurons matter.
double activationKept(const Matrix &h, const Matrix &w2, double share);

/// Divides the rows of `points` into clusters of `size` each by k-means under that condition.
/// Returns the rows, cluster by cluster.
std::vector<int64_t> balancedClusters(const Matrix &points, int64_t size);

/// A mixture that stands in for a network: neuron `order[e * size + j]` of it is neuron j of expert
/// e, which a row x computes where router[e] x + routerBias[e] > 0.
struct Mixture {
  std::vector<int64_t> order;
  int64_t size = 0;
  Matrix router; // [experts, in]
  Vector routerBias;
  Matrix w2; // [out, hidden], columns in the order of the experts
  Vector bias2;
  /// Experts that all rows compute.
  int64_t shared = 0;
};

/// Neurons in groups of `size`: first those that hardly any row leaves at zero, as shared experts;
/// the others by what they respond to. `h` belongs to `x`.
Mixture groupNeurons(const FeedForward &network, const Matrix &x, const Matrix &h, int64_t size,
                     const Product &product);

/// Sets the router of a mixture such that rows like `x` compute `share` of the neurons on average,
/// and solves w2 and bias2 anew for what is left of the hidden layer then. With a share of 1
/// nothing changes but the order.
void route(Mixture &mixture, const FeedForward &network, const Matrix &x, const Matrix &h,
           double share, const Product &product);

} // namespace nnopt::compress

#endif
