//===- LinearPath.h - chains of linear operations ---------------*- C++ -*-===//
#ifndef NNOPT_PASSES_COMMON_LINEARPATH_H
#define NNOPT_PASSES_COMMON_LINEARPATH_H

#include "passes/common/LinearForm.h"

namespace nnopt {

/// How a value is computed by steps of linear form, as far as nobody else uses what they compute.
struct LinearPath {
  mlir::Value end;
  /// steps[0] computes the end, steps[i + 1] what steps[i] reads.
  std::vector<LinearStep> steps;
  /// The operation before the last step, where it is another one, and why it is none.
  mlir::Operation *stop = nullptr;
  std::string why;

  /// Value n: the operand of the n-th step; value 0 is the end.
  mlir::Value value(size_t n) const { return n == 0 ? end : steps[n - 1].x; }
  /// n where value(n) is `v`.
  std::optional<size_t> find(mlir::Value v) const;

  /// Steps [begin, end) as one form, on value(end). A reason where they are none. `channels` and
  /// `spatialRank` are of value(end).
  std::string geometry(size_t begin, size_t end, unsigned spatialRank, LinearGeometry &form) const;
  std::string form(size_t begin, size_t end, unsigned spatialRank, LinearForm &form) const;
  /// Operations of these steps for each position of value(begin).
  double cost(size_t begin, size_t end) const;
  bool hasLinear(size_t begin, size_t end) const;
};

/// Follows `end` through at most `maxSteps` steps. Where `end` itself has several users, and
/// `endIsFree` is not set, there are none.
LinearPath followPath(mlir::Value end, bool endIsFree, size_t maxSteps = 16);

/// Of steps, the spatial rank of their values; 0 for matrix products. Nothing where they mix.
std::optional<unsigned> spatialRankOf(llvm::ArrayRef<const LinearStep *> steps);

/// Erases `op` and what computes its operands as long as nobody uses it.
void eraseUnused(mlir::Operation *op, mlir::RewriterBase &rewriter);

} // namespace nnopt

#endif
