//===- Roles.cpp - which operations can work channels last ----------------===//
#include "passes/convert-layout/Roles.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nnopt::layout {

SmallVector<int64_t> permToLast(int64_t rank) {
  SmallVector<int64_t> perm = {0};
  for (int64_t i = 2; i < rank; ++i)
    perm.push_back(i);
  perm.push_back(1);
  return perm;
}

SmallVector<int64_t> permFromLast(int64_t rank) { return invertPermutation(permToLast(rank)); }

int64_t axisToLast(int64_t axis, int64_t rank) {
  return axis == 0 ? 0 : axis == 1 ? rank - 1 : axis - 1;
}

bool isView(ArrayRef<nn::Dim> dims) {
  auto isOne = [](nn::Dim d) { return d.isConst(1); };
  return dims.size() < 3 || isOne(dims[1]) || llvm::all_of(dims.drop_front(2), isOne);
}

static bool hasLayoutRank(Value v) { return rankOf(v) >= 3 && rankOf(v) <= 5; }

/// The elements of an optional small integer operand.
static std::optional<SmallVector<int64_t>> contentOf(Value v, FuncShapes &shapes) {
  return shapes.ctx.constantContent(v);
}

/// Axes of slice or pad: the operand's, or 0..n-1. Nothing where they are not constant.
static std::optional<SmallVector<int64_t>> axesOf(Value axes, Value entries, int64_t perAxis,
                                                  int64_t rank, FuncShapes &shapes) {
  SmallVector<int64_t> result;
  if (!axes) {
    if (ShapedType::isDynamic(shapeOf(entries)[0]))
      return std::nullopt;
    for (int64_t i = 0; i < shapeOf(entries)[0] / perAxis; ++i)
      result.push_back(i);
    return result;
  }
  auto content = contentOf(axes, shapes);
  if (!content)
    return std::nullopt;
  for (int64_t a : *content)
    result.push_back(a < 0 ? a + rank : a);
  return result;
}

/// A reshape that keeps dimensions 0 and 1, so that it only regroups spatial dimensions. The shape
/// operand of the channels-last form: 0 copies the batch, at most one -1.
static std::optional<SmallVector<int64_t>> regroupedShape(Operation *op, FuncShapes &shapes) {
  Value x = op->getOperand(0), y = op->getResult(0);
  if (!hasLayoutRank(x) || !hasLayoutRank(y))
    return std::nullopt;
  auto from = shapes.dims(x), to = shapes.dims(y);
  if (from[0] != to[0] || from[1] != to[1])
    return std::nullopt;
  SmallVector<int64_t> shape = {to[0].isConst() ? to[0].value() : 0};
  nn::Dims last(to.begin() + 2, to.end());
  last.push_back(to[1]);
  unsigned unknown = 0;
  for (nn::Dim d : last) {
    unknown += !d.isConst();
    shape.push_back(d.isConst() ? d.value() : -1);
  }
  // A zero would copy a dimension.
  if (unknown > 1 || llvm::is_contained(ArrayRef<int64_t>(shape).drop_front(), 0))
    return std::nullopt;
  if (to[0].isConst(0))
    return std::nullopt;
  return shape;
}

static std::optional<SmallVector<int64_t>> staticAxes(nn::ReduceOp op) {
  if (op.getDynamicAxes())
    return std::nullopt;
  if (!op.getAxes()) {
    SmallVector<int64_t> all;
    for (int64_t i = 0; i < rankOf(op.getX()); ++i)
      all.push_back(i);
    return all;
  }
  return SmallVector<int64_t>(*op.getAxes());
}

/// Reductions without kept dimensions: the batch must stay where it is.
static bool keepsOrder(ArrayRef<int64_t> reduced, bool keepDims) {
  return keepDims || !llvm::is_contained(reduced, 0);
}

