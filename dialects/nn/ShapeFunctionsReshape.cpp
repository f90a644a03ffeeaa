//===- ShapeFunctionsReshape.cpp - constants, shapes, reshapes ------------===//
#include "dialects/nn/ShapeHelpers.h"

using namespace mlir;

namespace nnopt::nn {

LogicalResult ConstantOp::inferShapes(ShapeContext &ctx) {
  if (ctx.has(getResult()))
    return success();
  // The type of the attribute; ctx.info also reads the content.
  getResult().setType(cast<RankedTensorType>(getValue().getShapedType()));
  ctx.info(getResult());
  return success();
}

LogicalResult ShapeOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  int64_t rank = dims.size();
  auto clamp = [&](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank); };
  int64_t start = clamp(getStart());
  int64_t end = std::max(start, clamp(getEnd().value_or(rank)));
  ctx.set(getResult(), IntegerType::get(getContext(), 64), {ctx.constant(end - start)});
  ctx.setContent(getResult(), ArrayRef<Dim>(dims).slice(start, end - start));
  return success();
}

LogicalResult SizeOp::inferShapes(ShapeContext &ctx) {
  Dim size = product(ctx.dimContext(), ctx.dims(getX()));
  ctx.set(getResult(), IntegerType::get(getContext(), 64), {});
  ctx.setContent(getResult(), size);
  return success();
}

/// Results that are the operand in another shape keep its content.
static void setReshaped(ShapeContext &ctx, Value from, Value to, ArrayRef<Dim> dims) {
  const ValueInfo &i = ctx.info(from);
  ctx.set(to, i.elementType, dims);
  if (i.content)
    ctx.setContent(to, *i.content);
}

/// Fails where the element counts are provably different.
static LogicalResult checkElements(Operation *op, ShapeContext &ctx, ArrayRef<Dim> from,
                                   ArrayRef<Dim> to) {
  Dim a = product(ctx.dimContext(), from), b = product(ctx.dimContext(), to);
  if (!a.isConst() || !b.isConst() || a == b)
    return success();
  return op->emitOpError("cannot reshape ")
         << shape::str(from) << " (" << a.value() << " elements) to " << shape::str(to);
}

/// Dimensions of a reshape; null dims are those that depend on data.
static FailureOr<Dims> reshapeDims(ReshapeOp op, ShapeContext &ctx, ArrayRef<Dim> from,
                                   ArrayRef<Dim> wanted) {
  Dims dims;
  int inferred = -1;
  bool complete = true;
  for (auto [i, d] : llvm::enumerate(wanted)) {
    if (!d || !(d.isConst() || d.isAtLeast(0))) {
      dims.push_back(Dim()); // Known at run time only; may be -1.
      complete = false;
    } else if (d.isConst(-1)) {
      if (inferred >= 0)
        return op.emitOpError("shape has more than one -1: ") << shape::str(wanted);
      inferred = i;
      dims.push_back(Dim());
    } else if (d.isConst(0) && !op.getAllowZero()) {
      if (i >= from.size())
        return op.emitOpError("shape copies dimension ") << i << " of " << shape::str(from);
      dims.push_back(from[i]);
    } else if (d.isConst() && d.value() < 0) {
      return op.emitOpError("shape has a negative size: ") << shape::str(wanted);
    } else {
      dims.push_back(d);
    }
  }
  // What is left after the known sizes goes to -1, or to the only size that is not known.
  if (complete && inferred >= 0) {
    Dim known = ctx.constant(1);
    for (Dim d : dims)
      if (d)
        known = known * d;
    Dim total = product(ctx.dimContext(), from);
    if (known.isConst(0)) {
      if (total.isConst() && !total.isConst(0))
        return op.emitOpError("cannot reshape ")
               << shape::str(from) << " to " << shape::str(wanted);
      dims[inferred] = ctx.constant(0);
    } else {
      dims[inferred] = total.floorDiv(known);
      if (total.isConst() && known.isConst() && total.value() % known.value())
        return op.emitOpError("cannot reshape ") << shape::str(from) << " (" << total.value()
                                                 << " elements) to " << shape::str(wanted);
    }
  }
  return dims;
}

LogicalResult ReshapeOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX()));
  std::optional<Dims> wanted = shape::partialContent(ctx, getShape());
  if (!wanted) {
    // Not even the rank is known: only what the result type says.
    ArrayRef<Dim> shapeDims = ctx.dims(getShape());
    unsigned rank = getType().getRank();
    if (shapeDims.size() != 1)
      return emitOpError("shape must be a vector, got ") << shape::str(shapeDims);
    if (shape::differ(shapeDims[0], ctx.constant(rank)))
      return emitOpError("has a shape operand of ")
             << shapeDims[0].str() << " elements for rank " << rank;
    wanted = Dims(rank, Dim());
  }
  FailureOr<Dims> dims = reshapeDims(*this, ctx, from, *wanted);
  if (failed(dims))
    return failure();
  bool complete = true;
  for (unsigned i = 0; i < dims->size(); ++i)
    if (!(*dims)[i]) {
      (*dims)[i] = shape::unknownDim(ctx, *this, 0, dims->size(), i, "reshape");
      complete = false;
    }
  if (complete && failed(checkElements(*this, ctx, from, *dims)))
    return failure();
  setReshaped(ctx, getX(), getResult(), *dims);
  return success();
}

