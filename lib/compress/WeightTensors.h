//===- WeightTensors.h - weights as the tensors of an option ----*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_WEIGHTTENSORS_H
#define NNOPT_LIB_COMPRESS_WEIGHTTENSORS_H

#include "lib/compress/Technique.h"

namespace nnopt::compress {

/// "weights" [out channels, columns] and "bias" [out channels] of options that change only these.
void setWeights(Option &option, const LayerWeights &weights);
std::optional<LayerWeights> weightsOf(const Option &option);
/// What is wrong with an option's weights for a layer; empty when nothing is.
std::string checkWeights(const Option &option, const LinearLayer &layer);

} // namespace nnopt::compress

#endif
