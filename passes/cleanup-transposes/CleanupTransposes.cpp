//===- CleanupTransposes.cpp - transposes and reshapes --------------------===//
#include "passes/Passes.h"
#include "passes/cleanup-transposes/Patterns.h"


using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_CLEANUPTRANSPOSES
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

//===----------------------------------------------------------------------===//
// Transposes
//===----------------------------------------------------------------------===//

/// The order of the dimensions of more than one element does not change: a view.
struct TransposeToReshape : ShapePattern<nn::TransposeOp> {
  using ShapePattern::ShapePattern;
  LogicalResult matchAndRewrite(nn::TransposeOp op, PatternRewriter &rewriter) const override {
    auto dims = shapes.dims(op.getX());
    int64_t lastMoved = -1;
    for (int64_t p : op.getPerm()) {
      if (dims[p].isConst(1))
        continue;
      if (p < lastMoved)
        return failure();
      lastMoved = p;
    }
    // A transpose of the same kind may still cancel it.
    Value result =
        reshapeTo(op.getX(), nn::Dims(shapes.dims(op.getResult())), rewriter, shapes, op.getLoc());
    if (!result)
      return failure();
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// transpose(reshape(x)) where the reshape only inserts or removes dimensions of one element,
/// undone by the transpose up to its own view, is left to the patterns above; here: a matmul
/// operand whose last two dimensions are swapped.
struct TransposeIntoMatMul : OpRewritePattern<nn::MatMulOp> {
  using OpRewritePattern::OpRewritePattern;

  static Value swapped(Value v) {
    auto transpose = v.getDefiningOp<nn::TransposeOp>();
    if (!transpose || transpose.getPerm().size() < 2)
      return {};
    SmallVector<int64_t> perm(transpose.getPerm());
    std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
    return isIdentity(perm) ? transpose.getX() : Value();
  }

  LogicalResult matchAndRewrite(nn::MatMulOp op, PatternRewriter &rewriter) const override {
    // Rank 1 operands are not transposed; the other operand's flag is independent.
    Value a = swapped(op.getA()), b = swapped(op.getB());
    if (!a && !b)
      return failure();
    rewriter.modifyOpInPlace(op, [&] {
      if (a) {
        op.getAMutable().assign(a);
        op.setTransposeA(!op.getTransposeA());
      }
      if (b) {
        op.getBMutable().assign(b);
        op.setTransposeB(!op.getTransposeB());
      }
    });
    return success();
  }
};

/// reshape(transpose(x)) where the transpose swaps the last two dimensions and the reshape keeps them:
/// transpose(reshape(x)). The transpose comes next to the matrix product that can absorb it (exporters merge
/// batch and heads for the transpose of the keys alone).
struct ReshapeOfSwapped : ShapePattern<nn::ReshapeOp> {
  using ShapePattern::ShapePattern;
  LogicalResult matchAndRewrite(nn::ReshapeOp op, PatternRewriter &rewriter) const override {
    auto transpose = op.getX().getDefiningOp<nn::TransposeOp>();
    auto to = shapes.dims(op.getResult());
    if (!transpose || !transpose->hasOneUse() || transpose.getPerm().size() < 2 || to.size() < 2 ||
        shapes.dims(op.getX()).take_back(2) != to.take_back(2))
      return failure();
    SmallVector<int64_t> perm(transpose.getPerm());
    std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
    if (!isIdentity(perm))
      return failure();
    nn::Dims before(to);
    std::swap(before[before.size() - 1], before[before.size() - 2]);
    Value reshaped = reshapeTo(transpose.getX(), before, rewriter, shapes, op.getLoc());
    SmallVector<int64_t> swap = llvm::to_vector(llvm::seq<int64_t>(0, to.size()));
    std::swap(swap[swap.size() - 1], swap[swap.size() - 2]);
    if (!reshaped && op.getAllowZero()) {
      // The same sizes in the other order.
      Value sizes = nn::GatherOp::create(rewriter, op.getLoc(), untyped(elementTypeOf(op.getShape())), op.getShape(),
                                         makeIntsOp(rewriter, op.getLoc(), swap), rewriter.getI64IntegerAttr(0));
      reshaped = nn::ReshapeOp::create(rewriter, op.getLoc(), untyped(elementTypeOf(op.getX())), transpose.getX(),
                                       sizes, op.getAllowZeroAttr());
    }
    if (!reshaped || shapes.dims(reshaped) != ArrayRef<nn::Dim>(before))
      return failure();
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, op.getType(), reshaped, rewriter.getDenseI64ArrayAttr(swap));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Reshapes
//===----------------------------------------------------------------------===//

static bool isReshape(Operation *op) {
  return isa_and_nonnull<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(op);
}

/// Only the last shape of a chain of reshapes counts.
struct MergeReshapes : RewritePattern {
  MergeReshapes(MLIRContext *ctx, FuncShapes &shapes)
      : RewritePattern(MatchAnyOpTypeTag(), 1, ctx), shapes(shapes) {}
  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!isReshape(op))
      return failure();
    Operation *inner = op->getOperand(0).getDefiningOp();
    bool chain = isReshape(inner);
    Value x = chain ? inner->getOperand(0) : op->getOperand(0);
    if (!chain && !shapes.sameDims(x, op->getResult(0)))
      return failure();
    Value result =
        reshapeTo(x, nn::Dims(shapes.dims(op->getResult(0))), rewriter, shapes, op->getLoc());
    if (!result)
      return failure();
    rewriter.replaceOp(op, result);
    return success();
  }
  FuncShapes &shapes;
};

/// reshape(transpose(reshape(x))), where the reshapes merge leading dimensions and split them again, and the
/// transpose swaps the last two.
struct SwapBetweenReshapes : ShapePattern<nn::ReshapeOp> {
  using ShapePattern::ShapePattern;
  LogicalResult matchAndRewrite(nn::ReshapeOp op, PatternRewriter &rewriter) const override {
    auto transpose = op.getX().getDefiningOp<nn::TransposeOp>();
    Operation *merge = transpose ? transpose.getX().getDefiningOp() : nullptr;
    if (!isReshape(merge) || rankOf(transpose.getX()) < 2)
      return failure();
    auto swapped = [](int64_t rank) {
      SmallVector<int64_t> perm = llvm::to_vector(llvm::seq<int64_t>(0, rank));
      std::swap(perm[rank - 1], perm[rank - 2]);
      return perm;
    };
    Value x = merge->getOperand(0);
    auto from = shapes.dims(x), to = shapes.dims(op.getResult());
    if (from.size() < 2 || from.size() != to.size() || from.drop_back(2) != to.drop_back(2) ||
        from.take_back(2) != shapes.dims(transpose.getX()).take_back(2) ||
        to.take_back(2) != shapes.dims(transpose.getResult()).take_back(2) ||
        transpose.getPerm() != ArrayRef<int64_t>(swapped(rankOf(transpose.getX()))))
      return failure();
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, op.getType(), x, rewriter.getDenseI64ArrayAttr(swapped(from.size())));
    return success();
  }
};

