//===- Pipeline.cpp - the default pass pipeline -----------------------------===//

#include "passes/Pipeline.h"
#include "passes/Passes.h"
#include "mlir/Pass/PassRegistry.h"

using namespace mlir;

namespace nnopt {

void buildOptimizationPipeline(OpPassManager &pm, int optLevel) {
  if (optLevel == 0)
    return;
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void registerPipelines() {
  PassPipelineRegistration<>("nnopt-default", "The passes of --opt=2",
                             [](OpPassManager &pm) { buildOptimizationPipeline(pm, 2); });
}

} // namespace nnopt
