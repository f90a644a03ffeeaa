//===- SparseProduct.h - contractions that skip zero weights ----*- C++ -*-===//
//
// Rows of the activation are in the lanes of vectors: a block of rows is transposed into memory of
// the thread, part by part of the contracted dimension, so that a part stays in L1 or L2. Then each
// column walks its nonzeros (SparseWeights.h): broadcast the value, multiply it with the vectors of
// the block that the gap leads to, add to accumulators in registers. Sums of a panel of columns are
// transposed back and finished as those of dense products.
//
// 0 x inf and 0 x NaN are NaN: a part whose rows are not all finite is multiplied by the zeros as
// well, so that results are those of the dense product.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSEPRODUCT_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSEPRODUCT_H

#include "lib/codegen/cpu/contraction/ConvShape.h"
#include "lib/codegen/cpu/contraction/SparseWeights.h"

namespace nnopt::cpu {

/// The activation of a sparse product.
struct SparseRows {
  mlir::Value x;
  nn::Dim rows;
  /// Where rows are windows of images; null: row r begins at r * steps.
  const ConvShape *windows = nullptr;
  /// Of bytes: they are signed and move by 128; the zero point as it is in memory.
  bool signedBytes = false;
  int64_t zero = 0;
};

/// Emits and launches the product.
mlir::LogicalResult emitSparseProduct(nn::LinearOp op, Lowering &lowering, const SparseRows &rows,
                                      const SparseSource &source, const SparsePlan &plan, llvm::StringRef name);

} // namespace nnopt::cpu

#endif