/// reshape(matmul(reshape(x), w)): with x of [d..., K] and a result of [d..., N] the reshapes only
/// number the rows differently.
struct MatMulOfRows : ShapePattern<nn::ReshapeOp> {
  using ShapePattern::ShapePattern;
  LogicalResult matchAndRewrite(nn::ReshapeOp op, PatternRewriter &rewriter) const override {
    auto matmul = op.getX().getDefiningOp<nn::MatMulOp>();
    if (!matmul || !matmul->hasOneUse() || matmul.getTransposeA() || rankOf(matmul.getB()) != 2 ||
        rankOf(matmul.getA()) != 2 || !matmul.getEpilogue().empty() ||
        (matmul.getAZero() && rankOf(matmul.getAZero()) != 0)) // one for each row
      return failure();
    Operation *inner = matmul.getA().getDefiningOp();
    if (!isReshape(inner))
      return failure();
    Value x = inner->getOperand(0);
    auto from = shapes.dims(x), to = shapes.dims(op.getResult());
    if (from.size() < 2 || from.size() != to.size() || from.drop_back() != to.drop_back() ||
        from.back() != shapes.dims(matmul.getA()).back() ||
        to.back() != shapes.dims(matmul.getResult()).back())
      return failure();
    auto rows = nn::MatMulOp::create(rewriter, fusedLoc({matmul, op}), op.getType(), x,
                                     matmul.getB(), matmul.getBias(), matmul.getAZero(),
                                     matmul.getBZero(), ValueRange(), UnitAttr(),
                                     matmul.getTransposeBAttr());
    rewriter.replaceOp(op, rows.getResult());
    return success();
  }
};

