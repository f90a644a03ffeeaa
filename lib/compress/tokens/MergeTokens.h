//===- MergeTokens.h - transformers on fewer and fewer tokens ----*- C++ -*-===//
//
// Technique merge-tokens (Bolya et al. 2023, "Token Merging: Your ViT But Faster"): behind the attention of a block the tokens that
// are most like another one are averaged with it, and all that follows computes on what is left. Attention adds
// the logarithm of the number of tokens that a key stands for to its scores (proportional attention, equation 1). What needs all
// tokens, an output for each or their mean, reads for each token the row of the one that it went into.
//
// Steps change the shapes of many operations, so, as those of prune-structured, they come before the steps of all techniques that
// replace single operations.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_TOKENS_MERGETOKENS_H
#define NNOPT_LIB_COMPRESS_TOKENS_MERGETOKENS_H

#include "lib/compress/Recipe.h"

namespace nnopt::compress {

constexpr const char *kMergeTokens = "merge-tokens";

/// "8": how many tokens go behind each attention. Returns what is wrong with the text; empty when nothing is.
std::string parseTokenCount(llvm::StringRef text, int64_t &count);

/// Steps that merge `count` tokens in all blocks where that is possible, fewer where fewer are left; why not for the others.
std::vector<Step> stepsToMergeTokens(mlir::ModuleOp module, int64_t count, std::vector<Refusal> &refused);

/// The number of tokens that the first of these blocks has; nothing where there is none.
std::optional<int64_t> tokensToMerge(mlir::ModuleOp module);

/// Does what the steps of merge-tokens among `steps` say. Throws ToolError (exit 3) where they do not fit the model.
void applyTokenMerging(mlir::ModuleOp module, const std::vector<Step> &steps);

} // namespace nnopt::compress

#endif
