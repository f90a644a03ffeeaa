//===- Recurrent.h - what lstm, gru and rnn have in common ------*- C++ -*-===//
//
// With G gates (lstm 4: i o f c; gru 3: z r h; rnn 1) and `*` the elementwise product, the cells
// compute, as the ONNX operators LSTM, GRU and RNN define them:
//   lstm: i = f(x Wi + h Ri + pi * c + b)   f = f(x Wf + h Rf + pf * c + b)   (f = 1 - i if coupled)
//         C = f * c + i * g(x Wc + h Rc + b)   o = f(x Wo + h Ro + po * C + b)   H = o * h(C)
//   gru:  z = f(x Wz + h Rz + b)   r = f(x Wr + h Rr + b)
//         n = g(x Wh + (r * h) Rh + b), or g(x Wh + Wb + r * (h Rh + Rb)) with linear_before_reset
//         H = (1 - z) * n + z * h
//   rnn:  H = f(x W + h R + b)
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_IRREGULAR_RECURRENT_H
#define NNOPT_LIB_CODEGEN_CPU_IRREGULAR_RECURRENT_H

#include "lib/codegen/cpu/irregular/Helpers.h"

namespace nnopt::cpu {

/// Operands and attributes of a recurrent operation; absent operands are null.
struct Recurrent {
  enum Kind { LSTM, GRU, RNN };
  Recurrent(mlir::Operation *op, Lowering &lowering);

  Kind kind;
  mlir::Value x, w, r, bias, lengths, initialH, initialC, peephole;
  mlir::Value y, yH, yC;
  unsigned gates = 1, directions = 1;
  nn::Direction direction = nn::Direction::forward;
  /// `functions` activations of each direction, one direction after the other.
  llvm::SmallVector<std::string> activations;
  unsigned functions = 1;
  std::optional<double> clip;
  bool inputForget = false, linearBeforeReset = false;
  nn::Dim sequence, batch, input, hidden;
};

/// Whether the activation is known: a lower-case ONNX name, optionally followed by `:alpha:beta`.
bool isKnownActivation(llvm::StringRef name);

/// The elementwise part of a cell for one direction, on scalars or vectors alike.
class Cell {
public:
  Cell(Kernel &k, const Recurrent &info, Ix direction) : k(k), info(info), direction(direction) {}

  /// Clips (where the cell does) and applies activation number `slot` (lstm f g h, gru f g, rnn f).
  mlir::Value activate(unsigned slot, mlir::Value v, bool clipped = true);
  /// New (c, h) from the sums before activation. Peephole weights pi, po, pf may be null.
  std::pair<mlir::Value, mlir::Value> lstm(mlir::Value i, mlir::Value o, mlir::Value f, mlir::Value g, mlir::Value c,
                                           mlir::Value pi, mlir::Value po, mlir::Value pf);
  /// (1 - z) * n + z * h.
  mlir::Value gru(mlir::Value z, mlir::Value n, mlir::Value h);

  mlir::Value add(mlir::Value a, mlir::Value b) { return mlir::arith::AddFOp::create(k.b, k.loc, a, b); }
  mlir::Value sub(mlir::Value a, mlir::Value b) { return mlir::arith::SubFOp::create(k.b, k.loc, a, b); }
  mlir::Value mul(mlir::Value a, mlir::Value b) { return mlir::arith::MulFOp::create(k.b, k.loc, a, b); }

  /// The input position of step t of `length`.
  Ix position(Ix t, Ix length);

private:
  mlir::Value apply(llvm::StringRef activation, mlir::Value v);
  Kernel &k;
  const Recurrent &info;
  Ix direction;
};

} // namespace nnopt::cpu

#endif
