//===- Conv.h - convolution by register tiles -------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_CONV_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_CONV_H

#include "lib/codegen/cpu/contraction/ConvShape.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"

namespace nnopt::cpu {

/// Emits the convolution that `shape` describes. Weight (g, n, t, c) of group, output channel, tap
/// and input channel lies at g * groupStride + n * columnStride + tap position + c * channelStride;
/// where the shape has several phases, g is the phase.
mlir::LogicalResult emitTiledConv(nn::LinearOp op, Lowering &lowering, const ConvShape &shape, int64_t groupStride,
                                  int64_t columnStride, int64_t channelStride, llvm::StringRef name);

/// Channels last, f32 or f64 throughout, constant weights.
bool isFastConv(mlir::Operation *op, Lowering &lowering, mlir::Value x, mlir::Value w, mlir::Value bias,
                bool channelsLast);

/// Channels last, f32 throughout, weights of known shape that are no constant: each run packs them.
bool canPackAtRunTime(nn::ConvOp op, Lowering &lowering);

/// Packs weights that are known at run time only as packPanels() packs constant ones: a launch of its own, a task for each
/// group.
TempTensor packAtRunTime(nn::LinearOp op, Lowering &lowering, const PanelSource &source, const Tile &tile, mlir::Type element);

/// Whether a convolution and a depthwise one that reads it, of which `op` is one, may be one launch.
bool mayBePaired(nn::ConvOp op);

/// Estimated time of Winograd's algorithm relative to direct convolution, weights in cache; 1 where it is not used.
double winogradRatio(nn::ConvOp op, Lowering &lowering);

} // namespace nnopt::cpu

#endif