LogicalResult FlattenOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX()));
  int64_t axis = getAxis();
  if (axis < 0 || axis > (int64_t)from.size())
    return emitOpError("axis ") << axis << " is out of range for rank " << from.size();
  DimContext &dims = ctx.dimContext();
  ArrayRef<Dim> all(from);
  setReshaped(ctx, getX(), getResult(),
              {product(dims, all.take_front(axis)), product(dims, all.drop_front(axis))});
  return success();
}

LogicalResult BitCastOp::inferShapes(ShapeContext &ctx) {
  ctx.set(getResult(), getTo(), ctx.dims(getX()));
  return success();
}

LogicalResult SqueezeOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX())), dims;
  for (int64_t axis : getAxes()) {
    if (failed(shape::checkAxis(*this, axis, from.size())))
      return failure();
    if (shape::differ(from[axis], ctx.constant(1)))
      return emitOpError("cannot squeeze dimension ") << axis << " of " << shape::str(from);
  }
  for (auto [i, d] : llvm::enumerate(from))
    if (!llvm::is_contained(getAxes(), (int64_t)i))
      dims.push_back(d);
  setReshaped(ctx, getX(), getResult(), dims);
  return success();
}

LogicalResult UnsqueezeOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX())), dims;
  int64_t rank = from.size() + getAxes().size();
  for (int64_t axis : getAxes())
    if (failed(shape::checkAxis(*this, axis, rank)))
      return failure();
  auto next = from.begin();
  for (int64_t i = 0; i < rank; ++i) {
    bool isNew = llvm::is_contained(getAxes(), i);
    if (!isNew && next == from.end())
      return emitOpError("axes hold an axis twice");
    dims.push_back(isNew ? ctx.constant(1) : *next++);
  }
  setReshaped(ctx, getX(), getResult(), dims);
  return success();
}

LogicalResult ConstantOfShapeOp::inferShapes(ShapeContext &ctx) {
  std::optional<Dims> dims = shape::partialContent(ctx, getShape());
  Type elementType = getValue().getShapedType().getElementType();
  if (!dims)
    dims = Dims(getType().getRank(), Dim());
  for (unsigned i = 0; i < dims->size(); ++i) {
    Dim &d = (*dims)[i];
    if (!d || !(d.isConst() || d.isAtLeast(0)))
      d = shape::unknownDim(ctx, *this, 0, dims->size(), i, "constant_of_shape");
  }
  ctx.set(getResult(), elementType, *dims);
  auto count = shape::smallCount(*dims);
  auto value = ConstantData::get(getValue());
  if (count && value && value->size() == 1 && shape::hasContentType(elementType))
    ctx.setContent(getResult(), SmallVector<Dim>(*count, ctx.constant(value->asInt(0))));
  return success();
}

/// The number of elements of start, start + delta, ...; null where it depends on data.
static Dim rangeCount(RangeOp op, ShapeContext &ctx) {
  if (isa<FloatType>(ctx.info(op.getStart()).elementType)) {
    auto start = ConstantData::get(op.getStart()), limit = ConstantData::get(op.getLimit()),
         delta = ConstantData::get(op.getDelta());
    if (!start || !limit || !delta || delta->asDouble(0) == 0)
      return {};
    double count = std::ceil((limit->asDouble(0) - start->asDouble(0)) / delta->asDouble(0));
    return ctx.constant(count > 0 ? (int64_t)count : 0);
  }
  Dim start = ctx.scalarContent(op.getStart()), limit = ctx.scalarContent(op.getLimit()),
      delta = ctx.scalarContent(op.getDelta());
  if (!start || !limit || !delta || !delta.isConst() || delta.isConst(0))
    return {};
  Dim length = delta.value() > 0 ? limit - start : start - limit;
  return length.ceilDiv(std::abs(delta.value())).max(ctx.constant(0));
}

LogicalResult RangeOp::inferShapes(ShapeContext &ctx) {
  Type elementType = ctx.info(getStart()).elementType;
  Dim delta = ctx.scalarContent(getDelta());
  if (delta && delta.isConst(0))
    return emitOpError("delta is 0");
  Dim count = rangeCount(*this, ctx);
  ctx.set(getResult(), elementType,
          {count ? count : shape::unknownDim(ctx, *this, 0, 1, 0, "range")});
  Dim start = ctx.scalarContent(getStart());
  if (count && start && delta && shape::smallCount({count})) {
    SmallVector<Dim> content;
    for (int64_t i = 0; i < count.value(); ++i)
      content.push_back(start + delta * i);
    ctx.setContent(getResult(), content);
  }
  return success();
}

} // namespace nnopt::nn
