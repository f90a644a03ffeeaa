//===- Quantizations.h - nn.quantize ahead of integer kernels ---*- C++ -*-===//
#ifndef NNOPT_PASSES_RAISEQUANTIZED_QUANTIZATIONS_H
#define NNOPT_PASSES_RAISEQUANTIZED_QUANTIZATIONS_H

#include "passes/common/Rewrite.h"
#include <cmath>

namespace nnopt {

/// A constant, through operations that only change its shape; else null.
mlir::Value shapedConstant(mlir::Value v);

/// The scale of a quantization in 32-bit floats by one constant scale.
std::optional<double> quantizationScale(nn::QuantizeOp quantize);

/// Bounds of values.
struct Interval {
  double lo = -INFINITY, hi = INFINITY;
};

/// The bounds that relu or a clip by constants puts; nothing for other operations, and for null.
std::optional<Interval> clampOf(mlir::Operation *op);

/// Takes relu and clips away that a quantization, which clamps, repeats: round(clip(x) / s) is round(x / s), clamped by the
/// integers that the bounds become.
void dropRepeatedClamps(nn::QuantizeOp quantize, mlir::RewriterBase &rewriter);

/// Writes a quantization for an operation on integers as a product with 1 / scale, as the requantization of a result is.
void multiplyByInverse(nn::QuantizeOp quantize, mlir::RewriterBase &rewriter);

} // namespace nnopt

#endif
