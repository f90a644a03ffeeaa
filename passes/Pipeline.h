//===- Pipeline.h - the default pass pipeline -------------------*- C++ -*-===//
#ifndef NNOPT_PASSES_PIPELINE_H
#define NNOPT_PASSES_PIPELINE_H

#include "mlir/Pass/PassManager.h"

namespace nnopt {

/// How far a pipeline goes: to a graph that is best for any runtime (what --emit=onnx writes), or to
/// one with the layouts and fusions of our own kernels.
enum class PipelineEnd { Graph, Target };
/// What convolutions and matrix products multiply.
enum class Precision { F32, BF16 };

/// The passes of `--opt=LEVEL`: 0 only refines shapes, 2 is everything exact but for the precision that is asked for.
/// `gpu`: for kernels of GPUs. Weights that are stored in fewer bits than the product has become constants as wide as it,
/// since those read no others, and no convolution is left to Winograd's algorithms.
void buildOptimizationPipeline(mlir::OpPassManager &pm, int optLevel, PipelineEnd end = PipelineEnd::Target,
                               Precision precision = Precision::F32, bool gpu = false);
/// Registers the pipelines by name for nnopt-opt (`--nnopt-default`).
void registerPipelines();

} // namespace nnopt

#endif
