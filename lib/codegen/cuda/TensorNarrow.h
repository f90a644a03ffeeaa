//===- TensorNarrow.h - weights in fewer bits on tensor cores ---*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_TENSORNARROW_H
#define NNOPT_LIB_CODEGEN_CUDA_TENSORNARROW_H

#include "dialects/nn/NarrowWeights.h"
#include "lib/codegen/cuda/TensorContraction.h"

namespace nnopt::cuda {

/// Whether tensor cores can multiply the rows with these weights, which registers widen to the rows' type.
bool isForTensorCores(nn::MatMulOp op, Lowering &l, const nn::NarrowWeights &weights);

/// Emits that, launched if `when` is 1 (and not if it is 0).
mlir::LogicalResult emitNarrowOnTensorCores(nn::MatMulOp op, Lowering &l, const nn::NarrowWeights &weights, nn::Dim when);

} // namespace nnopt::cuda

#endif
