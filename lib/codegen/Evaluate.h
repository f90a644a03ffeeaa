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
mlir::LogicalResult evaluate(llvm::ArrayRef<mlir::Value> values, llvm::SmallVectorImpl<mlir::ElementsAttr> &results);

} // namespace nnopt

#endif
