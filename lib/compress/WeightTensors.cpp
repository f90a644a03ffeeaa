//===- WeightTensors.cpp - weights as the tensors of an option --------------===//

#include "lib/compress/WeightTensors.h"

namespace nnopt::compress {

void setWeights(Option &option, const LayerWeights &weights) {
  option.tensors["weights"] = arrayOf(weights.weights);
  option.tensors["bias"] = arrayOf(weights.bias);
}

std::optional<LayerWeights> weightsOf(const Option &option) {
  std::optional<Matrix> weights = matrixOf(option.tensors, "weights"),
                        bias = matrixOf(option.tensors, "bias");
  if (!weights || !bias || bias->cols() != 1)
    return std::nullopt;
  return LayerWeights{std::move(*weights), bias->col(0)};
}

std::string checkWeights(const Option &option, const LinearLayer &layer) {
  std::optional<LayerWeights> w = weightsOf(option);
  std::string shape =
      "[" + std::to_string(layer.outChannels()) + ", " + std::to_string(layer.columns()) + "]";
  if (!w)
    return "it needs arrays 'weights' " + shape + " and 'bias' of 32-bit floats";
  if (w->weights.rows() != layer.outChannels() || w->weights.cols() != layer.columns() ||
      w->bias.size() != layer.outChannels())
    return "its weights have another shape than " + shape + ", or its bias";
  if (!w->weights.allFinite() || !w->bias.allFinite())
    return "a weight is infinite or NaN";
  return "";
}

} // namespace nnopt::compress
