//===- Scalar.h - scalar regions of epilogues and maps ----------*- C++ -*-===//
#ifndef NNOPT_PASSES_COMMON_SCALAR_H
#define NNOPT_PASSES_COMMON_SCALAR_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// The type of an element in a scalar region: integers lose their signedness.
mlir::Type scalarTypeOf(mlir::Value tensor);

/// Emits the scalar computation of an elementwise operation or nn.map on one element of each
/// operand; returns one element of each result.
llvm::SmallVector<mlir::Value> emitScalar(mlir::OpBuilder &b, mlir::Operation *op,
                                          mlir::ValueRange args);

/// Clones the computation of a scalar region for `args` and returns what it yields.
llvm::SmallVector<mlir::Value> inlineRegion(mlir::OpBuilder &b, mlir::Region &region,
                                            mlir::ValueRange args);

/// Whether `op` turns integers of up to 8 bits into 32-bit floats by one constant scale and zero point: cheaper to compute
/// where the result is read than to keep in memory.
bool isDequantizationByNumbers(mlir::Operation *op);

/// arith.constant of a constant tensor of one element; null where its type has no such constant.
mlir::Value emitScalarConstant(mlir::OpBuilder &b, mlir::Location loc, mlir::Value constant);

} // namespace nnopt

#endif
