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

/// A copy of `op`, beside it, with quantized and dequantized operands. `op` stays as it is. `channelScales` (empty: 1): in
/// channels are divided by them before they are quantized, and weights multiplied; `parameters` are of what is divided.
nn::LinearOp withQuantizedOperands(mlir::RewriterBase &rewriter, nn::LinearOp op, ActivationParameters parameters,
                                   llvm::ArrayRef<double> channelScales = {});

/// Weights of 8 bits: in the order in which the operation holds its weights, w ~ scales[out channel] * code.
struct ByteWeights {
  std::vector<char> codes;
  std::vector<double> scales; // 32-bit floats, of each out channel
  std::vector<float> bias;    // of each out channel; empty: the operation's own
};
/// The same with given weights, which are those of the divided activation.
nn::LinearOp withByteWeights(mlir::RewriterBase &rewriter, nn::LinearOp op, ActivationParameters parameters,
                             llvm::ArrayRef<double> channelScales, const ByteWeights &weights);
/// What such a copy reads, in units of the activation, made beside `op`: with `channelScales` divided, rounded, and multiplied again.
mlir::Value throughChannelIntegers(mlir::RewriterBase &rewriter, nn::LinearOp op, ActivationParameters parameters,
                                   llvm::ArrayRef<double> channelScales);

/// Rows along the last dimension as i8, each with a scale of its own, the largest magnitude / 127, which is found at run time.
struct ByteRows {
  mlir::Value values, scale;
};
ByteRows byteRows(mlir::RewriterBase &rewriter, mlir::Location loc, mlir::Value x);
/// dequantize(quantize(x)) by such rows.
mlir::Value throughByteRows(mlir::RewriterBase &rewriter, mlir::Location loc, mlir::Value x);

/// The operand of a sum (a residual connection) that has to be in memory when the convolution that computes the other one
/// adds to it; null where no convolution can do that or nothing else would have the operand in 8 bits.
mlir::OpOperand *addendInMemory(nn::AddOp sum);
/// A copy of the sum, beside it, that reads operand `number` through integers.
nn::AddOp withQuantizedAddend(mlir::RewriterBase &rewriter, nn::AddOp sum, unsigned number, ActivationParameters parameters);

/// Moves quantizations of activations ahead of the movement and max pooling they come from.
void quantizeAheadOfMovement(mlir::func::FuncOp func, mlir::RewriterBase &rewriter);

} // namespace nnopt::quantize

#endif
