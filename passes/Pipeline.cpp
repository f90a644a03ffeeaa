//===- Pipeline.cpp - the default pass pipeline -----------------------------===//

#include "passes/Pipeline.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nnopt {

/// Finds attention in a graph as it was imported, and makes its caches 8 bits.
static void addByteCache(OpPassManager &func) {
  func.addPass(createFoldShapes());
  func.addPass(createCanonicalizerPass());
  func.addPass(createCSEPass());
  func.addPass(createCleanupTransposes());
  func.addPass(createFoldConstants());
  func.addPass(createRaisePatterns());
  func.addPass(createQuantizeKVCache({/*required=*/true}));
}

void buildOptimizationPipeline(OpPassManager &pm, const PipelineOptions &options) {
  PipelineEnd end = options.end;
  OpPassManager &func = pm.nest<func::FuncOp>();
  if (options.optLevel == 0) {
    func.addPass(createInferShapes());
    if (options.byteCache)
      addByteCache(func);
    return;
  }
  // All rewrites are for f32: what is f16 in the model becomes f16 again at the end.
  if (options.precision == Precision::F16)
    func.addPass(createWidenF16());
  // Why the whole ends, and may be repeated: each pass is a finite list of rewrites, or patterns that are applied
  // until none matches, and none undoes what another one does. Clean-up patterns make operations fewer (or move an
  // elementwise operation, a transpose or a reshape in one fixed direction); raising replaces several operations by
  // one that no pattern takes apart; fusion moves operations into regions, from where they do not come back.
  //
  // Shapes first: the passes behind ask whether dimensions are equal, and shape arithmetic would
  // count as a user of the values it measures.
  func.addPass(createUnrollLoops());
  func.addPass(createFoldShapes());
  func.addPass(createCanonicalizerPass());
  func.addPass(createCSEPass());
  // Before constants fold: a transposed weight becomes a flag of its matmul, not another weight.
  func.addPass(createCleanupTransposes());
  // Weights stay integers until the operations that read them have had their chance; in a graph for other tools
  // they stay what they are.
  FoldConstantsOptions keepsQuantized, folds;
  keepsQuantized.keepDequantize = true;
  keepsQuantized.keepNarrow16Bit = folds.keepNarrow16Bit = options.gpu;
  func.addPass(createFoldConstants(keepsQuantized));
  if (end != PipelineEnd::Graph) {
    func.addPass(createRaiseQuantized());
    func.addPass(createFoldConstants(folds));
  }
  func.addPass(createRaisePatterns());
  // Behind patterns, which know how exporters take rows apart; before maps of channels meet convolutions.
  func.addPass(createCleanupSlices());
  // Weights are rewritten before anything depends on their layout. Normalizations first: branches
  // are convolutions then; chains after branches: a merged sum is one link; shifts and scales that
  // were behind a sum or a chain last. Each of the four is a list of rewrites that is walked once,
  // and each rewrite makes (batch normalizations, multiply-adds of linear operations, operations)
  // smaller in lexicographic order, so that any repetition of them ends: a fold removes the
  // operations of a map (and a normalization that folds nowhere becomes two operations, once); a
  // merge replaces several operations by one that takes no more multiply-adds. Running them a
  // second time changes nothing in the networks that are tested (test/passes/counts.py).
  func.addPass(createFoldBatchNorm());
  func.addPass(createMergeParallelConvs());
  // Behind branches, which may end in pooling; before chains, which would make one convolution of a product and a mean.
  func.addPass(createReorderResampling());
  func.addPass(createMergeSequentialLinear());
  // Behind chains, which merge what is smaller merged.
  func.addPass(createFactorizeLowRank());
  func.addPass(createRemoveReluUnits());
  // Each round makes tensors smaller.
  func.addPass(createRemoveDeadChannels());
  func.addPass(createFoldLinearBias());
  func.addPass(createFoldPad());
  FoldNormAffineOptions normAffine;
  normAffine.center = end != PipelineEnd::Graph; // Others have fast kernels for LayerNormalization.
  func.addPass(createFoldNormAffine(normAffine));
  func.addPass(createMergeConstants());
  func.addPass(createCSEPass());
  // ONNX has no grouped product.
  if (end != PipelineEnd::Graph)
    func.addPass(createGroupExperts());
  // Behind the mixtures, whose tokens must not be taken apart. It makes operations smaller, never more.
  func.addPass(createHoistSlices());
  // Behind what is computed for one token only.
  if (!options.paddingMask.empty()) {
    PackTokensOptions packTokens;
    packTokens.mask = options.paddingMask;
    func.addPass(createPackTokens(packTokens));
  }
  // Behind all that looks for attention and its operands.
  if (options.byteCache)
    func.addPass(createQuantizeKVCache({/*required=*/true}));
  if (end == PipelineEnd::Graph) {
    func.addPass(createCanonicalizerPass());
    func.addPass(createCSEPass());
    return;
  }
  func.addPass(createMergeSharedInput());
  func.addPass(createConvertLayout());
  func.addPass(createCSEPass());
  func.addPass(createCleanupTransposes());
  NarrowToBf16Options narrow;
  narrow.markedOnly = options.precision != Precision::BF16;
  narrow.winograd = options.winograd;
  func.addPass(createNarrowToBf16(narrow));
  func.addPass(createCSEPass());
  func.addPass(createFoldConstants(folds));
  func.addPass(createFuseEpilogue());
  func.addPass(createFuseElementwise());
  if (options.precision == Precision::F16)
    func.addPass(createNarrowToF16());
  func.addPass(createCanonicalizerPass());
  func.addPass(createCSEPass());
}

void registerPipelines() {
  PassPipelineRegistration<>("nnopt-default", "The passes of --opt=2",
                             [](OpPassManager &pm) { buildOptimizationPipeline(pm); });
  PassPipelineRegistration<>("nnopt-graph", "The passes of --opt=2 before layouts and fusion: those of --emit=onnx",
                             [](OpPassManager &pm) {
                               PipelineOptions graph;
                               graph.end = PipelineEnd::Graph;
                               buildOptimizationPipeline(pm, graph);
                             });
}

} // namespace nnopt
