//===- Pipeline.h - the default pass pipeline -------------------*- C++ -*-===//
#ifndef NNOPT_PASSES_PIPELINE_H
#define NNOPT_PASSES_PIPELINE_H

#include "mlir/Pass/PassManager.h"
#include <string>

namespace nnopt {

/// How far a pipeline goes: to a graph that is best for any runtime (what --emit=onnx writes), or to
/// one with the layouts and fusions of our own kernels.
enum class PipelineEnd { Graph, Target };
/// BF16: what convolutions and matrix products multiply. F16: what f32 tensors are in memory.
enum class Precision { F32, BF16, F16 };

struct PipelineOptions {
  int optLevel = 2; ///< `--opt=LEVEL`: 0 only refines shapes, 2 is everything exact but for what is asked for below
  PipelineEnd end = PipelineEnd::Target;
  Precision precision = Precision::F32;
  /// For kernels of GPUs. Weights of products of 16-bit floats stay in fewer bits, too.
  bool gpu = false;
  /// Whether there are kernels by Winograd's algorithms that are faster in f32 than direct ones in bf16.
  bool winograd = true;
  /// Caches of attention hold 8 bits (pass quantize-kv-cache), at each level: they are inputs and outputs.
  bool byteCache = false;
  /// An input that says which tokens are real: others are not computed (pass pack-tokens). Empty: all are.
  std::string paddingMask;
};
void buildOptimizationPipeline(mlir::OpPassManager &pm, const PipelineOptions &options = {});
/// Registers the pipelines by name for nnopt-opt (`--nnopt-default`).
void registerPipelines();

} // namespace nnopt

#endif
