//===- Statistics.h - mean and variance of rows -----------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_STATISTICS_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_STATISTICS_H

#include "lib/codegen/cpu/memory/Vectorize.h"

namespace nnopt::cpu {

/// The vectors for rows of `n` elements of these buffers, computed in `type`.
VectorShape rowShape(Lowering &l, nn::Dim n, mlir::Type type, llvm::ArrayRef<mlir::Type> storage, int64_t unroll);

/// Sum of `term(i, step)` over [0, n).
mlir::Value sumRow(Kernel &k, mlir::Type type, Ix n, VectorShape shape, bool multiple,
                   llvm::function_ref<mlir::Value(Ix i, const Step &)> term);

struct Statistics {
  mlir::Value mean;
  /// 1 / sqrt(variance + epsilon)
  mlir::Value scale;
};
/// Mean and variance of `value(i, step)` over [0, n) in two passes (the variance is that of the
/// differences from the mean).
Statistics rowStatistics(Kernel &k, mlir::Type type, Ix n, VectorShape shape, bool multiple, double epsilon,
                         llvm::function_ref<mlir::Value(Ix i, const Step &)> value);

/// 1 / sqrt(v + epsilon), for scalars and vectors.
mlir::Value inverseRoot(Kernel &k, mlir::Value v, double epsilon);
/// An i64 as a float of `type`.
mlir::Value asFloat(Kernel &k, Ix v, mlir::Type type);

} // namespace nnopt::cpu

#endif