static bool isFlexible(Operation *op, FuncShapes &shapes) {
  if (isElementwise(op)) {
    // Somebody must be laid out, or there is nothing to follow.
    return hasLayoutRank(op->getResult(0)) && !laidOutOperands(op).empty();
  }
  return TypeSwitch<Operation *, bool>(op)
      .Case<nn::MaxPoolOp>([&](auto pool) {
        return !pool.getChannelsLast() && hasLayoutRank(pool.getX()) && !pool.getIndices();
      })
      .Case<nn::AvgPoolOp, nn::LpPoolOp, nn::BatchNormOp, nn::GroupNormOp>(
          [&](auto o) { return !o.getChannelsLast() && hasLayoutRank(o.getX()); })
      .Case<nn::ConcatOp, nn::SplitOp, nn::SoftmaxOp>(
          [&](auto o) { return hasLayoutRank(o->getOperand(0)); })
      .Case<nn::SliceOp>([&](nn::SliceOp o) {
        return hasLayoutRank(o.getX()) &&
               axesOf(o.getAxes(), o.getStarts(), 1, rankOf(o.getX()), shapes);
      })
      .Case<nn::PadOp>([&](nn::PadOp o) {
        return hasLayoutRank(o.getX()) &&
               axesOf(o.getAxes(), o.getPads(), 2, rankOf(o.getX()), shapes);
      })
      .Case<nn::ExpandOp>([&](nn::ExpandOp o) {
        return hasLayoutRank(o.getX()) && rankOf(o.getX()) == rankOf(o.getResult()) &&
               o.getType().hasStaticShape();
      })
      .Case<nn::ReduceOp>([&](nn::ReduceOp o) {
        auto axes = staticAxes(o);
        return axes && hasLayoutRank(o.getX()) && keepsOrder(*axes, o.getKeepDims());
      })
      .Case<nn::ArgReduceOp>([&](nn::ArgReduceOp o) {
        return hasLayoutRank(o.getX()) && keepsOrder({(int64_t)o.getAxis()}, o.getKeepDims());
      })
      .Case<nn::ResizeOp>([&](nn::ResizeOp o) {
        return hasLayoutRank(o.getX()) && (!o.getScales() || isConstant(o.getScales())) && !o.getRoi();
      })
      .Case<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(
          [&](auto o) { return regroupedShape(o, shapes).has_value(); })
      .Default(false);
}

Role roleOf(Operation *op, FuncShapes &shapes) {
  if (isa<nn::ConvOp, nn::ConvTransposeOp>(op)) {
    bool isRoot =
        TypeSwitch<Operation *, bool>(op).Case<nn::ConvOp, nn::ConvTransposeOp>([](auto conv) {
          return !conv.getChannelsLast() && hasLayoutRank(conv.getX()) &&
                 conv.getEpilogue().empty();
        });
    return isRoot ? Role::Root : Role::Fixed;
  }
  if (auto transpose = dyn_cast<nn::TransposeOp>(op)) {
    if (!hasLayoutRank(transpose.getX()))
      return Role::Fixed;
    int64_t rank = rankOf(transpose.getX());
    bool to = transpose.getPerm() == ArrayRef<int64_t>(permToLast(rank));
    bool from = transpose.getPerm() == ArrayRef<int64_t>(permFromLast(rank));
    if (to && from) { // Rank 3: the permutation is its own inverse.
      Operation *producer = transpose.getX().getDefiningOp();
      to = producer &&
           (isa<nn::ConvOp, nn::ConvTransposeOp>(producer) || isFlexible(producer, shapes));
    }
    return to ? Role::ToLast : from ? Role::FromLast : Role::Fixed;
  }
  return isFlexible(op, shapes) ? Role::Flexible : Role::Fixed;
}

SmallVector<unsigned> laidOutOperands(Operation *op) {
  SmallVector<unsigned> operands;
  if (isElementwise(op)) {
    int64_t rank = rankOf(op->getResult(0));
    for (OpOperand &operand : op->getOpOperands())
      if (rankOf(operand.get()) == rank && !isConstant(operand.get()))
        operands.push_back(operand.getOperandNumber());
    return operands;
  }
  if (isa<nn::ConcatOp>(op)) {
    for (unsigned i = 0; i < op->getNumOperands(); ++i)
      operands.push_back(i);
    return operands;
  }
  return {0};
}

bool isLaidOutResult(Operation *op, unsigned index) {
  if (rankOf(op->getResult(index)) < 3)
    return false;
  // Without its channel dimension a reduced tensor is the same in both layouts.
  if (auto reduce = dyn_cast<nn::ReduceOp>(op))
    return reduce.getKeepDims() || !llvm::is_contained(*staticAxes(reduce), 1);
  if (auto reduce = dyn_cast<nn::ArgReduceOp>(op))
    return reduce.getKeepDims() || reduce.getAxis() != 1;
  return true;
}

