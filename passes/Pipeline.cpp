//===- Pipeline.cpp - the default pass pipeline -----------------------------===//

#include "passes/Pipeline.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nnopt {

void buildOptimizationPipeline(OpPassManager &pm, int optLevel) {
  OpPassManager &func = pm.nest<func::FuncOp>();
  if (optLevel == 0) {
    func.addPass(createInferShapes());
    return;
  }
  // Shapes first: the passes behind ask whether dimensions are equal, and shape arithmetic would
  // count as a user of the values it measures.
  func.addPass(createFoldShapes());
  func.addPass(createCanonicalizerPass());
  func.addPass(createCSEPass());
  // Before constants fold: a transposed weight becomes a flag of its matmul, not another weight.
  func.addPass(createCleanupTransposes());
  func.addPass(createFoldConstants());
  func.addPass(createRaisePatterns());
  // Weights are rewritten before anything depends on their layout.
  func.addPass(createFoldBatchNorm());
  func.addPass(createFoldLinearBias());
  func.addPass(createConvertLayout());
  func.addPass(createCSEPass());
  func.addPass(createCleanupTransposes());
  func.addPass(createFoldConstants());
  func.addPass(createFuseEpilogue());
  func.addPass(createFuseElementwise());
  func.addPass(createCanonicalizerPass());
  func.addPass(createCSEPass());
}

void registerPipelines() {
  PassPipelineRegistration<>("nnopt-default", "The passes of --opt=2",
                             [](OpPassManager &pm) { buildOptimizationPipeline(pm, 2); });
}

} // namespace nnopt
