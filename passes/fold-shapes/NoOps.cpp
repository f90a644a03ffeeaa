//===- NoOps.cpp - operations that give back their operand ----------------===//
#include "passes/fold-shapes/ShapeArithmetic.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nnopt {

using nn::Dim;

static bool isReshape(Operation *op) {
  return isa_and_nonnull<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(op);
}

/// `x` as another shape: itself, or a reshape with a constant target; null where there is none.
static Value reshapeTo(Value x, Value like, RewriterBase &rewriter, FuncShapes &shapes,
                       Location loc) {
  if (shapes.sameDims(x, like))
    return x;
  auto target = reshapeOperand(shapes.dims(x), shapes.dims(like));
  if (!target)
    return {};
  Value shape = makeIntsOp(rewriter, loc, *target);
  Value result =
      nn::ReshapeOp::create(rewriter, loc, untyped(elementTypeOf(x)), x, shape, UnitAttr());
  if (shapes.sameDims(result, like))
    return result;
  rewriter.eraseOp(result.getDefiningOp());
  rewriter.eraseOp(shape.getDefiningOp());
  return {};
}

/// Reshapes look at the elements only, so that of a chain the last target counts.
static Value simplifyReshape(Operation *op, RewriterBase &rewriter, FuncShapes &shapes) {
  Operation *inner = op->getOperand(0).getDefiningOp();
  if (!isReshape(inner))
    return {};
  while (isReshape(inner->getOperand(0).getDefiningOp()))
    inner = inner->getOperand(0).getDefiningOp();
  return reshapeTo(inner->getOperand(0), op->getResult(0), rewriter, shapes, op->getLoc());
}

/// Inputs without elements do not take part.
static Value simplifyConcat(nn::ConcatOp op, RewriterBase &rewriter, FuncShapes &shapes) {
  SmallVector<Value> inputs;
  for (Value v : op.getInputs())
    if (!shapes.dims(v)[op.getAxis()].isConst(0))
      inputs.push_back(v);
  if (inputs.size() == 1)
    return inputs[0];
  if (inputs.empty() || inputs.size() == op.getInputs().size())
    return {};
  return nn::ConcatOp::create(rewriter, op.getLoc(), op.getType(), inputs, op.getAxisAttr());
}

static bool isAll(std::optional<SmallVector<int64_t>> values, int64_t expected) {
  return values && llvm::all_of(*values, [&](int64_t v) { return v == expected; });
}

/// where with a condition known to be the same everywhere.
static Value simplifyWhere(nn::WhereOp op, FuncShapes &shapes) {
  auto condition = shapes.ctx.constantContent(op.getCondition());
  if (!condition || condition->empty())
    return {};
  if (isAll(condition, 0))
    return shapes.sameDims(op.getY(), op.getResult()) ? op.getY() : Value();
  if (isAll(condition, 1))
    return shapes.sameDims(op.getX(), op.getResult()) ? op.getX() : Value();
  return {};
}

/// A reduction over dimensions of one element is its operand under another shape.
static Value simplifyReduce(nn::ReduceOp op, RewriterBase &rewriter, FuncShapes &shapes) {
  using nn::ReduceKind;
  if (op.getDynamicAxes() ||
      !llvm::is_contained(
          {ReduceKind::sum, ReduceKind::mean, ReduceKind::max, ReduceKind::min, ReduceKind::prod},
          op.getKind()))
    return {};
  auto dims = shapes.dims(op.getX());
  for (auto [i, d] : llvm::enumerate(dims))
    if (!d.isConst(1) && (!op.getAxes() || llvm::is_contained(*op.getAxes(), (int64_t)i)))
      return {};
  return reshapeTo(op.getX(), op.getResult(), rewriter, shapes, op.getLoc());
}

