//===- AxisDependency.h - how operations tie axes to each other -*- C++ -*-===//
//
// What the AxisDependency interface is told in: indices of dimensions ("axes") of the operands and results of one
// operation that can only be removed together. Analyses close these ties over a graph (lib/compress/prune).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_DIALECTS_NN_AXISDEPENDENCY_H
#define NNOPT_DIALECTS_NN_AXISDEPENDENCY_H

#include "dialects/nn/ShapeInference.h"
#include "mlir/IR/Builders.h"

namespace nnopt::nn {

/// A dimension of an operand or a result, or one that only the operation itself has: the groups of a convolution.
struct Axis {
  enum class Of { Operand, Result, Own };
  Of of;
  unsigned number;
  int64_t dim;

  bool operator==(const Axis &o) const { return of == o.of && number == o.number && dim == o.dim; }
};

/// The ties of one operation. An axis that is not mentioned is fixed: the operation needs all of it.
class AxisTies {
public:
  AxisTies(mlir::Operation *op, ShapeContext &shapes) : op(op), shapes(shapes) {}

  static Axis operand(unsigned number, int64_t dim) { return {Axis::Of::Operand, number, dim}; }
  static Axis result(unsigned number, int64_t dim) { return {Axis::Of::Result, number, dim}; }
  /// A new axis of the operation itself.
  Axis own(int64_t size);

  /// Index i of one goes with index i of the other. Says nothing where a size is not static or they differ.
  void tie(Axis a, Axis b);
  /// Index start + i of `whole` goes with index i of `part`.
  void tieRange(Axis whole, int64_t start, Axis part);
  /// Index i of a goes with index indices[i] of b, or with none where that is -1.
  void tieIndices(Axis a, Axis b, llvm::ArrayRef<int64_t> indices);
  /// Index (o * size(factor) + f) * inner + i of `whole` goes with index f of `factor`.
  void tieBlocks(Axis whole, Axis factor, int64_t inner);
  /// `whole` runs over all combinations of indices of the factors, the last one fastest. One of the factors can be
  /// narrowed, whichever; who asks decides.
  void tieProduct(Axis whole, llvm::ArrayRef<Axis> factors);
  /// As tie; results are sums over this axis of products of a and b, so that an index where one of both is 0 adds nothing.
  void contract(Axis a, Axis b);
  /// The axis may be narrowed, but what is computed of the rest depends on what is removed, unless that is 0.
  void measure(Axis a);
  /// The axis may be narrowed, and nothing else has to follow.
  void free(Axis a);

  /// tie() of equal dimensions of all operands in [first, first + count) and result `number`, aligned as numpy broadcasts.
  void tieBroadcast(unsigned first, unsigned count, unsigned number = 0);
  /// tie() of all dimensions of two values of equal rank but those listed.
  void tieAllBut(llvm::ArrayRef<int64_t> dims, unsigned operandNumber = 0, unsigned resultNumber = 0);
  /// Ties of an operand whose elements, in order, are those of a result with other dimensions.
  void tieReshape(unsigned operandNumber = 0, unsigned resultNumber = 0);

  /// The static size, or ShapedType::kDynamic.
  int64_t size(Axis a) const;
  int64_t rank(const Axis &a) const { return valueOf(a).size(); }
  ShapeContext &shapeContext() const { return shapes; }

  struct Tie {
    Axis a, b;
    llvm::SmallVector<int64_t> indices; // of b, for each index of a
  };
  struct Product {
    Axis whole;
    llvm::SmallVector<Axis> factors;
  };
  llvm::SmallVector<Tie> ties;
  llvm::SmallVector<Product> products;
  llvm::SmallVector<std::pair<Axis, Axis>> contractions;
  llvm::SmallVector<Axis> measured, mentioned;
  llvm::SmallVector<int64_t> ownSizes;

private:
  llvm::ArrayRef<Dim> valueOf(const Axis &a) const;

  mlir::Operation *op;
  ShapeContext &shapes;
};

/// The indices of an axis that stay, ascending.
using KeptIndices = llvm::function_ref<llvm::SmallVector<int64_t>(Axis)>;

/// Ties of operations that work on each element by itself.
inline void tieElementwise(mlir::Operation *op, AxisTies &ties) { ties.tieBroadcast(0, op->getNumOperands()); }
/// In a constant vector with the sizes of result `number` (reshape, expand), writes those that stay. `operandNumber`: the vector.
void narrowSizes(mlir::Operation *op, unsigned operandNumber, mlir::OpBuilder &b, KeptIndices kept);

} // namespace nnopt::nn

#endif
