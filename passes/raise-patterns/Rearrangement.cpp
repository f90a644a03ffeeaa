//===- Rearrangement.cpp - pixel shuffle by reshape and transpose ---------===//
#include "passes/raise-patterns/Match.h"

using namespace mlir;

namespace nnopt {
namespace {

/// reshape [N, b, b, C, H, W] (or [N, C, b, b, H, W]), transpose to [N, C, H, b, W, b], reshape
/// [N, C, H b, W b]: depth_to_space (Shi et al. 2016, equation 4).
struct RaisePixelShuffle : RaisePattern<nn::ReshapeOp> {
  using RaisePattern::RaisePattern;
  LogicalResult matchAndRewrite(nn::ReshapeOp op, PatternRewriter &rewriter) const override {
    auto transpose = op.getX().getDefiningOp<nn::TransposeOp>();
    auto split = transpose ? transpose.getX().getDefiningOp<nn::ReshapeOp>() : nn::ReshapeOp();
    if (!split || !transpose->hasOneUse() || transpose.getPerm().size() != 6)
      return failure();
    ArrayRef<int64_t> perm = transpose.getPerm();
    bool crd = perm == ArrayRef<int64_t>{0, 1, 4, 2, 5, 3};
    if (!crd && perm != ArrayRef<int64_t>{0, 3, 4, 1, 5, 2})
      return failure();
    auto x = shapes.dims(split.getX()), parts = shapes.dims(split.getResult()), y = shapes.dims(op.getResult());
    unsigned c = crd ? 1 : 3, b0 = crd ? 2 : 1, b1 = crd ? 3 : 2;
    if (x.size() != 4 || y.size() != 4 || !parts[b0].isConst() || parts[b0] != parts[b1])
      return failure();
    nn::Dim b = parts[b0];
    if (x[0] != parts[0] || x[1] != parts[c] * b * b || x[2] != parts[4] || x[3] != parts[5] || y[0] != x[0] ||
        y[1] != parts[c] || y[2] != x[2] * b || y[3] != x[3] * b)
      return failure();
    Value raised = nn::DepthToSpaceOp::create(rewriter, fusedLoc({split, transpose, op}), op.getType(), split.getX(),
                                              rewriter.getI64IntegerAttr(b.value()),
                                              crd ? rewriter.getUnitAttr() : UnitAttr());
    replaceRaised(rewriter, op, raised);
    return success();
  }
};

} // namespace

void addRearrangementPatterns(RewritePatternSet &patterns, FuncShapes &shapes) {
  patterns.add<RaisePixelShuffle>(patterns.getContext(), shapes);
}

} // namespace nnopt
