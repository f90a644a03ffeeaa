//===- Quantize.h - linear operations with 8-bit operands -------*- C++ -*-===//
#ifndef NNOPT_PASSES_QUANTIZE_H
#define NNOPT_PASSES_QUANTIZE_H

#include "passes/common/Rewrite.h"

namespace nnopt::quantize {

/// ui8 values stand for scale * (q - zeroPoint).
struct ActivationParameters {
  float scale;
  int zeroPoint;
};

/// The parameters that cover [lo, hi] and zero, which stays exact (padding, relu).
ActivationParameters parametersOf(double lo, double hi);

/// Why a linear operation cannot get 8-bit operands; empty when it can.
std::string whyNot(nn::LinearOp op);

/// A copy of `op`, beside it, with quantized and dequantized operands. `op` stays as it is.
nn::LinearOp withQuantizedOperands(mlir::RewriterBase &rewriter, nn::LinearOp op, ActivationParameters parameters);

/// Moves quantizations of activations ahead of the movement and max pooling they come from.
void quantizeAheadOfMovement(mlir::func::FuncOp func, mlir::RewriterBase &rewriter);

} // namespace nnopt::quantize

#endif
