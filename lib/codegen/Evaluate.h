//===- Evaluate.h - computing constants with compiled kernels ---*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_EVALUATE_H
#define NNOPT_LIB_CODEGEN_EVALUATE_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/ArrayRef.h"

namespace nnopt {

/// Computes `values`, whose backward slices end in nn.constant operations only, by compiling the
/// slice for this machine and running it in process. results[i] is the constant of values[i].
/// Fails, after a diagnostic, when the slice has an operation without kernel or a dynamic shape.
/// With `inDouble`, f32 is computed as f64 and rounded at the end; the slices must not have
/// operations that are something else in f64 (see canBeWidened).
mlir::LogicalResult evaluate(llvm::ArrayRef<mlir::Value> values, llvm::SmallVectorImpl<mlir::ElementsAttr> &results,
                             bool inDouble = false);

/// Whether `op` means the same in f64 as in f32 but for rounding: arithmetic, data movement, sums and
/// products, without a step from floats to integers or truth values.
bool canBeWidened(mlir::Operation *op);

} // namespace nnopt

#endif
