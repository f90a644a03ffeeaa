//===- Gemv.h - products with a vector, a warp a result ---------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_GEMV_H
#define NNOPT_LIB_CODEGEN_CUDA_GEMV_H

#include "lib/codegen/cuda/Kernel.h"

namespace nnopt::cuda {

/// Neighbouring elements that a lane loads of rows of `n` elements of these values, each beginning at a multiple of n.
int64_t rowLanes(Lowering &l, llvm::ArrayRef<mlir::Value> values, nn::Dim n);

/// acc + a[aRow + i] * b[bRow + i] summed over this lane's i < n; the lanes of a warp together have all i.
mlir::Value laneProduct(Kernel &k, const Buffer &a, Ix aRow, const Buffer &b, Ix bRow, nn::Dim n, int64_t lanes, mlir::Value acc);

/// The sum of all lanes of the warp, in all of them.
mlir::Value sumOfWarp(Kernel &k, mlir::Value v);

} // namespace nnopt::cuda

#endif
