//===- Pipeline.h - the default pass pipeline -------------------*- C++ -*-===//
#ifndef NNOPT_PASSES_PIPELINE_H
#define NNOPT_PASSES_PIPELINE_H

#include "mlir/Pass/PassManager.h"

namespace nnopt {

/// The passes of `--opt=LEVEL`: 0 only refines shapes, 2 is everything exact.
void buildOptimizationPipeline(mlir::OpPassManager &pm, int optLevel);
/// Registers the pipelines by name for nnopt-opt (`--nnopt-default`).
void registerPipelines();

} // namespace nnopt

#endif
