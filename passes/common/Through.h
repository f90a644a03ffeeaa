//===- Through.h - operations that parts can be taken before ----*- C++ -*-===//
#ifndef NNOPT_PASSES_COMMON_THROUGH_H
#define NNOPT_PASSES_COMMON_THROUGH_H

#include "passes/common/Parts.h"

namespace nnopt {

/// Which operands an operation needs only a part of, when only a part of its first result along one dimension is
/// wanted: the number of each and its dimension.
struct Through {
  std::string why; ///< why it does not work; empty where it does
  llvm::SmallVector<std::pair<unsigned, int64_t>> operands;
  /// Reshape: the target shape follows from that of the result.
  bool isReshape = false;
  /// Attention: positions are counted from the end from now on.
  bool fromEnd = false;
};

Through throughOf(mlir::Operation *op, const Positions &positions, FuncShapes &shapes);

/// The operation on parts of its operands, with a first result of dimensions `dims`.
mlir::Value emitThrough(mlir::Operation *op, const Through &through, llvm::ArrayRef<mlir::Value> operands,
                        llvm::ArrayRef<nn::Dim> dims, FuncShapes &shapes, mlir::RewriterBase &rewriter, mlir::Location loc);

} // namespace nnopt

#endif
