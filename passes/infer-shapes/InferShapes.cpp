//===- InferShapes.cpp - result types from the shape functions ------------===//
#include "passes/Passes.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_INFERSHAPES
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

std::string listOf(ArrayRef<nn::Dim> dims) {
  std::string text;
  for (nn::Dim d : dims)
    text += (text.empty() ? "" : ", ") + d.str();
  return "[" + text + "]";
}

struct InferShapesPass : impl::InferShapesBase<InferShapesPass> {
  using InferShapesBase::InferShapesBase;

  /// Remarks on the facts about the results of op: `[batch, 4] = (batch, ...)`.
  void report(Operation *op, nn::ShapeContext &ctx) {
    if (op->getNumResults() == 0)
      return;
    std::string text;
    for (Value result : op->getResults()) {
      const nn::ValueInfo &info = ctx.info(result);
      text += (text.empty() ? "" : "; ") + listOf(info.dims);
      if (info.content)
        text += " = " + listOf(*info.content);
    }
    op->emitRemark(text);
  }

  void runOnOperation() override {
    nn::DimContext dims;
    nn::ShapeContext ctx(dims);
    if (failed(ctx.inferRegion(getOperation().getFunctionBody())))
      return signalPassFailure();
    nn::refineFunctionType(getOperation());
    if (!show)
      return;
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<nn::ShapeFunction>(op) && !isa<nn::ConstantOp>(op))
        report(op, ctx);
    });
  }
};

} // namespace
} // namespace nnopt