bool prefersLast(Operation *op) {
  return isa<nn::MaxPoolOp, nn::AvgPoolOp, nn::LpPoolOp, nn::BatchNormOp, nn::GroupNormOp>(op);
}

/// Axes as an operand of slice or pad.
static Value mappedAxes(ArrayRef<int64_t> axes, int64_t rank, RewriterBase &rewriter,
                        Location loc) {
  SmallVector<int64_t> mapped;
  for (int64_t a : axes)
    mapped.push_back(axisToLast(a, rank));
  return makeIntsOp(rewriter, loc, mapped);
}

/// A vector with one entry for each dimension, for the permuted dimensions. Constants stay
/// constants: the shape function of resize reads them.
static Value reorderedEntries(Value v, ArrayRef<int64_t> perm, RewriterBase &rewriter,
                              Location loc) {
  if (auto data = nn::ConstantData::get(v)) {
    int64_t width = nn::elementBytes(elementTypeOf(v));
    std::vector<char> bytes;
    for (int64_t p : perm)
      bytes.insert(bytes.end(), data->bytes().begin() + p * width,
                   data->bytes().begin() + (p + 1) * width);
    return nn::ConstantOp::create(rewriter, loc,
                                  nn::makeConstant(data->type(), bytes, "channels_last"));
  }
  Value order = makeIntsOp(rewriter, loc, perm);
  return nn::GatherOp::create(rewriter, loc, v.getType(), v, order, rewriter.getI64IntegerAttr(0));
}

void convert(Operation *copy, Operation *original, RewriterBase &rewriter, FuncShapes &shapes) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(original);
  int64_t rank = original->getNumOperands() ? rankOf(original->getOperand(0)) : 0;
  Location loc = copy->getLoc();
  TypeSwitch<Operation *>(copy)
      .Case<nn::ConvOp, nn::ConvTransposeOp, nn::MaxPoolOp, nn::AvgPoolOp, nn::LpPoolOp,
            nn::BatchNormOp, nn::GroupNormOp>([&](auto o) { o.setChannelsLast(true); })
      .Case<nn::ConcatOp, nn::SplitOp, nn::SoftmaxOp, nn::ArgReduceOp>(
          [&](auto o) { o.setAxis(axisToLast(o.getAxis(), rank)); })
      .Case<nn::SliceOp>([&](nn::SliceOp o) {
        auto axes = axesOf(o.getAxes(), o.getStarts(), 1, rank, shapes);
        o.getAxesMutable().assign(mappedAxes(*axes, rank, rewriter, loc));
      })
      .Case<nn::PadOp>([&](nn::PadOp o) {
        auto axes = axesOf(o.getAxes(), o.getPads(), 2, rank, shapes);
        o.getAxesMutable().assign(mappedAxes(*axes, rank, rewriter, loc));
      })
      .Case<nn::ExpandOp>([&](nn::ExpandOp o) {
        SmallVector<int64_t> shape;
        for (int64_t p : permToLast(rank))
          shape.push_back(shapeOf(original->getResult(0))[p]);
        o.getShapeMutable().assign(makeIntsOp(rewriter, loc, shape));
      })
      .Case<nn::ResizeOp>([&](nn::ResizeOp o) {
        for (MutableOperandRange entries : {o.getScalesMutable(), o.getSizesMutable()})
          if (!entries.empty())
            entries.assign(reorderedEntries(entries[0].get(), permToLast(rank), rewriter, loc));
      })
      .Case<nn::ReduceOp>([&](nn::ReduceOp o) {
        SmallVector<int64_t> axes = *staticAxes(o);
        for (int64_t &a : axes)
          a = axisToLast(a, rank);
        llvm::sort(axes);
        o.setAxes(axes);
      })
      .Default([](Operation *) {});
}

/// The channels-last form of a reshape that regroups spatial dimensions.
Value convertReshape(Operation *original, Value x, RewriterBase &rewriter, FuncShapes &shapes) {
  auto shape = regroupedShape(original, shapes);
  Value operand = makeIntsOp(rewriter, original->getLoc(), *shape);
  return nn::ReshapeOp::create(rewriter, original->getLoc(), untyped(elementTypeOf(x)), x, operand,
                               UnitAttr());
}

} // namespace nnopt::layout
