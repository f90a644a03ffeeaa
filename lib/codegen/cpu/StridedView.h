//===- StridedView.h - operands that are read where they are ----*- C++ -*-===//
//
// Transposes, reshapes, slices, splits and broadcasts only rearrange elements. A kernel that can walk through
// memory with strides reads their operand instead of a copy: the operation in between then emits no code,
// unless somebody else needs its result.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_STRIDEDVIEW_H
#define NNOPT_LIB_CODEGEN_CPU_STRIDEDVIEW_H

#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// Element (i0, i1, ...) of a value is element offset + i0 * strides[0] + i1 * strides[1] + ... of `base`.
struct StridedView {
  mlir::Value base;
  nn::Dim offset;
  nn::Dims strides;
};

/// `v` in terms of the farthest value that it is a rearrangement of (at worst of itself).
StridedView stridedView(Lowering &l, mlir::Value v);

/// How the emitter of `operand`'s owner reads it: attention, rotary, concat, transpose and elementwise operations read
/// through strides at --opt=2; everything else, and every layout that they have no fast loops for, is
/// contiguous. The lowering computes what these emitters read, so they must read just this.
StridedView readView(Lowering &l, mlir::OpOperand &operand);

/// Keys or values of an attention that are bytes with a scale for each row, as quantize-kv-cache leaves them, where the tiled kernel
/// reads those: what makes floats of them, and then emits no code. Null for other operands.
nn::DequantizeOp byteRowsOf(Lowering &l, mlir::OpOperand &operand);

/// The transpose into whose result the kernel of an attention writes, heads beside each other: all that uses
/// the result of the attention, and rows stay whole. Null where there is none.
nn::TransposeOp transposeWrittenBy(Lowering &l, nn::AttentionOp op);

/// Whether the parts of `whole` along `axis` are contiguous: all dimensions before it are 1.
bool isOuterAxis(Lowering &l, mlir::Value whole, int64_t axis);
/// Whether `op` produces its result without code, as another view of its first operand.
bool isView(mlir::Operation *op);
/// Whether `op` is a transpose that only moves dimensions of size 1: a view.
bool isViewTranspose(mlir::Operation *op, Lowering &l);
/// The bytes before a slice that is contiguous in its operand, of which it is a part then; null for other ones.
nn::Dim contiguousSliceOffset(nn::SliceOp op, Lowering &l);
/// Whether the tiled kernel emits this attention (contraction/AttentionTiled.cpp).
bool isTiledAttention(mlir::Operation *op, Lowering &l);

} // namespace nnopt::cpu

#endif
