//===- MergeRelus.cpp - a pass in a plugin ----------------------------------===//
//
// relu(relu(x)) is relu(x): exact for every x, NaN included. See docs/writing-a-pass.md.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace {

struct MergeRelus : OpRewritePattern<nnopt::nn::ReluOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(nnopt::nn::ReluOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getX().getDefiningOp<nnopt::nn::ReluOp>();
    if (!inner)
      return rewriter.notifyMatchFailure(op, "its operand is not a relu");
    // The name of the ONNX node that went away stays in the location.
    rewriter.modifyOpInPlace(inner, [&] { inner->setLoc(rewriter.getFusedLoc({inner.getLoc(), op.getLoc()})); });
    rewriter.replaceOp(op, inner.getResult());
    return success();
  }
};

struct MergeRelusPass : PassWrapper<MergeRelusPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(MergeRelusPass)
  StringRef getArgument() const final { return "merge-relus"; }
  StringRef getDescription() const final { return "Merge a relu into the relu before it"; }
  void runOnOperation() final {
    RewritePatternSet patterns(&getContext());
    patterns.add<MergeRelus>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

extern "C" LLVM_ATTRIBUTE_WEAK PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "MergeRelus", "1", [] { PassRegistration<MergeRelusPass>(); }};
}
