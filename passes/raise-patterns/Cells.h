//===- Cells.h - one step of an LSTM or GRU written out ---------*- C++ -*-===//
#ifndef NNOPT_PASSES_RAISE_PATTERNS_CELLS_H
#define NNOPT_PASSES_RAISE_PATTERNS_CELLS_H

#include "passes/common/Rewrite.h"
#include "llvm/ADT/SetVector.h"

namespace nnopt {

/// The product of an activation [batch, inputs] and a part of a constant matrix: element (unit, i) of the weight
/// is matrix[i + firstInput][unit + firstUnit], or with both indices swapped.
struct GateTerm {
  mlir::Value activation, matrix;
  bool transposed;
  int64_t firstUnit, firstInput, inputs;

  /// [units, inputs], times sign.
  void appendTo(std::vector<double> &weights, int64_t units, double sign) const;
  bool hasWeightsOf(const GateTerm &other, int64_t units) const;
};

/// What the activation of a gate is applied to: sign * (the sum of terms and bias).
struct Gate {
  llvm::SmallVector<GateTerm, 2> terms;
  std::vector<double> bias;
  double sign = 1;

  const GateTerm *termOf(mlir::Value activation) const;
};

/// Adds `v`, [batch, units], to a gate; `ops` are the operations that it is computed by from activations and constants.
bool readGateSum(mlir::Value v, int64_t units, Gate &gate, FuncShapes &shapes, llvm::SetVector<mlir::Operation *> &ops);

/// A cell; each operation of it is used by others of them only, but for what computes the new state and memory.
struct Cell {
  bool isLSTM = false;
  int64_t units = 0;
  /// In the order of nn.lstm (i o f c) and nn.gru (z r h).
  llvm::SmallVector<Gate, 4> gates;
  /// GRU: h R + b of the last gate where the reset gate multiplies it (linear_before_reset).
  std::optional<Gate> resetProduct;
  /// Null where the gates have no product with the state: it was zero, and the product a constant.
  mlir::Value input, state;
  /// LSTM; null: zero.
  mlir::Value memory;
  mlir::Value newState, newMemory;
  llvm::SetVector<mlir::Operation *> ops;
};

/// The cell whose new state is `v`.
std::optional<Cell> matchCell(mlir::Value v, FuncShapes &shapes);

/// Decides which one of two activations is the state. `isState` says whether a value is the state of the cell
/// before, where there is one.
bool assignState(Cell &cell, llvm::function_ref<bool(mlir::Value)> isState);

} // namespace nnopt

#endif
