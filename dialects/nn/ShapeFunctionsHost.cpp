//===- ShapeFunctionsHost.cpp - strings, sequences, optionals -------------===//
#include "dialects/nn/ShapeHelpers.h"

using namespace mlir;

namespace nnopt::nn {

/// Describes a result of a type whose unknown dimensions depend on data; no tensor: the type is all.
static LogicalResult setFromType(Operation *op, ShapeContext &ctx, unsigned r, Type type, StringRef why) {
  if (isa<UnrankedTensorType>(type))
    return op->emitOpError("has an element of unknown rank as result; declare the shape of it");
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor) {
    ctx.set(op->getResult(r), type, {});
    return success();
  }
  Dims dims;
  for (auto [i, size] : llvm::enumerate(tensor.getShape()))
    dims.push_back(ShapedType::isDynamic(size) ? shape::unknownDim(ctx, op, r, tensor.getRank(), i, why)
                                               : ctx.constant(size));
  ctx.set(op->getResult(r), tensor.getElementType(), dims);
  return success();
}

static Type i64(Operation *op) { return IntegerType::get(op->getContext(), 64); }
static Type i1(Operation *op) { return IntegerType::get(op->getContext(), 1); }

/// The type of a value with the dimensions that are known of it.
static Type typeOf(ShapeContext &ctx, Value v) {
  if (!isa<RankedTensorType>(v.getType()))
    return ctx.info(v).elementType;
  SmallVector<int64_t> shape;
  for (Dim d : ctx.dims(v))
    shape.push_back(d.typeDim());
  return RankedTensorType::get(shape, ctx.info(v).elementType);
}

//===----------------------------------------------------------------------===//
// Strings
//===----------------------------------------------------------------------===//

static LogicalResult inferBroadcast(Operation *op, ShapeContext &ctx, Type elementType) {
  auto dims = broadcastDims(ctx, ctx.dims(op->getOperand(0)), ctx.dims(op->getOperand(1)));
  if (!dims || llvm::any_of(*dims, [](Dim d) { return !d; }))
    return op->emitOpError("operands do not broadcast: ")
           << shape::str(ctx.dims(op->getOperand(0))) << " and " << shape::str(ctx.dims(op->getOperand(1)));
  ctx.set(op->getResult(0), elementType, *dims);
  return success();
}
static LogicalResult inferLike(Operation *op, ShapeContext &ctx, Value like, Type elementType) {
  ctx.set(op->getResult(0), elementType, Dims(ctx.dims(like)));
  return success();
}

LogicalResult StringConcatOp::inferShapes(ShapeContext &ctx) {
  return inferBroadcast(*this, ctx, StringType::get(getContext()));
}
LogicalResult StringEqualOp::inferShapes(ShapeContext &ctx) { return inferBroadcast(*this, ctx, i1(*this)); }

LogicalResult StringSplitOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  ctx.set(getCounts(), i64(*this), dims);
  dims.push_back(shape::unknownDim(ctx, *this, 0, dims.size() + 1, dims.size(), "parts"));
  ctx.set(getSubstrings(), StringType::get(getContext()), dims);
  return success();
}

LogicalResult StringNormalizeOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  if (dims.empty() || dims.size() > 2 || (dims.size() == 2 && shape::differ(dims[0], ctx.constant(1))))
    return emitOpError("x must be [C] or [1, C], got ") << shape::str(dims);
  if (!getStopwords().empty())
    dims.back() = shape::unknownDim(ctx, *this, 0, dims.size(), dims.size() - 1, "words");
  ctx.set(getResult(), StringType::get(getContext()), dims);
  return success();
}

LogicalResult RegexFullMatchOp::inferShapes(ShapeContext &ctx) { return inferLike(*this, ctx, getX(), i1(*this)); }

LogicalResult StringPoolOp::inferShapes(ShapeContext &ctx) {
  Dim total = ctx.constant(0);
  for (Value v : getInputs())
    total = total + product(ctx.dimContext(), Dims(ctx.dims(v)));
  ctx.set(getResult(), StringType::get(getContext()), {total});
  return success();
}

LogicalResult StringTakeOp::inferShapes(ShapeContext &ctx) {
  if (ctx.info(getIndices()).elementType != i64(*this))
    return emitOpError("indices must be i64, got ") << ctx.info(getIndices()).elementType;
  return inferLike(*this, ctx, getIndices(), StringType::get(getContext()));
}
LogicalResult StringLookupOp::inferShapes(ShapeContext &ctx) { return inferLike(*this, ctx, getX(), i64(*this)); }
LogicalResult StringToNumberOp::inferShapes(ShapeContext &ctx) { return inferLike(*this, ctx, getX(), getTo()); }
LogicalResult NumberToStringOp::inferShapes(ShapeContext &ctx) {
  return inferLike(*this, ctx, getX(), StringType::get(getContext()));
}

LogicalResult ImageDecodeOp::inferShapes(ShapeContext &ctx) {
  int64_t channels = getPixelFormat() == "Grayscale" ? 1 : 3;
  int64_t any = ShapedType::kDynamic;
  return setFromType(*this, ctx, 0,
                     RankedTensorType::get({any, any, channels}, IntegerType::get(getContext(), 8, IntegerType::Unsigned)),
                     "image");
}

