//===- ReorderResampling.cpp - pointwise work where there are fewer elements ===//
#include "passes/Passes.h"
#include "passes/reorder-resampling/Rules.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_REORDERRESAMPLING
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "reorder-resampling";

/// What stands for the result of `op` by the first rule that applies.
Value rewrite(Operation *op, resampling::Rewriter &r) {
  using namespace resampling;
  Value with;
  if (isa<nn::AvgPoolOp, nn::ReduceOp>(op) && (with = poolBeforeConv(op, r)))
    return with;
  if (isa<nn::AvgPoolOp, nn::MaxPoolOp>(op) && (with = reduceWholeWindow(op, r)))
    return with;
  if (auto conv = dyn_cast<nn::ConvOp>(op)) {
    with = isPointwise(conv) ? convBeforeResize(conv, r) : transposedConv(conv, r);
    return with;
  }
  if ((with = moveOverMaxPool(op, r)))
    return with;
  return elementwiseBeforeResize(op, r);
}

struct ReorderResamplingPass : impl::ReorderResamplingBase<ReorderResamplingPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<std::pair<Location, std::string>> refused;
    // What has moved may meet the next one: again, until nothing moves.
    for (bool changed = true; changed;) {
      changed = false;
      refused.clear();
      SmallVector<Operation *> ops;
      getOperation().walk([&](Operation *op) {
        if (isa<nn::ConvOp, nn::AvgPoolOp, nn::MaxPoolOp, nn::ReduceOp, nn::Elementwise>(op))
          ops.push_back(op);
      });
      for (Operation *op : ops) {
        resampling::Rewriter r{rewriter, shapes, ""};
        Value with = op->use_empty() ? Value() : rewrite(op, r);
        if (with && shapes.sameDims(with, op->getResult(0))) {
          passedRemark(op->getLoc(), kPass, "moved") << remark::add("{0}", op->getName().getStringRef().str());
          rewriter.replaceAllUsesWith(op->getResult(0), with);
          changed = true;
          ++numMoved;
        } else if (!r.why.empty()) {
          refused.push_back({op->getLoc(), r.why});
        }
      }
      // Nothing that a later rule looks at may have a user that is dead.
      eraseDeadOps(getOperation(), rewriter);
    }
    for (auto &[loc, why] : refused)
      missedRemark(loc, kPass, "kept") << remark::reason("{0}", why);
    nn::refineFunctionType(cast<FunctionOpInterface>(getOperation().getOperation()));
  }
};

} // namespace
} // namespace nnopt
