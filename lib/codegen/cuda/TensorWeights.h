//===- TensorWeights.h - constant operands of tensor cores ------*- C++ -*-===//
//
// Of bytes, the sum of (x - xZero) (w - wZero) over the contracted dimension is
//   sum x w  -  wZero sum x  -  xZero sum (w - wZero):
// the first by tensor cores, the second from sums of rows, where wZero is not zero, the third a
// term for each column.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_TENSORWEIGHTS_H
#define NNOPT_LIB_CODEGEN_CUDA_TENSORWEIGHTS_H

#include "lib/codegen/cuda/TensorTile.h"

namespace nnopt::cuda {

/// Whether sums of rows are needed for these zero points of weights.
bool needsRowSums(const MmaTypes &types, const nn::ConstantData &zero);

/// Constant weights as right operand of `products` products: column by column, filled with zeros to
/// whole tiles.
class TensorWeights {
public:
  /// Unsigned weights become signed ones where that makes all zero points zero: `types` says so
  /// then. `at(product, column, depth)` is the place of an element in `data`. `zero`: a zero point
  /// for all, or one for each column of each product, or null.
  TensorWeights(MmaTypes &types, const nn::ConstantData &data, int64_t products, int64_t n,
                int64_t depth, const TensorTile &tile,
                llvm::function_ref<int64_t(int64_t, int64_t, int64_t)> at,
                const nn::ConstantData *zero = nullptr);

  bool hasZeros() const { return !zeros.empty(); }
  /// The operand of product `index`.
  TensorOperand operand(Kernel &k, Ix index) const;

  /// In a kernel: what is to be added to sums of bytes.
  class Terms {
  public:
    /// `xZero`: the zero point of the left operand, null for none.
    Terms(Kernel &k, const TensorWeights &weights, mlir::Value xZero, bool ofRows, bool ofColumns);
    void add(Ix index, Ix column, mlir::Value rowSum, llvm::MutableArrayRef<mlir::Value> sums);

  private:
    Kernel &k;
    int64_t n;
    std::optional<Buffer> zeros, columns;
    mlir::Value xZero; // not known before it runs
  };

private:
  int64_t elementBytes, n, filledColumns, filledDepth;
  std::vector<char> bytes;
  std::vector<int32_t> sums;  // of w - wZero, for each product and column
  std::vector<int32_t> zeros; // the same way; empty where all are zero
};

} // namespace nnopt::cuda

#endif
