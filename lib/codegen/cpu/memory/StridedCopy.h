//===- StridedCopy.h - moving elements between strided spaces ---*- C++ -*-===//
//
// Transpose, slice, concat, split, expand, tile, depth_to_space and space_to_depth are all the same
// thing: for every tuple of an index space, dst[to + i.dstStrides] = src[from + i.srcStrides].
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_STRIDEDCOPY_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_STRIDEDCOPY_H

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

namespace nnopt::cpu {

/// Operand 0 of the space is the destination, operand 1 the source.
struct StridedCopy {
  Space space;
  Buffer dst, src;
  /// Element offsets of the first tuple; a null value is 0.
  Ix to, from;
  /// 0: nothing is copied; null: 1.
  nn::Dim times;
};

/// Emits the copy into `k` and launches it: rows in whole vectors where source and destination are
/// contiguous along an axis, tiles transposed in registers where they are contiguous along
/// different axes, element by element else.
void launchStridedCopy(Lowering &l, Kernel &k, StridedCopy copy);

/// The reference: element by element in the order of the (row-major) result; `source` gives the
/// source offset of the result element with these coordinates.
mlir::LogicalResult
emitElementCopy(mlir::Operation *op, Lowering &l, mlir::Value x, mlir::Value result,
                llvm::function_ref<Ix(Kernel &k, llvm::ArrayRef<Ix> index, llvm::ArrayRef<Ix> sourceStrides)> source);

} // namespace nnopt::cpu

#endif
