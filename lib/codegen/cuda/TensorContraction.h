//===- TensorContraction.h - kernels of products on tensor cores -*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_TENSORCONTRACTION_H
#define NNOPT_LIB_CODEGEN_CUDA_TENSORCONTRACTION_H

#include "lib/codegen/cuda/Epilogue.h"
#include "lib/codegen/cuda/TensorWeights.h"

namespace nnopt::cuda {

/// `count` products of [m, depth] and [depth, n] as an operation needs them. What depends on a
/// kernel is called for each: a contraction may be one kernel, or one that leaves partial sums and
/// one that adds them.
struct TensorContraction {
  nn::LinearOp op;
  std::string name;
  MmaTypes types;
  TensorTile tile;
  nn::Dim m, n, depth, count;
  nn::Dim flops;
  /// 1 or 0: whether it is launched; null: always.
  nn::Dim when;
  /// The right operand where it is constant, and the zero point of the left one, or null.
  const TensorWeights *weights = nullptr;
  mlir::Value leftZero;
  /// A result without columns.
  bool noColumns = false;

  /// The operands of product `index`; the right one unless it is constant, then its number among
  /// the weights.
  std::function<TensorOperand(Kernel &k, Ix index)> left, right;
  std::function<Ix(Kernel &k, Ix index)> weightsOf;
  /// In place of all these for the right operand: one of its own for the tile that begins at this column.
  std::function<std::unique_ptr<RightOperand>(Kernel &k, Ix firstColumn)> narrow;
  /// The row and the column of the operation's result, for an element of product `index`.
  std::function<std::pair<Ix, Ix>(Kernel &k, Ix index, Ix row, Ix column)> place;
  /// Columns of a product begin at multiples of this: 8, 4 or 1.
  int64_t alignedColumns = 8;
};

/// Whether tensor cores can compute the operation, up to its shape; if so, what they multiply.
std::optional<MmaTypes> tensorTypes(nn::LinearOp op, Lowering &l, mlir::Value leftZero,
                                    mlir::Value rightZero);

/// An operand whose matrices have `size` x `depth` elements and begin at `base`; `along`: its rows
/// lie along the contracted dimension.
TensorOperand tensorMatrix(Kernel &k, const TensorContraction &c, const Buffer &buf, bool aligned, Ix base,
                           nn::Dim size, nn::Dim depth, bool along);

/// The machine that kernels are made for.
const Machine &machineOf(Lowering &l);

mlir::LogicalResult emitTensorContraction(Lowering &l, const TensorContraction &c);

} // namespace nnopt::cuda

#endif
