//===- ScalarMath.h - math functions on GPUs --------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_SCALARMATH_H
#define NNOPT_LIB_CODEGEN_CUDA_SCALARMATH_H

#include "mlir/IR/BuiltinOps.h"

namespace nnopt::cuda {

/// Whether a math operation has a form that needs no library on the GPU.
bool hasScalarMath(mlir::Operation *op);

/// Replaces math functions that are no instructions of the GPU by what they expand to.
mlir::LogicalResult expandScalarMath(mlir::ModuleOp kernels);

} // namespace nnopt::cuda

#endif
