//===- MatMulShape.h - sizes of a matrix product ----------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_MATMULSHAPE_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_MATMULSHAPE_H

#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// numpy.matmul seen as `outer` products of [m, depth] and [depth, n] matrices. When B has no batch
/// of its own and A is not transposed, the batch of A is part of m and `outer` is 1.
struct MatMulShape {
  MatMulShape(nn::MatMulOp op, Lowering &lowering);

  nn::Dims aDims, bDims; // a vector operand has a dimension of 1 added
  nn::Dims batch, aBatch, bBatch;
  nn::Dim m, n, depth, outer;
  bool aVector, bVector, transposeA, transposeB;
  bool bShared; // B has no batch

  /// Elements before the matrix of batch element `index` in an operand whose batch dimensions (with
  /// ones in front) are `own` and whose matrices have `matrix` elements.
  Ix batchOffset(Kernel &k, Ix index, const nn::Dims &own, nn::Dim matrix) const;
};

} // namespace nnopt::cpu

#endif
