//===- Space.h - strided iteration spaces -----------------------*- C++ -*-===//
//
// A space is a list of axes, outermost first; along each, every operand advances by a stride (in
// elements, 0 where it is broadcast). Sizes and strides are expressions, so the same emitter serves
// static and dynamic shapes: axes merge where the expressions prove that they may.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_SPACE_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_SPACE_H

#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

struct Space {
  nn::Dims sizes;
  /// strides[operand][axis]
  llvm::SmallVector<nn::Dims> strides;

  unsigned rank() const { return sizes.size(); }
  /// Drops axes of size 1 and merges neighbours that every operand walks through as one.
  void collapse(nn::DimContext &ctx);
  void eraseAxis(unsigned axis);
  /// Splits a long innermost axis of constant size into an outer and an inner part, so that there
  /// are rows to share among threads; the inner part is a multiple of `multiple`.
  void splitInner(nn::DimContext &ctx, int64_t maxInner, int64_t multiple);
  /// Product of all sizes but the last.
  nn::Dim rows(nn::DimContext &ctx) const;
  nn::Dim inner(nn::DimContext &ctx) const;
};

/// Row-major strides of a shape, as expressions.
nn::Dims rowMajor(nn::DimContext &ctx, llvm::ArrayRef<nn::Dim> dims);

/// Strides of an operand of shape `dims` that is broadcast (numpy rules) to the shape `to`: 0 where
/// its dimension is 1 or missing. Where a dimension is neither known to be 1 nor known to be that
/// of the result, the stride is an expression that is 0 if the dimension turns out to be 1.
nn::Dims broadcastStrides(nn::DimContext &ctx, llvm::ArrayRef<nn::Dim> dims, llvm::ArrayRef<nn::Dim> to);
/// The same for an operand whose own strides are `own`.
nn::Dims broadcastStrides(nn::DimContext &ctx, llvm::ArrayRef<nn::Dim> dims, llvm::ArrayRef<nn::Dim> own,
                          llvm::ArrayRef<nn::Dim> to);

/// The space of an elementwise operation: operand 0.. are `operands`, all of shape `to` or
/// broadcast to it.
Space broadcastSpace(nn::DimContext &ctx, llvm::ArrayRef<nn::Dim> to, llvm::ArrayRef<nn::Dims> operands);

/// How the rows of a space are handed out: a task is `rowsPerTask` rows, or where there is only
/// one axis a block of `rowsPerTask` elements of it.
struct Tasks {
  nn::Dim count, perTask;
  /// There is one axis and tasks are blocks of it.
  bool flat = false;
};
/// About `elements` elements a task, and a multiple of `multiple` elements where tasks are flat.
Tasks divide(Lowering &l, const Space &space, int64_t elements, int64_t multiple);

/// Calls body(offsets, low, high) for every row of tasks [k.begin, k.end): the operands' offsets
/// at the row's start (flat: at element 0), and the range of the innermost axis to do.
void forRows(Kernel &k, const Space &space, const Tasks &tasks,
             llvm::function_ref<void(llvm::ArrayRef<Ix> offsets, Ix low, Ix high)> body);

/// Visits the index tuples [low, high) (flat, row-major) of `sizes` in order with the operands'
/// offsets, which advance by `strides[operand][axis]`. Divides only once, to find the first tuple.
/// `carried` are loop-carried values that body takes and returns.
llvm::SmallVector<mlir::Value>
forEachIndex(Kernel &k, llvm::ArrayRef<nn::Dim> sizes, llvm::ArrayRef<nn::Dims> strides, Ix low, Ix high,
             mlir::ValueRange carried,
             llvm::function_ref<llvm::SmallVector<mlir::Value>(llvm::ArrayRef<Ix> offsets, mlir::ValueRange)> body);

} // namespace nnopt::cpu

#endif
