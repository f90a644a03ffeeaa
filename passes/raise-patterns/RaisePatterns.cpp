//===- RaisePatterns.cpp - functions that are written out -----------------===//
#include "passes/Passes.h"
#include "passes/raise-patterns/Match.h"


using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_RAISEPATTERNS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

struct RaisePatternsPass : impl::RaisePatternsBase<RaisePatternsPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    RewritePatternSet patterns(&getContext());
    addActivationPatterns(patterns, shapes);
    addNormalizationPatterns(patterns, shapes);
    addGroupNormPatterns(patterns, shapes);
    addRotaryPatterns(patterns, shapes);
    addRearrangementPatterns(patterns, shapes);
    // Producers first: what a product is made of has been recognized before the product is looked
    // at.
    applyShapePatterns(getOperation(), shapes, std::move(patterns), /*topDown=*/true);
    raiseRecurrent(getOperation(), shapes);
    // Of a softmax and products that are recognized by now.
    numAttentions += raiseAttention(getOperation(), shapes);
    nn::refineFunctionType(cast<FunctionOpInterface>(getOperation().getOperation()));
  }
};

} // namespace
} // namespace nnopt
