//===- Parts.h - parts of tensors along one dimension -----------*- C++ -*-===//
#ifndef NNOPT_PASSES_COMMON_PARTS_H
#define NNOPT_PASSES_COMMON_PARTS_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// Positions along one dimension that an operation picks: of a slice with constant bounds (as they are written: they
/// may be negative or beyond the end), or of a gather by a vector of constants.
struct Positions {
  int64_t axis = 0;
  int64_t start = 0, end = 0, step = 1;
  std::optional<llvm::SmallVector<int64_t>> indices;

  bool operator==(const Positions &o) const {
    return axis == o.axis && start == o.start && end == o.end && step == o.step && indices == o.indices;
  }
  /// No more positions than this, whatever the size of the dimension; nothing where the size decides.
  std::optional<int64_t> atMost() const;
  /// The positions in a dimension of `size` elements, in order.
  llvm::SmallVector<int64_t> in(int64_t size) const;
};

/// What a slice picks, where it keeps all dimensions but one and its bounds are constant.
std::optional<Positions> readSlice(nn::SliceOp op, FuncShapes &shapes);
/// What a slice or a gather by a constant vector picks of its first operand.
std::optional<Positions> readPositions(mlir::Operation *op, FuncShapes &shapes);

/// These positions of x: a slice or a gather, at the insertion point; of a constant, a constant.
mlir::Value pick(mlir::Value x, const Positions &positions, mlir::OpBuilder &b, mlir::Location loc);
/// Elements [start, end) of x along `axis`.
mlir::Value makeSlice(mlir::Value x, int64_t axis, int64_t start, int64_t end, mlir::OpBuilder &b, mlir::Location loc);

/// Elements [start, start + size) of `whole` along a dimension.
struct Part {
  mlir::Value whole;
  int64_t start = 0, size = 0;
};
/// `v` as a part along `axis`, of static sizes: a slice of step 1, a result of a split, at worst all of itself.
std::optional<Part> readPart(mlir::Value v, int64_t axis, FuncShapes &shapes);

/// The constant, rewritten: those of its elements along `axis`.
mlir::ElementsAttr pickConstant(const nn::ConstantData &data, int64_t axis, llvm::ArrayRef<int64_t> positions);

} // namespace nnopt

#endif
