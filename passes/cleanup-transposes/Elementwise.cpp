//===- Elementwise.cpp - neutral operands, casts, transposes around -------===//
#include "passes/cleanup-transposes/Patterns.h"

using namespace mlir;

namespace nnopt {
namespace {

//===----------------------------------------------------------------------===//
// Neutral operands
//===----------------------------------------------------------------------===//

/// Whether every element of a constant is `value`.
static bool isAll(Value v, double value) {
  if (!isConstant(v) || cast<RankedTensorType>(v.getType()).getNumElements() > 65536)
    return false;
  auto values = numbersOf(v);
  return values && !values->empty() && llvm::all_of(*values, [&](double d) { return d == value; });
}

/// x + 0, x - 0, x * 1, x / 1, x ^ 1. (-0 + 0 is 0, not -0: equal as numbers.)
struct DropNeutral : RewritePattern {
  DropNeutral(MLIRContext *ctx, FuncShapes &shapes)
      : RewritePattern(MatchAnyOpTypeTag(), 1, ctx), shapes(shapes) {}
  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!isa<nn::AddOp, nn::SubOp, nn::MulOp, nn::DivOp, nn::PowOp>(op))
      return failure();
    double neutral = isa<nn::AddOp, nn::SubOp>(op) ? 0 : 1;
    bool commutes = isa<nn::AddOp, nn::MulOp>(op);
    for (unsigned i : {1u, 0u}) {
      if (i == 0 && !commutes)
        break;
      Value x = op->getOperand(1 - i);
      if (!isAll(op->getOperand(i), neutral) || !shapes.sameDims(x, op->getResult(0)) ||
          elementTypeOf(x) != elementTypeOf(op->getResult(0)))
        continue;
      rewriter.replaceOp(op, x);
      return success();
    }
    return failure();
  }
  FuncShapes &shapes;
};

/// Whether every value of `from` is one of `to`.
static bool widens(Type from, Type to) {
  if (auto a = dyn_cast<FloatType>(from), b = dyn_cast<FloatType>(to); a && b)
    return a == b || b.isF64() || (b.isF32() && (a.isF16() || a.isBF16()));
  auto a = dyn_cast<IntegerType>(from);
  if (!a)
    return false;
  // Values of bool are 0 and 1; integers of this dialect without sign are two's complement.
  bool isUnsigned = a.isUnsigned() || a.getWidth() == 1;
  if (auto b = dyn_cast<FloatType>(to))
    return a.getWidth() <= (b.isF64() ? 32u : b.isF32() ? 16u : 0u);
  auto b = dyn_cast<IntegerType>(to);
  if (!b || b.getWidth() == 1)
    return a == b;
  if (b.isUnsigned())
    return isUnsigned && a.getWidth() <= b.getWidth();
  return isUnsigned ? a.getWidth() < b.getWidth() : a.getWidth() <= b.getWidth();
}

/// cast(cast(x)) through a type that has all values of x is one cast: the first one rounds nothing.
struct MergeCasts : OpRewritePattern<nn::CastOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::CastOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getX().getDefiningOp<nn::CastOp>();
    if (!inner)
      return failure();
    Type from = elementTypeOf(inner.getX()), between = elementTypeOf(inner.getResult()), to = elementTypeOf(op.getResult());
    if (!widens(from, between))
      return failure();
    if (from == to) {
      rewriter.replaceOp(op, inner.getX());
      return success();
    }
    // Out of range, floats are cut off where integers wrap around.
    if (isa<IntegerType>(from) && isa<FloatType>(between) && isa<IntegerType>(to) && !widens(from, to) && !to.isInteger(1))
      return failure();
    rewriter.modifyOpInPlace(op, [&] {
      op.getXMutable().assign(inner.getX());
      op->setLoc(fusedLoc({inner, op}));
    });
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Elementwise operations between transposes
//===----------------------------------------------------------------------===//

/// transpose(f(transpose(x), ...)) where the transposes undo each other is f(x, ...), with constants in the order of x.
struct ElementwiseBetweenTransposes : ShapePattern<nn::TransposeOp> {
  using ShapePattern::ShapePattern;
  LogicalResult matchAndRewrite(nn::TransposeOp op, PatternRewriter &rewriter) const override {
    Operation *f = op.getX().getDefiningOp();
    if (!isa_and_nonnull<nn::Elementwise>(f) || f->getNumResults() != 1 || !f->hasOneUse())
      return failure();
    SmallVector<int64_t> undone = invertPermutation(op.getPerm());
    int64_t rank = undone.size();
    bool any = false;
    for (Value v : f->getOperands()) {
      auto inner = v.getDefiningOp<nn::TransposeOp>();
      bool undoes = inner && inner.getPerm() == ArrayRef<int64_t>(undone);
      any |= undoes;
      bool isSmall = isConstant(v) && cast<RankedTensorType>(v.getType()).getNumElements() <= 65536;
      if (!undoes && !(shapes.isOneElement(v) && rankOf(v) <= rank) && !isSmall)
        return failure();
    }
    if (!any)
      return failure();
    SmallVector<Value> operands;
    for (Value v : f->getOperands()) {
      auto inner = v.getDefiningOp<nn::TransposeOp>();
      if (inner && inner.getPerm() == ArrayRef<int64_t>(undone)) {
        operands.push_back(inner.getX());
        continue;
      }
      if (!shapes.isOneElement(v) || rankOf(v) == rank) {
        // Leading dimensions of one element, then the order of x.
        SmallVector<int64_t> shape(rank - rankOf(v), 1);
        shape.append(shapeOf(v).begin(), shapeOf(v).end());
        auto data = nn::ConstantData::get(v);
        if (!data && !shapes.isOneElement(v))
          return failure();
        if (data) {
          std::vector<char> bytes = transposeBytes(data->bytes(), shape, op.getPerm(), nn::elementBytes(elementTypeOf(v)));
          SmallVector<int64_t> moved;
          for (int64_t p : op.getPerm())
            moved.push_back(shape[p]);
          v = nn::ConstantOp::create(rewriter, op.getLoc(),
                                     nn::makeConstant(RankedTensorType::get(moved, elementTypeOf(v)), bytes, "transposed"));
        }
      }
      operands.push_back(v);
    }
    Operation *moved = f->clone();
    moved->setOperands(operands);
    moved->setLoc(fusedLoc({f, op}));
    rewriter.insert(moved);
    if (!shapes.sameDims(moved->getResult(0), op.getResult()))
      return rewriter.eraseOp(moved), failure();
    rewriter.replaceOp(op, moved->getResults());
    return success();
  }
};

} // namespace

void addElementwisePatterns(RewritePatternSet &patterns, FuncShapes &shapes) {
  MLIRContext *ctx = patterns.getContext();
  patterns.add<DropNeutral, ElementwiseBetweenTransposes>(ctx, shapes);
  patterns.add<MergeCasts>(ctx);
}

} // namespace nnopt
