//===- Parameters.h - maps into normalizations and recurrent cells -*- C++ -*-===//
//
// A map behind a normalization joins its own scale and shift:
//
//   s[c] * (g[c] * n + b[c]) + t[c]  =  (s[c] g[c]) * n + (s[c] b[c] + t[c])
//
// A map of the features of all steps before an LSTM, GRU or RNN goes into its input weights, because W meets
// each step by itself, before any activation:
//
//   W (s * x + t) + Wb + R h + Rb  =  (W diag(s)) x + (Wb + W t) + R h + Rb
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_PARAMETERS_H
#define NNOPT_PASSES_COMMON_PARAMETERS_H

#include "passes/common/ChannelMap.h"

namespace nnopt {

/// layer_norm, rms_norm, group_norm.
bool isNormalization(mlir::Operation *op);
/// Why a map of the result does not join the parameters; empty when it does.
std::string whyNotIntoNorm(mlir::Operation *op, const ChannelMap &map);
/// Replaces the operation. Call only where whyNotIntoNorm is empty.
void applyIntoNorm(mlir::RewriterBase &rewriter, mlir::Operation *op, const ChannelMap &map, mlir::Location loc);

/// lstm, gru, rnn.
bool isRecurrent(mlir::Operation *op);
/// Why a map of the inputs does not go into the weights; empty when it does.
std::string whyNotIntoRecurrent(mlir::Operation *op, const ChannelMap &map);
/// Changes weights and bias. Call only where whyNotIntoRecurrent is empty.
void applyIntoRecurrent(mlir::RewriterBase &rewriter, mlir::Operation *op, const ChannelMap &map, mlir::Location loc);

} // namespace nnopt

#endif
