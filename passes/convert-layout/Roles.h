//===- Roles.h - which operations can work channels last --------*- C++ -*-===//
#ifndef NNOPT_PASSES_CONVERT_LAYOUT_ROLES_H
#define NNOPT_PASSES_CONVERT_LAYOUT_ROLES_H

#include "passes/common/Rewrite.h"

namespace nnopt::layout {

/// What an operation does with layouts.
enum class Role {
  Fixed,    ///< works on the model's layout only
  Root,     ///< shall work channels last
  Flexible, ///< works in both
  ToLast,   ///< is the transpose to channels last
  FromLast  ///< is the transpose from channels last
};

/// Permutations between [N, C, spatial...] and [N, spatial..., C].
llvm::SmallVector<int64_t> permToLast(int64_t rank);
llvm::SmallVector<int64_t> permFromLast(int64_t rank);
/// Where dimension `axis` of the channels-first tensor is in the channels-last one.
int64_t axisToLast(int64_t axis, int64_t rank);

Role roleOf(mlir::Operation *op, FuncShapes &shapes);

/// Operands of a Root or Flexible operation that are laid out with it.
llvm::SmallVector<unsigned> laidOutOperands(mlir::Operation *op);
/// Whether result `index` is laid out with the operation; others are the same in both layouts.
bool isLaidOutResult(mlir::Operation *op, unsigned index);
/// Whether staying channels first costs about as much as a transpose.
bool prefersLast(mlir::Operation *op);

/// Whether the transpose of a tensor of these dimensions between the layouts moves no data.
bool isView(llvm::ArrayRef<nn::Dim> dims);

/// Changes `copy`, a clone of a Root or Flexible operation that is not inserted yet and whose laid
/// out operands are already channels last, so that it works channels last. New operands are made
/// before `original`.
void convert(mlir::Operation *copy, mlir::Operation *original, mlir::RewriterBase &rewriter,
             FuncShapes &shapes);

} // namespace nnopt::layout

#endif