/// The operand of an elementwise operation on a reshaped value, for the value before: numbers, and
/// vectors along the last dimension where both shapes end in it. Null where it does not carry over.
static Value operandBeforeReshape(Value v, Value x, FuncShapes &shapes) {
  if (shapes.isOneElement(v) && rankOf(v) <= rankOf(x))
    return v;
  auto dims = shapes.dims(v);
  bool isVector = dims.size() == 1 && dims.back() == shapes.dims(x).back();
  return isVector ? v : Value();
}

/// elementwise(reshape(matmul), c): the elementwise operation moves before the reshape, where it
/// can become part of the contraction.
struct ElementwiseBeforeReshape : RewritePattern {
  ElementwiseBeforeReshape(MLIRContext *ctx, FuncShapes &shapes)
      : RewritePattern(MatchAnyOpTypeTag(), 1, ctx), shapes(shapes) {}
  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!isa<nn::Elementwise>(op) || op->getNumResults() != 1)
      return failure();
    Operation *reshape = nullptr;
    for (Value v : op->getOperands())
      if (isReshape(v.getDefiningOp()) &&
          isa_and_nonnull<nn::LinearOp>(v.getDefiningOp()->getOperand(0).getDefiningOp()))
        reshape = v.getDefiningOp();
    if (!reshape || !reshape->hasOneUse() || !reshape->getOperand(0).hasOneUse() ||
        !shapes.sameDims(reshape->getResult(0), op->getResult(0)))
      return failure();
    Value x = reshape->getOperand(0);
    auto from = shapes.dims(x), to = shapes.dims(op->getResult(0));
    bool sameLast = !from.empty() && !to.empty() && from.back() == to.back();
    SmallVector<Value> operands;
    for (Value v : op->getOperands()) {
      Value before = v == reshape->getResult(0) ? x : operandBeforeReshape(v, x, shapes);
      if (!before || (before != x && !shapes.isOneElement(before) && !sameLast))
        return failure();
      operands.push_back(before);
    }
    Operation *moved = op->clone();
    moved->setOperands(operands);
    rewriter.insert(moved);
    if (!shapes.sameDims(moved->getResult(0), x))
      return rewriter.eraseOp(moved), failure();
    Value result =
        reshapeTo(moved->getResult(0), nn::Dims(to), rewriter, shapes, reshape->getLoc());
    if (!result)
      return rewriter.eraseOp(moved), failure();
    rewriter.replaceOp(op, result);
    return success();
  }
  FuncShapes &shapes;
};

struct CleanupTransposesPass : impl::CleanupTransposesBase<CleanupTransposesPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    MLIRContext *ctx = &getContext();
    RewritePatternSet patterns(ctx);
    patterns.add<TransposeToReshape, ReshapeOfSwapped, SwapBetweenReshapes, MatMulOfRows, MergeReshapes,
                 ElementwiseBeforeReshape>(ctx, shapes);
    patterns.add<TransposeIntoMatMul>(ctx);
    addElementwisePatterns(patterns, shapes);
    applyShapePatterns(getOperation(), shapes, std::move(patterns));
    nn::refineFunctionType(cast<FunctionOpInterface>(getOperation().getOperation()));
  }
};

} // namespace
} // namespace nnopt
