//===- ShapeFunctionsElementwise.cpp - broadcasting and integer content ---===//
#include "dialects/nn/ShapeHelpers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nnopt::nn {

std::optional<Dims> broadcastDims(ShapeContext &ctx, ArrayRef<Dim> a, ArrayRef<Dim> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  Dims result(a.begin(), a.end());
  size_t offset = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i) {
    Dim x = a[offset + i], y = b[i];
    // Two sizes that are not 1 must be equal.
    bool bothDecided = (x.isConst() ? !x.isConst(1) : x.isAtLeast(2)) &&
                       (y.isConst() ? !y.isConst(1) : y.isAtLeast(2));
    if (bothDecided && shape::differ(x, y))
      return std::nullopt;
    result[offset + i] = x.broadcast(y);
  }
  return result;
}

/// Broadcast of the shapes of all values, or an error on op.
static FailureOr<Dims> broadcastAll(Operation *op, ValueRange values, ShapeContext &ctx) {
  Dims dims;
  for (Value v : values) {
    ArrayRef<Dim> more = ctx.dims(v);
    std::optional<Dims> both = broadcastDims(ctx, dims, more);
    if (!both)
      return op->emitOpError("operand shapes do not broadcast: ")
             << shape::str(dims) << " and " << shape::str(more);
    dims = *both;
  }
  return dims;
}

static Type resultElementType(Operation *op, ShapeContext &ctx) {
  return TypeSwitch<Operation *, Type>(op)
      .Case<EqualOp, LessOp, LessOrEqualOp, GreaterOp, GreaterOrEqualOp, LogicalAndOp, LogicalOrOp,
            LogicalXorOp, LogicalNotOp, IsNaNOp, IsInfOp>(
          [](Operation *o) -> Type { return IntegerType::get(o->getContext(), 1); })
      .Case<CastOp, QuantizeOp, DequantizeOp>([](auto conversion) { return conversion.getTo(); })
      .Case([&](WhereOp where) { return ctx.info(where.getX()).elementType; })
      .Default([&](Operation *o) { return ctx.info(o->getOperand(0)).elementType; });
}

//===----------------------------------------------------------------------===//
// Content
//===----------------------------------------------------------------------===//

/// Whether `difference` (lhs - rhs) satisfies the comparison, where that is decidable.
static std::optional<bool> decide(Operation *op, Dim lhs, Dim rhs) {
  Dim d = lhs - rhs;
  bool positive = d.isAtLeast(1), negative = (rhs - lhs).isAtLeast(1);
  bool notNegative = positive || d.isAtLeast(0), notPositive = negative || (rhs - lhs).isAtLeast(0);
  auto known = [](bool yes, bool no) -> std::optional<bool> {
    return yes ? std::optional(true) : no ? std::optional(false) : std::nullopt;
  };
  return TypeSwitch<Operation *, std::optional<bool>>(op)
      .Case<EqualOp>([&](auto) { return known(d.isConst(0), positive || negative); })
      .Case<LessOp>([&](auto) { return known(negative, notNegative); })
      .Case<LessOrEqualOp>([&](auto) { return known(notPositive, positive); })
      .Case<GreaterOp>([&](auto) { return known(positive, notPositive); })
      .Case<GreaterOrEqualOp>([&](auto) { return known(notNegative, negative); })
      .Default(std::nullopt);
}

/// Integer division truncates: for operands of known sign it is floorDiv.
static Dim divide(Dim a, Dim b) {
  if (a.isConst() && b.isConst())
    return b.value() == 0 || b.value() == -1 ? Dim() : a.context().constant(a.value() / b.value());
  if (b.isConst() ? b.value() < 1 : false)
    return {};
  // A symbol may be 0, but then the program divides by 0 anyway.
  if (a.isAtLeast(0) && b.isAtLeast(0))
    return a.floorDiv(b);
  return {};
}

static Dim remainder(ModOp op, Dim a, Dim b) {
  if (a.isConst() && b.isConst()) {
    int64_t x = a.value(), y = b.value();
    if (y == 0 || y == -1)
      return {};
    int64_t r = x % y;
    if (!op.getFmod() && r != 0 && (r < 0) != (y < 0))
      r += y;
    return a.context().constant(r);
  }
  if (a.isAtLeast(0) && b.isAtLeast(b.isConst() ? 1 : 0))
    return a.mod(b);
  return {};
}

/// Whether an integer type narrower than 32 bits changes the value: it keeps the low bits only.
static bool mayWrap(Type to, Dim v) {
  unsigned width = to.getIntOrFloatBitWidth();
  if (!isa<IntegerType>(to) || width >= 32)
    return false;
  return !v.isConst() || (to.isUnsignedInteger() ? !llvm::isUIntN(width, v.value())
                                                 : !llvm::isIntN(width, v.value()));
}