/// Elementwise operations broadcast by themselves: an expanded operand is not needed where the
/// result keeps its shape without it.
static Value simplifyElementwise(Operation *op, RewriterBase &rewriter, FuncShapes &shapes) {
  for (OpOperand &operand : op->getOpOperands()) {
    auto expand = operand.get().getDefiningOp<nn::ExpandOp>();
    if (!expand)
      continue;
    nn::Dims dims;
    bool fits = true;
    for (OpOperand &other : op->getOpOperands()) {
      Value v = other.get() == expand.getResult() ? expand.getX() : other.get();
      auto both = nn::broadcastDims(shapes.ctx, dims, shapes.dims(v));
      fits &= both.has_value();
      if (both)
        dims = *both;
    }
    if (!fits || ArrayRef<Dim>(dims) != shapes.dims(op->getResult(0)))
      continue;
    rewriter.modifyOpInPlace(op, [&] { op->replaceUsesOfWith(expand.getResult(), expand.getX()); });
  }
  return {};
}

/// So do the batch dimensions of a matrix product.
static void simplifyMatMul(nn::MatMulOp op, RewriterBase &rewriter, FuncShapes &shapes) {
  for (OpOperand *operand : {&op.getAMutable(), &op.getBMutable()}) {
    auto expand = operand->get().getDefiningOp<nn::ExpandOp>();
    if (!expand || rankOf(expand.getX()) < 2 || rankOf(op.getA()) < 2 || rankOf(op.getB()) < 2 ||
        shapes.dims(expand.getX()).take_back(2) != shapes.dims(expand.getResult()).take_back(2))
      continue;
    Value other = operand == &op.getAMutable() ? op.getB() : op.getA();
    auto both = nn::broadcastDims(shapes.ctx, shapes.dims(expand.getX()).drop_back(2), shapes.dims(other).drop_back(2));
    if (both && ArrayRef<Dim>(*both) == shapes.dims(op.getResult()).drop_back(2))
      rewriter.modifyOpInPlace(op, [&] { operand->set(expand.getX()); });
  }
}

/// What may stand for the only result of `op`, made at the rewriter's insertion point; null:
/// nothing.
Value simplifyNoOp(Operation *op, RewriterBase &rewriter, FuncShapes &shapes) {
  Value result = op->getResult(0);
  if (op->getNumOperands() == 0)
    return {};
  Value x = op->getOperand(0);
  bool same = elementTypeOf(x) == elementTypeOf(result) && shapes.sameDims(x, result);
  auto ifSame = [&](bool condition = true) { return same && condition ? x : Value(); };
  return TypeSwitch<Operation *, Value>(op)
      .Case<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>([&](Operation *o) {
        Value v = ifSame();
        return v ? v : simplifyReshape(o, rewriter, shapes);
      })
      // The same size after repeating or broadcasting: repeated once.
      .Case<nn::ExpandOp, nn::TileOp, nn::CastOp, nn::SplitOp>([&](auto) { return ifSame(); })
      .Case<nn::SliceOp>([&](nn::SliceOp o) {
        // As many elements with steps of 1 are all of them.
        return ifSame(!o.getSteps() || isAll(shapes.ctx.constantContent(o.getSteps()), 1));
      })
      .Case<nn::PadOp>(
          [&](nn::PadOp o) { return ifSame(isAll(shapes.ctx.constantContent(o.getPads()), 0)); })
      .Case<nn::TransposeOp>([&](nn::TransposeOp o) { return ifSame(isIdentity(o.getPerm())); })
      .Case<nn::ConcatOp>([&](nn::ConcatOp o) { return simplifyConcat(o, rewriter, shapes); })
      .Case<nn::ReduceOp>([&](nn::ReduceOp o) { return simplifyReduce(o, rewriter, shapes); })
      .Case<nn::MatMulOp>([&](nn::MatMulOp o) {
        simplifyMatMul(o, rewriter, shapes);
        return Value();
      })
      .Case<nn::WhereOp>([&](nn::WhereOp o) {
        Value v = simplifyWhere(o, shapes);
        return v ? v : simplifyElementwise(o, rewriter, shapes);
      })
      .Default([&](Operation *o) {
        return isa<nn::Elementwise>(o) ? simplifyElementwise(o, rewriter, shapes) : Value();
      });
}

} // namespace nnopt
