//===- Contraction.h - products that several rules share --------*- C++ -*-===//
#ifndef NNOPT_FRONTEND_ONNX_OPS_CONTRACTION_H
#define NNOPT_FRONTEND_ONNX_OPS_CONTRACTION_H

#include "lib/frontend/onnx/Importer.h"

namespace nnopt::onnx {

/// The node's first three operands and attributes as those of Gemm.
Value gemm(Node &n);

/// The convolution of x with `weight` by the node's attributes, those of Conv. Zero points belong to
/// integer operands.
Value convolution(Node &n, Value x, Value weight, Value bias, Value xZero = {}, Value wZero = {});

// ConvolutionGeneral.cpp: kernels whose size is not known when compiling.
/// Convolution by the node's attributes, but with `groups` (i64 [1]) groups; as above.
Value generalConvolution(Node &n, Value x, Value weight, Value bias, Value xZero, Value wZero, Value groups);
/// ConvTranspose by the node's attributes.
Value generalConvTranspose(Node &n, Value x, Value weight, Value bias, int64_t group);
/// The result of a transposed convolution without padding, cut and extended to the spatial sizes of `shape` (i64 [1]
/// each) as auto_pad says: what is too much goes from both ends, what is missing is added behind.
Value fitTransposed(Node &n, Value y, llvm::ArrayRef<Value> shape, llvm::ArrayRef<int64_t> outputPadding);
/// y plus one number for each channel, its dimension 1; y itself without bias.
Value addBias(Node &n, Value y, Value bias);

} // namespace nnopt::onnx

#endif
