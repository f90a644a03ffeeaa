//===- NarrowWeights.h - weights in fewer bits than the product --*- C++ -*-===//
//
// A matrix product of 32-bit floats whose weights are stored as integers with scales or as 16-bit floats (or, for kernels of
// GPUs, a product of 16-bit floats with weights that are integers with scales):
//
//   matmul(x, dequantize(q, scale, zero))    matmul(x, cast(w))
//
// perhaps through reshapes (blocks of a dimension have scales of their own) and a slice that cuts what fills the last
// block. A kernel reads the narrow weights and widens them in registers; folded, they would take 4 to 8 times the memory.
// The same of a table whose rows are looked up, gather(dequantize(q, scale, zero), indices).
//
// The rows that integer weights multiply may be integers as well, matmul(dequantize(x, scale of rows), dequantize(q, ...)):
// a kernel sums products of integers in each group.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_DIALECTS_NN_NARROWWEIGHTS_H
#define NNOPT_DIALECTS_NN_NARROWWEIGHTS_H

#include "dialects/nn/NN.h"

namespace nnopt::nn {

class NarrowWeights {
public:
  /// Of a product that a kernel can compute from them; nothing for others. This is a question of types and shapes: whether
  /// the operands are constant does not matter. `of16Bit`: products of 16-bit floats count, too.
  static std::optional<NarrowWeights> get(MatMulOp op, bool of16Bit = false);
  /// Of a lookup of rows: a row of the table is a column here, its elements are the depth.
  static std::optional<NarrowWeights> get(GatherOp op);
  /// What widens the rows that a product with integer weights multiplies: signed bytes, a scale for each row and no zero
  /// point; null where rows are floats.
  static DequantizeOp byteRows(MatMulOp op);
  /// Whether `op` is that of all operations that read it.
  static bool isByteRows(mlir::Operation *op);
  /// Whether `op` widens constants (now, or once its operands are folded) for such operations alone.
  static bool isWidening(mlir::Operation *op, bool of16Bit = false);

  /// A product is of [rows, depth] and [depth, columns].
  int64_t depth = 0, columns = 0;
  /// Integers of up to 8 bits, or f16 and bf16 without scales.
  mlir::Value values;
  mlir::Value scale, zero; // may be null
  bool isFloat() const { return !scale; }

  /// The weight of position k of the depth and column n is element at(k, n) of `values`.
  int64_t at(int64_t k, int64_t n) const { return k * depthStride + n * columnStride; }
  int64_t depthStride = 0, columnStride = 0;

  /// Neighbours along the depth that have one scale and zero point; the depth where all of a column have. Groups begin at
  /// multiples; the last one may be shorter.
  int64_t group = 0;
  int64_t groups() const { return (depth + group - 1) / group; }
  /// Positions of the scale and zero point of a group in a column.
  int64_t scaleAt(int64_t g, int64_t n) const { return scaleOf.depth[g * group] + scaleOf.columns[n]; }
  int64_t zeroAt(int64_t g, int64_t n) const { return zeroOf.depth[g * group] + zeroOf.columns[n]; }

private:
  /// Of a matrix [depth, columns], transposed: [columns, depth].
  static std::optional<NarrowWeights> of(mlir::Value matrix, bool transposed);
  /// Where a parameter that broadcasts is for a weight: the sum of what each position adds.
  struct Places {
    std::vector<int64_t> depth, columns;
  };
  static std::optional<Places> placesOf(mlir::Value parameter, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> matrix,
                                        bool transposed);
  Places scaleOf, zeroOf;
};

} // namespace nnopt::nn

#endif
