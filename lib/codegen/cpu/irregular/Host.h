//===- Host.h - operations of the host library ------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_IRREGULAR_HOST_H
#define NNOPT_LIB_CODEGEN_CPU_IRREGULAR_HOST_H

#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// Calls the library: operands that are numbers in memory are boxed first, results unboxed; sizes that
/// depend on data become known here.
mlir::LogicalResult emitHostCall(mlir::Operation *op, Lowering &lowering);
/// A tensor of strings from the artifact.
mlir::LogicalResult emitStringConstant(nn::ConstantOp op, Lowering &lowering);
/// A host buffer for a value that is not in the graph.
uint32_t newHostBuffer(Lowering &lowering);

} // namespace nnopt::cpu

#endif
