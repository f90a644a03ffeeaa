//===- ChannelViews.h - operations that let channel maps through -*- C++ -*-===//
//
// Reshapes, transposes, concatenations, splits, slices, pooling, padding and resizing commute with
// an affine map of each channel, under conditions. For such an operation V and a map M of its
// result, mapBefore gives the maps M' of its operands with M(V(x)) = V(M'(x)), and mapAfter, for a
// map M of one operand, those of its results with V(M(x)) = M'(V(x)).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_CHANNELVIEWS_H
#define NNOPT_PASSES_COMMON_CHANNELVIEWS_H

#include "passes/common/ChannelMap.h"

namespace nnopt {

/// Why a map does not pass is in `why` where `passes` is false.
struct ViewMaps {
  bool passes = false;
  std::string why;
  llvm::SmallVector<std::pair<mlir::OpOperand *, ChannelMap>> operands;
  llvm::SmallVector<std::pair<mlir::Value, ChannelMap>> results;
  /// What a constant padding must hold instead.
  std::optional<double> padValue;
};

ViewMaps mapBefore(mlir::OpResult result, const ChannelMap &map, FuncShapes &shapes);
ViewMaps mapAfter(mlir::OpOperand &operand, const ChannelMap &map, FuncShapes &shapes);

} // namespace nnopt

#endif
