//===- DataSizes.h - result sizes that depend on data -----------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_IRREGULAR_DATASIZES_H
#define NNOPT_LIB_CODEGEN_CPU_IRREGULAR_DATASIZES_H

#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// Gives sizes of the results of `op` that depend on the contents of its operands (the shape of a
/// reshape, the ends of a slice, ...) their values at run time, before `op` is lowered. Operations
/// with nothing to define are left alone; those whose sizes only their own emitter can find out
/// (nn.non_zero, control flow, ...) define them there.
mlir::LogicalResult defineDataSizes(mlir::Operation *op, Lowering &lowering);

} // namespace nnopt::cpu

#endif
