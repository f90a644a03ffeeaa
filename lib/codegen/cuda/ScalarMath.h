//===- ScalarMath.h - math functions on GPUs --------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_SCALARMATH_H
#define NNOPT_LIB_CODEGEN_CUDA_SCALARMATH_H

#include "mlir/IR/BuiltinOps.h"

namespace nnopt::cuda {

/// Whether a math operation has a form that needs no library on the GPU.
bool hasScalarMath(mlir::Operation *op);

/// Replaces math functions that are no instructions of the GPU by what they expand to.
mlir::LogicalResult expandScalarMath(mlir::ModuleOp kernels);

/// Makes single instructions of the hardware of 2^x, and of the reciprocal in a division with the flag afn. Both take denormals for 0, and
/// give 0 for them; the divisor must be below 2^126, or the quotient as good as 0.
void useInstructions(mlir::ModuleOp kernels);

} // namespace nnopt::cuda

#endif
