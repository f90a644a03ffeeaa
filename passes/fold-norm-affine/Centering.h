//===- Centering.h - layer_norm of centered rows ----------------*- C++ -*-===//
#ifndef NNOPT_PASSES_FOLD_NORM_AFFINE_CENTERING_H
#define NNOPT_PASSES_FOLD_NORM_AFFINE_CENTERING_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// Replaces `norm`, which has no shift, and all layer_norms of the same stream without a shift by rms_norms, if
/// everything that makes their operands can be centered. Says why not; empty where it is done. `count` is how many.
std::string centerStream(nn::LayerNormOp norm, FuncShapes &shapes, mlir::IRRewriter &rewriter, int64_t &count);

} // namespace nnopt

#endif