//===----------------------------------------------------------------------===//
// Sequences
//===----------------------------------------------------------------------===//

LogicalResult SequenceConstructOp::inferShapes(ShapeContext &ctx) {
  Type element = getElement();
  for (Value v : getInputs())
    if (!(element = joinTypes(element, typeOf(ctx, v))))
      return emitOpError("elements have different types");
  if (!getInputs().empty()) {
    element = typeOf(ctx, getInputs().front());
    for (Value v : getInputs().drop_front())
      element = joinTypes(element, typeOf(ctx, v));
  }
  ctx.set(getResult(), SequenceType::get(getContext(), element), {});
  return success();
}

static SequenceType sequenceOf(ShapeContext &ctx, Value v) { return cast<SequenceType>(ctx.info(v).elementType); }

LogicalResult SequenceInsertOp::inferShapes(ShapeContext &ctx) {
  Type element = joinTypes(sequenceOf(ctx, getSequence()).getElement(), typeOf(ctx, getX()));
  if (!element)
    return emitOpError("x is ") << getX().getType() << ", the elements are "
                                << sequenceOf(ctx, getSequence()).getElement();
  ctx.set(getResult(), SequenceType::get(getContext(), element), {});
  return success();
}
LogicalResult SequenceEraseOp::inferShapes(ShapeContext &ctx) {
  ctx.set(getResult(), sequenceOf(ctx, getSequence()), {});
  return success();
}
LogicalResult SequenceAtOp::inferShapes(ShapeContext &ctx) {
  return setFromType(*this, ctx, 0, getElement(), "element");
}
LogicalResult SequenceLengthOp::inferShapes(ShapeContext &ctx) {
  ctx.set(getResult(), i64(*this), {});
  return success();
}

LogicalResult ConcatFromSequenceOp::inferShapes(ShapeContext &ctx) {
  Type element = sequenceOf(ctx, getSequence()).getElement();
  int64_t rank = getRank(), axis = getAxis(), outRank = rank + (getNewAxis() ? 1 : 0);
  if (failed(shape::checkAxis(*this, axis, outRank)))
    return failure();
  SmallVector<int64_t> shape(rank, ShapedType::kDynamic);
  if (auto ranked = dyn_cast<RankedTensorType>(element); ranked && ranked.getRank() == rank)
    shape.assign(ranked.getShape().begin(), ranked.getShape().end());
  if (getNewAxis())
    shape.insert(shape.begin() + axis, ShapedType::kDynamic);
  else
    shape[axis] = ShapedType::kDynamic;
  return setFromType(*this, ctx, 0, RankedTensorType::get(shape, elementTypeOf(element)), "concat");
}

LogicalResult SplitToSequenceOp::inferShapes(ShapeContext &ctx) {
  if (failed(shape::checkAxis(*this, getAxis(), ctx.rank(getX()))))
    return failure();
  SmallVector<int64_t> shape;
  for (auto [i, d] : llvm::enumerate(ctx.dims(getX()))) {
    if (int64_t(i) != int64_t(getAxis()))
      shape.push_back(d.typeDim());
    else if (!getSqueeze())
      shape.push_back(getSplit() ? ShapedType::kDynamic : 1);
  }
  ctx.set(getResult(),
          SequenceType::get(getContext(), RankedTensorType::get(shape, ctx.info(getX()).elementType)), {});
  return success();
}

//===----------------------------------------------------------------------===//
// Optionals and maps
//===----------------------------------------------------------------------===//

LogicalResult OptionalConstructOp::inferShapes(ShapeContext &ctx) {
  Type element = getValue() ? typeOf(ctx, getValue()) : getElement();
  ctx.set(getResult(), OptionalType::get(getContext(), element), {});
  return success();
}
LogicalResult OptionalGetOp::inferShapes(ShapeContext &ctx) {
  return setFromType(*this, ctx, 0, getElement(), "optional");
}
LogicalResult OptionalHasOp::inferShapes(ShapeContext &ctx) {
  ctx.set(getResult(), i1(*this), {});
  return success();
}

LogicalResult ZipMapOp::inferShapes(ShapeContext &ctx) {
  Type map = MapType::get(getContext(), ctx.info(getKeys()).elementType, ctx.info(getX()).elementType);
  ctx.set(getResult(), SequenceType::get(getContext(), map), {});
  return success();
}
LogicalResult MapLookupOp::inferShapes(ShapeContext &ctx) {
  ctx.set(getResult(), cast<MapType>(ctx.info(getMap()).elementType).getValue(),
          {ctx.constant(1), ctx.dims(getKeys())[0]});
  return success();
}
LogicalResult MapValuesOp::inferShapes(ShapeContext &ctx) {
  int64_t size = getMaxMap() > 0 ? int64_t(getMaxMap()) : ShapedType::kDynamic;
  Type value = cast<MapType>(ctx.info(getMap()).elementType).getValue();
  return setFromType(*this, ctx, 0, RankedTensorType::get({1, size}, value), "map");
}

} // namespace nnopt::nn
