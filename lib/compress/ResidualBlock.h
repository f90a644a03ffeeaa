//===- ResidualBlock.h - x + f(x) --------------------------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_RESIDUALBLOCK_H
#define NNOPT_LIB_COMPRESS_RESIDUALBLOCK_H

#include "lib/compress/Matrix.h"
#include "passes/common/Rewrite.h"

namespace nnopt::compress {

/// What a residual sum adds to a value that it also passes on.
struct ResidualBlock {
  mlir::Value skip, branch; // the sum's operands, x and f(x)
  /// Operations that f(x) is computed from x by, in graph order; those that nothing but the block needs.
  llvm::SmallVector<mlir::Operation *> all, inside;

  /// The block that `add` ends. Nothing where neither operand is computed from the other by a layer.
  static std::optional<ResidualBlock> endingAt(nn::AddOp add);
};

/// How much a block changes its input, from rows of x and of x + f(x): 1 - the cosine of all elements together (Men et al. 2024,
/// "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", equation 1, which takes that of each token).
double influenceOf(const Matrix &x, const Matrix &y);

} // namespace nnopt::compress

#endif
