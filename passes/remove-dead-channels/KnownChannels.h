//===- KnownChannels.h - channels that hold one number ----------*- C++ -*-===//
#ifndef NNOPT_PASSES_REMOVE_DEAD_CHANNELS_KNOWNCHANNELS_H
#define NNOPT_PASSES_REMOVE_DEAD_CHANNELS_KNOWNCHANNELS_H

#include "passes/common/AxisGroups.h"

namespace nnopt {

/// For indices of places in AxisGroups the number that all elements there are, as far as weights and the operations
/// between decide it.
class KnownChannels {
public:
  KnownChannels(mlir::func::FuncOp func, const AxisGroups &groups);

  std::optional<double> at(unsigned place, int64_t index) const;
  bool isZero(unsigned place, int64_t index) const { return at(place, index) == 0.0; }

private:
  using Numbers = llvm::SmallVector<std::optional<double>>; // of the indices of a place
  void visit(mlir::Operation *op);
  void visitLinear(nn::LinearOp op);
  void visitElementwise(mlir::Operation *op);
  /// Hands what is known of an operand on along ties to results. `onlyZeros`: other numbers do not stay what they are.
  void carry(mlir::Operation *op, unsigned operandNumber, bool onlyZeros);
  /// Of a constant or a value: what its index along `dim` is; nothing where that differs.
  Numbers read(mlir::Operation *op, nn::Axis axis);
  void set(unsigned place, int64_t index, double value);

  const AxisGroups &groups;
  llvm::DenseMap<unsigned, Numbers> known;
};

/// Whether the elements of a constant at `index` of dimension `dim` are all 0 (stops at the first that is not).
bool isZeroSlice(const nn::ConstantData &data, int64_t dim, int64_t index);

} // namespace nnopt

#endif
