//===- Affine.h - scaling and shifting around a linear operation -*- C++ -*-===//
//
// A LinearOp (conv, conv_transpose, matmul) is linear in its weights. For a scale s and a shift t
// of each channel, behind it
//
//   s[o] * (sum_i W[o,i] x[i] + b[o]) + t[o]  =  sum_i (s[o] W[o,i]) x[i] + (s[o] b[o] + t[o])
//
// and before it
//
//   sum_i W[o,i] (s[i] x[i] + t[i]) + b[o]  =  sum_i (W[o,i] s[i]) x[i] + (b[o] + sum_i W[o,i]
//   t[i])
//
// in real arithmetic (Jacob et al. 2018, "Quantization and Training of Neural Networks for
// Efficient Integer-Arithmetic-Only Inference", section 3.2, for the first). New weights are
// computed in double and rounded once.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_AFFINE_H
#define NNOPT_PASSES_COMMON_AFFINE_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// Why an affine map after `op` cannot go into its weights and bias; empty when it can. `scaled`
/// says whether there is a scale, which needs constant weights.
std::string whyNotAffine(nn::LinearOp op, bool scaled);
/// The same for a map of the in channels of its activation.
std::string whyNotAffineBefore(nn::LinearOp op, bool scaled, bool shifted);

/// Whether every position of the result sees every tap of the window inside of its activation, so
/// that a constant activation gives a constant result.
bool seesNoBorder(nn::LinearOp op);

/// Creates, before `op`, a copy of it that computes scale * op + shift (empty: 1, 0), and returns
/// its result. Call only where whyNotAffine is empty.
mlir::Value applyAffine(mlir::RewriterBase &rewriter, nn::LinearOp op, llvm::ArrayRef<double> scale,
                        llvm::ArrayRef<double> shift, mlir::Location loc);
/// Creates, before `op`, a copy of it that computes op(scale * activation + shift) from the
/// activation. Call only where whyNotAffineBefore is empty and the operation sees no border or
/// there is no shift.
mlir::Value applyAffineBefore(mlir::RewriterBase &rewriter, nn::LinearOp op,
                              llvm::ArrayRef<double> scale, llvm::ArrayRef<double> shift,
                              mlir::Location loc);

/// Creates, before `op`, a copy of it whose out channels have a mean of zero at each position: their mean is
/// subtracted from weights and bias. Call only where whyNotAffine(op, true) is empty, for one group.
mlir::Value centerOutChannels(mlir::RewriterBase &rewriter, nn::LinearOp op, mlir::Location loc);

/// sum over in channels of W[o, i, tap] * shift[i] for each out channel and tap, [o][tap]. What a
/// constant activation adds to the result through each tap.
std::vector<double> sumOfTaps(nn::LinearOp op, llvm::ArrayRef<double> shift);

/// The bias as numbers, zeros where there is none; must be constant.
std::vector<double> biasOf(nn::LinearOp op);

} // namespace nnopt

#endif
