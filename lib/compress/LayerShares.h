//===- LayerShares.h - how many zeros each layer gets -----------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_LAYERSHARES_H
#define NNOPT_LIB_COMPRESS_LAYERSHARES_H

#include "lib/compress/Gram.h"
#include <string>
#include <vector>

namespace nnopt::compress {

/// How much each weight of a layer matters.
using LayerImportance = std::vector<float>;

/// w^2 E[x^2] of each weight, relative to the variance of the layer's outputs: what zeroing it
/// alone costs.
LayerImportance importanceOf(const Matrix &weights, const Gram &gram);

/// Ways to spread zeros over layers, `share` of all weights exactly: the same share in each layer
/// ("uniform"), the least important weights of all ("global"), and half way between. Which is best,
/// only the whole model tells.
std::vector<std::pair<std::string, std::vector<int64_t>>>
sharePlans(const std::vector<LayerImportance> &layers, double share);

} // namespace nnopt::compress

#endif