/// One result element from one element of each operand; null when it cannot be expressed.
static Dim combine(Operation *op, ArrayRef<Dim> v) {
  auto boolean = [&](std::optional<bool> b) {
    return b ? v.front().context().constant(*b) : Dim();
  };
  auto logic = [&](auto f) {
    if (!v[0].isConst() || !v[1].isConst())
      return Dim();
    return v[0].context().constant(f(v[0].value() != 0, v[1].value() != 0));
  };
  return TypeSwitch<Operation *, Dim>(op)
      .Case<AddOp>([&](auto) { return v[0] + v[1]; })
      .Case<SubOp>([&](auto) { return v[0] - v[1]; })
      .Case<MulOp>([&](auto) { return v[0] * v[1]; })
      .Case<DivOp>([&](auto) { return divide(v[0], v[1]); })
      .Case([&](ModOp mod) { return remainder(mod, v[0], v[1]); })
      .Case<MinOp>([&](auto) { return v[0].min(v[1]); })
      .Case<MaxOp>([&](auto) { return v[0].max(v[1]); })
      .Case<ClipOp>([&](auto) { return v[0].max(v[1]).min(v[2]); })
      .Case<NegOp>([&](auto) { return v[0] * -1; })
      .Case<AbsOp>([&](auto) { return v[0].isAtLeast(0) ? v[0] : v[0].max(v[0] * -1); })
      .Case<ReluOp>([&](auto) { return v[0].max(v[0].context().constant(0)); })
      .Case<CeilOp, FloorOp, RoundOp>([&](auto) { return v[0]; })
      .Case<EqualOp, LessOp, LessOrEqualOp, GreaterOp, GreaterOrEqualOp>(
          [&](Operation *o) { return boolean(decide(o, v[0], v[1])); })
      .Case<LogicalAndOp>([&](auto) { return logic([](bool a, bool b) { return a && b; }); })
      .Case<LogicalOrOp>([&](auto) { return logic([](bool a, bool b) { return a || b; }); })
      .Case<LogicalXorOp>([&](auto) { return logic([](bool a, bool b) { return a != b; }); })
      .Case<LogicalNotOp>(
          [&](auto) { return v[0].isConst() ? v[0].context().constant(v[0].value() == 0) : Dim(); })
      .Case<WhereOp>([&](auto) {
        if (v[0].isConst())
          return v[0].isConst(0) ? v[2] : v[1];
        return v[1] == v[2] ? v[1] : Dim();
      })
      .Case([&](CastOp cast) {
        if (!cast.getTo().isInteger(1))
          return mayWrap(cast.getTo(), v[0]) ? Dim() : v[0];
        Dim zero = v[0].context().constant(0);
        return v[0] == zero ? zero : shape::differ(v[0], zero) ? v[0].context().constant(1) : Dim();
      })
      .Default(Dim());
}

/// A cast of a small float constant to integers has known content.
static void setCastContent(CastOp cast, ShapeContext &ctx) {
  auto data = ConstantData::get(cast.getX());
  if (!data || data->size() > shape::kMaxContent || !isa<IntegerType>(cast.getTo()))
    return;
  Dims content;
  for (int64_t i = 0; i < data->size(); ++i) {
    double v = data->asDouble(i);
    if (!(v > -9e18 && v < 9e18))
      return;
    Dim element = ctx.constant(cast.getTo().isInteger(1) ? v != 0 : (int64_t)v);
    if (!cast.getTo().isInteger(1) && mayWrap(cast.getTo(), element))
      return;
    content.push_back(element);
  }
  ctx.setContent(cast.getResult(), content);
}

/// The content of where needs only the chosen side.
static bool isNeeded(Operation *op, unsigned operand, ArrayRef<Dim> v) {
  return !isa<WhereOp>(op) || operand == 0 || !v[0] || !v[0].isConst() ||
         operand == (v[0].isConst(0) ? 2u : 1u);
}

static void setElementwiseContent(Operation *op, ShapeContext &ctx) {
  Value result = op->getResult(0);
  auto count = shape::smallCount(ctx.dims(result));
  if (!count || !shape::hasContentType(ctx.info(result).elementType))
    return;
  if (auto cast = dyn_cast<CastOp>(op); cast && !ctx.content(cast.getX()))
    return setCastContent(cast, ctx);
  Dims dims(ctx.dims(result));
  SmallVector<const SmallVector<Dim, 8> *> contents;
  for (Value operand : op->getOperands())
    contents.push_back(ctx.content(operand));
  if (!contents[0])
    return;
  SmallVector<Dim> content;
  for (int64_t flat = 0; flat < *count; ++flat) {
    SmallVector<int64_t> position = shape::unflatten(flat, dims);
    Dims elements;
    for (auto [k, operand] : llvm::enumerate(op->getOperands())) {
      Dim element;
      if (contents[k]) {
        ArrayRef<Dim> shape = ctx.dims(operand);
        SmallVector<int64_t> strides = shape::rowMajorStrides(shape);
        int64_t offset = 0;
        for (size_t i = 0; i < shape.size(); ++i)
          if (!shape[i].isConst(1))
            offset += strides[i] * position[dims.size() - shape.size() + i];
        element = (*contents[k])[offset];
      }
      elements.push_back(element);
      if (!element && isNeeded(op, k, elements))
        return;
    }
    Dim value = combine(op, elements);
    if (!value)
      return;
    content.push_back(value);
  }
  ctx.setContent(result, content);
}

LogicalResult inferElementwise(Operation *op, ShapeContext &ctx) {
  FailureOr<Dims> dims = broadcastAll(op, op->getOperands(), ctx);
  if (failed(dims))
    return failure();
  ctx.set(op->getResult(0), resultElementType(op, ctx), *dims);
  setElementwiseContent(op, ctx);
  return success();
}

/// Result element types are those of the current result types: the region only has signless ones.
LogicalResult MapOp::inferShapes(ShapeContext &ctx) {
  FailureOr<Dims> dims = broadcastAll(*this, getOperands(), ctx);
  if (failed(dims))
    return failure();
  for (Value result : getOutputs())
    ctx.set(result, cast<RankedTensorType>(result.getType()).getElementType(), *dims);
  return success();
}

} // namespace nnopt::nn
