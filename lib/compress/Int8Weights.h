//===- Int8Weights.h - weights of int8 layers that are solved ---*- C++ -*-===//
//
// An int8 option of the quantize technique says how the activation is rounded; its weights are those of the layer, rounded to the
// nearest. When layers are solved anew it gets arrays:
//
//   codes [out channels, columns]   8-bit integers
//   scales [out channels, 1]
//   bias [out channels, 1]
//
// They are the least-squares solution that gives the float model's outputs from what the layer reads now (its rounded activation),
// rounded with feedback of the error, and the bias that fits them: what is called bias correction, for all moments up to the second.
// Where channels of the activation are divided by factors, codes are of weights multiplied by these.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_INT8WEIGHTS_H
#define NNOPT_LIB_COMPRESS_INT8WEIGHTS_H

#include "lib/compress/Technique.h"

namespace nnopt::compress::int8weights {

/// Whether an option has the arrays.
bool areIn(const Option &option);
/// The option with the arrays of the weights as they are, rounded to the nearest; nothing for operations that are no LinearLayer.
std::optional<Option> rounded(mlir::Operation *op, const Option &option);
/// What is wrong with the arrays for a layer; empty when nothing is.
std::string check(mlir::Operation *op, const Option &option);
/// What the arrays stand for: weights that multiply the activation as it is, without factors of channels.
LayerWeights weights(mlir::Operation *op, const Option &option);
/// What the layer reads: the activation through its integers, made beside `op`.
mlir::Value activation(mlir::RewriterBase &rewriter, mlir::Operation *op, const Option &option);
bool refit(mlir::Operation *op, Option &option, const Gram &gram);
/// The layer with integer operands, made beside `op`.
mlir::Value apply(mlir::RewriterBase &rewriter, mlir::Operation *op, const Option &option);

} // namespace nnopt::compress::int8weights

#endif
