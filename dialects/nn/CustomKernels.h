//===- CustomKernels.h - what is known of kernels from outside --*- C++ -*-===//
#ifndef NNOPT_DIALECTS_NN_CUSTOMKERNELS_H
#define NNOPT_DIALECTS_NN_CUSTOMKERNELS_H

#include "dialects/nn/NN.h"

namespace nnopt::nn {

/// Sets element type and dimensions of every result (ctx.set); fails after a diagnostic on `op`.
using CustomShapeFunction = mlir::LogicalResult (*)(CustomOp op, ShapeContext &ctx);

/// Makes `nn.custom` operations with this `kernel` known to the compiler. Plugins call it when they
/// are loaded; a later registration of a name replaces the earlier one.
void registerCustomKernel(llvm::StringRef kernel, CustomShapeFunction shapes);

} // namespace nnopt::nn

#endif
