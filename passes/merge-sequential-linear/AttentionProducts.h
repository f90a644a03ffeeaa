//===- AttentionProducts.h - products around attention ----------*- C++ -*-===//
#ifndef NNOPT_PASSES_MERGE_SEQUENTIAL_LINEAR_ATTENTIONPRODUCTS_H
#define NNOPT_PASSES_MERGE_SEQUENTIAL_LINEAR_ATTENTIONPRODUCTS_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// Merges the products that make and read the values of attention with one head, and those that make queries and
/// keys, where that is cheaper. Says why not in remarks; returns how many became one.
int64_t mergeAroundAttention(mlir::func::FuncOp func, FuncShapes &shapes, mlir::IRRewriter &rewriter);

} // namespace nnopt

#endif
