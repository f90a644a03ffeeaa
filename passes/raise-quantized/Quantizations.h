//===- Quantizations.h - nn.quantize ahead of integer kernels ---*- C++ -*-===//
#ifndef NNOPT_PASSES_RAISEQUANTIZED_QUANTIZATIONS_H
#define NNOPT_PASSES_RAISEQUANTIZED_QUANTIZATIONS_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// A constant, through operations that only change its shape; else null.
mlir::Value shapedConstant(mlir::Value v);

/// The scale of a quantization in 32-bit floats by one constant scale.
std::optional<double> quantizationScale(nn::QuantizeOp quantize);

/// Takes relu and clips away that a quantization, which clamps, repeats: round(clip(x) / s) is round(x / s), clamped by the
/// integers that the bounds become.
void dropRepeatedClamps(nn::QuantizeOp quantize, mlir::RewriterBase &rewriter);

/// Writes a quantization for an operation on integers as a product with 1 / scale, as the requantization of a result is.
void multiplyByInverse(nn::QuantizeOp quantize, mlir::RewriterBase &rewriter);

} // namespace nnopt

#endif
