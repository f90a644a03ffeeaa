//===- Attention.h - what the attention kernels share -----------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_ATTENTION_H
#define NNOPT_LIB_CODEGEN_CUDA_ATTENTION_H

#include "lib/codegen/cuda/Kernel.h"

namespace nnopt::cuda {

/// An operand or the result, [batch, heads, sequence, head], wherever its elements are.
struct Heads {
  Buffer buffer;
  nn::Dims dims;
  llvm::SmallVector<Ix> strides;
  /// Neighbouring components of a row that are one load.
  int64_t lanes = 1;
  int64_t head() const { return dims[3].value(); }
  /// Offset of a head's matrix.
  Ix matrix(Ix batch, Ix head) const { return batch * strides[0] + head * strides[1]; }
};

/// The operands of an attention in a kernel. Sums and softmax are f32 whatever the operands are.
struct Attention {
  nn::AttentionOp op;
  Lowering &l;
  Kernel &k;
  Heads q, key, v;
  Buffer mask;
  Ix queries, keys;

  Attention(nn::AttentionOp op, Lowering &l, Kernel &k);
  /// The result, also where heads are put beside each other afterwards: that is done in writing.
  Heads result();

  mlir::Value load(const Heads &h, Ix offset) { return k.toFloat(k.load(h.buffer, offset)); }
  mlir::Value exp(mlir::Value x);
  mlir::Value larger(mlir::Value a, mlir::Value b);
  /// What exponents are relative to, where `max` is the largest score: before the first key that takes part everything is
  /// 0, not e^(inf - inf).
  mlir::Value base(mlir::Value max);
  /// The score of key `at` for a query, where the product of both is `sum`: scale, soft cap and mask applied.
  mlir::Value score(mlir::Value sum, Ix batch, Ix head, Ix query, Ix at);
  /// `score`, or -infinity where the key takes no part: behind the last one, or behind the query in a causal attention.
  mlir::Value ifVisible(mlir::Value score, Ix query, Ix at);
  /// The number of keys before which all are that `query` may see, perhaps none.
  Ix visible(Ix query);
  /// A component of the result: `sum` of weighted values, `total` of the weights.
  mlir::Value normalized(mlir::Value sum, mlir::Value total);
  /// Multiply-adds of the whole operation, times two.
  nn::Dim flops() const;

private:
  Heads read(unsigned operand);
};

/// Neighbouring components of a row of an operand that are one load.
int64_t componentLanes(Lowering &l, mlir::OpOperand &operand);

/// Up to this many queries, the decoding kernel shares the keys of a head among blocks.
inline constexpr int64_t maxFewQueries = 4;

/// Emits the kernels for few queries, launched if `when` is 1 (and not if it is 0).
void emitFewQueries(nn::AttentionOp op, Lowering &l, nn::Dim when);

/// Whether tensor cores can compute the attention, and the kernel for that (TensorAttention.cpp).
bool isForTensorCores(nn::AttentionOp op, Lowering &l);
void emitOnTensorCores(nn::AttentionOp op, Lowering &l, nn::Dim when);

} // namespace nnopt::cuda

#endif
