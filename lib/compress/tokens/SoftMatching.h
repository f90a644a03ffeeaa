//===- SoftMatching.h - which tokens are merged ------------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_TOKENS_SOFTMATCHING_H
#define NNOPT_LIB_COMPRESS_TOKENS_SOFTMATCHING_H

#include "passes/common/Rewrite.h"

namespace nnopt::compress {

/// Tokens at even positions but for the first one are merged into others.
inline int64_t mostToMerge(int64_t tokens) { return (tokens + 1) / 2 - 1; }

/// Fewer tokens.
struct MergedTokens {
  mlir::Value tokens; // [batch, tokens - count, width]
  mlir::Value size;   // [batch, tokens - count, 1]: how many tokens each stands for
  mlir::Value place;  // i64 [batch, tokens, 1]: the row that each token went into, for gather_nd
};

/// Bipartite soft matching (Bolya et al. 2023, "Token Merging: Your ViT But Faster", section 3) in ordinary operations. Each token of x
/// [batch, tokens, width] at an even position is paired with the one at an odd position whose row of `metric`, [batch, tokens, any], has
/// the largest cosine similarity with its own; the `count` pairs of the largest similarity are merged (ties: lower positions first).
/// The first token, which may stand for all (class token), is merged into no other. What is merged becomes its mean, weighted by
/// `size` [batch, tokens, 1] (null: 1). Even tokens that stay come first, by falling similarity, then the first one and the odd ones.
MergedTokens mergeTokens(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value metric, mlir::Value size, int64_t count);

} // namespace nnopt::compress

#endif
