//===- Movement.h - operations that move elements ---------------*- C++ -*-===//
#ifndef NNOPT_PASSES_COMMON_MOVEMENT_H
#define NNOPT_PASSES_COMMON_MOVEMENT_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// The operands whose elements an operation only moves, or of which it takes the largest; none for others. A monotone
/// function of each element (a quantization by one scale and zero point) commutes with such an operation.
llvm::SmallVector<mlir::OpOperand *> movedOperands(mlir::Operation *op);

} // namespace nnopt

#endif
