//===- Affine.h - scaling and shifting the output of a contraction -*- C++ -*-===//
//
// conv, conv_transpose and matmul are linear in their weights: for a scale s and a shift t that
// depend on the output channel c only,
//
//   s[c] * (W[c] x + b[c]) + t[c]  =  (s[c] W[c]) x + (s[c] b[c] + t[c])
//
// in real arithmetic. New weights are computed in double and rounded once.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_AFFINE_H
#define NNOPT_PASSES_COMMON_AFFINE_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// Whether `op` is conv, conv_transpose or matmul.
bool isContraction(mlir::Operation *op);
mlir::Value contractionWeight(mlir::Operation *op);
mlir::Value contractionBias(mlir::Operation *op);
mlir::Region &contractionEpilogue(mlir::Operation *op);
mlir::ValueRange contractionEpilogueArgs(mlir::Operation *op);

/// Dimension of the result that the bias goes along.
int64_t channelAxis(mlir::Operation *op);
/// Its size where static, else ShapedType::kDynamic.
int64_t channelCount(mlir::Operation *op);

/// Why an affine map after `op` cannot go into its weights and bias; empty when it can. `scaled`
/// says whether there is a scale, which needs constant weights.
std::string whyNotAffine(mlir::Operation *op, bool scaled);

/// Creates, before `op`, a copy of it that computes scale * op + shift (empty: 1, 0), and returns
/// its result. Call only where whyNotAffine is empty.
mlir::Value applyAffine(mlir::RewriterBase &rewriter, mlir::Operation *op,
                        llvm::ArrayRef<double> scale, llvm::ArrayRef<double> shift,
                        mlir::Location loc);

/// Creates, before `op`, a copy with another bias (null: none).
mlir::Operation *cloneWithBias(mlir::RewriterBase &rewriter, mlir::Operation *op,
                               mlir::Value weight, mlir::Value bias, mlir::Location loc);

} // namespace nnopt

#endif
