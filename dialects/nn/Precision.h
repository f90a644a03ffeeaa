//===- Precision.h - attributes that allow narrower products ----*- C++ -*-===//
#ifndef NNOPT_DIALECTS_NN_PRECISION_H
#define NNOPT_DIALECTS_NN_PRECISION_H

#include "llvm/ADT/StringRef.h"

namespace nnopt::nn {

/// On nn.attention of f32: its products round queries, keys, values and exponentials to bf16, where the target has
/// instructions for that; scores, softmax and sums are f32. On nn.lstm, nn.gru and nn.rnn: products round inputs, weights and
/// states so; cells, states and sums are f32. On linear operations: narrow-to-bf16 does it, but for products whose weights
/// are stored in fewer bits and stay so, where kernels may.
constexpr llvm::StringLiteral kBf16Products = "bf16_products";
/// On nn.attention of f32: its products may round queries, keys, values and exponentials to tf32, as f16 has no more bits.
constexpr llvm::StringLiteral kTf32Products = "tf32_products";

} // namespace nnopt::nn

#endif
