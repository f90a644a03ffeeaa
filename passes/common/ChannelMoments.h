//===- ChannelMoments.h - what is known of a value's channels ---*- C++ -*-===//
//
// A batch normalization tells the mean (its bias) and the deviation (its scale) of each channel of
// its result over the data that the model was trained with. The attribute keeps them when the
// normalization is gone, on what computes the same value.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_CHANNELMOMENTS_H
#define NNOPT_PASSES_COMMON_CHANNELMOMENTS_H

#include "passes/common/Rewrite.h"

namespace nnopt {

struct ChannelMoments {
  std::vector<double> mean, deviation;
};

std::optional<ChannelMoments> momentsOf(mlir::Operation *op);
void setMoments(mlir::Operation *op, const ChannelMoments &moments);
void removeMoments(mlir::Operation *op);
/// To be called when the channels of op's result are multiplied.
void scaleMoments(mlir::Operation *op, llvm::ArrayRef<double> scales);

} // namespace nnopt

#endif
