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

} // namespace nnopt::onnx

#endif
