//===- Work.h - arithmetic of an operation ----------------------*- C++ -*-===//
#ifndef NNOPT_LIB_REPORT_WORK_H
#define NNOPT_LIB_REPORT_WORK_H

#include "dialects/nn/ShapeInference.h"

namespace nnopt::report {

/// Multiply-accumulates of a convolution, matrix product, einsum, attention or recurrent cell as
/// the graph states them, before any fast algorithm; null for other operations.
nn::Dim multiplyAccumulates(mlir::Operation *op, nn::ShapeContext &shapes);

} // namespace nnopt::report

#endif
