//===- ShapeArithmetic.h - sizes as values ----------------------*- C++ -*-===//
#ifndef NNOPT_PASSES_FOLD_SHAPES_SHAPEARITHMETIC_H
#define NNOPT_PASSES_FOLD_SHAPES_SHAPEARITHMETIC_H

#include "passes/common/Rewrite.h"
#include <map>

namespace nnopt {

/// Makes integer tensors from symbolic expressions, at the start of a function: sizes are read off
/// its arguments. Equal tensors are made once.
class ShapeArithmetic {
public:
  ShapeArithmetic(mlir::func::FuncOp func, FuncShapes &shapes, mlir::RewriterBase &rewriter);

  /// A tensor of the type of `like` that holds `content`; null where an expression cannot be
  /// computed from the arguments' shapes (sizes that depend on data, broadcasts).
  mlir::Value get(llvm::ArrayRef<nn::Dim> content, mlir::Value like);
  /// Whether an operation was made here.
  bool made(mlir::Operation *op) const { return ours.contains(op); }

private:
  /// The expression as i64[1].
  mlir::Value element(nn::Dim d);
  mlir::Value build(nn::Dim d);
  template <typename Op, typename... Args> mlir::Value create(Args &&...args);

  FuncShapes &shapes;
  mlir::RewriterBase &rewriter;
  mlir::Block *entry;
  mlir::Operation *insertAfter = nullptr;
  llvm::DenseMap<const void *, std::pair<mlir::Value, int64_t>> symbols; // Argument and axis.
  llvm::DenseMap<const void *, mlir::Value> elements;
  std::map<std::pair<std::vector<const void *>, const void *>, mlir::Value> tensors;
  llvm::DenseSet<mlir::Operation *> ours;
};

/// A constant shape operand for reshape of `x` to `target`: sizes, 0 where dimension i of x is
/// copied, -1 for one more unknown. Nothing where more is unknown.
std::optional<llvm::SmallVector<int64_t>> reshapeOperand(llvm::ArrayRef<nn::Dim> x,
                                                         llvm::ArrayRef<nn::Dim> target);

} // namespace nnopt

#endif
