//===- ShapeFunctionsIndexing.cpp - gather, scatter, one-hot, resize ... --===//
#include "dialects/nn/ShapeHelpers.h"

using namespace mlir;

namespace nnopt::nn {

LogicalResult GatherOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX())), at(ctx.dims(getIndices()));
  int64_t axis = getAxis();
  if (failed(shape::checkAxis(*this, axis, from.size())))
    return failure();
  ArrayRef<Dim> all(from);
  Dims dims(all.take_front(axis));
  dims.append(at);
  dims.append(all.drop_front(axis + 1).begin(), all.end());
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);

  const auto *content = ctx.content(getX());
  auto indices = ctx.constantContent(getIndices());
  if (!content || !indices || !shape::smallCount(dims))
    return success();
  // x is [outer, size, inner] around the axis.
  int64_t size = from[axis].value();
  int64_t outer = product(ctx.dimContext(), all.take_front(axis)).value();
  int64_t inner = product(ctx.dimContext(), all.drop_front(axis + 1)).value();
  SmallVector<Dim> result;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t index : *indices) {
      if (index < -size || index >= size)
        return emitOpError("index ")
               << index << " is out of range for dimension " << axis << " of " << shape::str(from);
      int64_t row = index < 0 ? index + size : index;
      for (int64_t i = 0; i < inner; ++i)
        result.push_back((*content)[(o * size + row) * inner + i]);
    }
  ctx.setContent(getResult(), result);
  return success();
}

LogicalResult GatherElementsOp::inferShapes(ShapeContext &ctx) {
  if (failed(shape::checkAxis(*this, getAxis(), ctx.rank(getX()))) ||
      failed(shape::checkRank(*this, ctx, getIndices(), "indices", ctx.rank(getX()))))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, ctx.dims(getIndices()));
  return success();
}

/// Length of the index tuples: the last dimension of `indices`, which must be constant.
static FailureOr<int64_t> tupleLength(Operation *op, ShapeContext &ctx, Value indices,
                                      int64_t most) {
  ArrayRef<Dim> dims = ctx.dims(indices);
  if (dims.empty() || !dims.back().isConst())
    return op->emitOpError("the last dimension of indices must be static, got ")
           << shape::str(dims);
  int64_t length = dims.back().value();
  if (length < 0 || length > most)
    return op->emitOpError("index tuples of ") << length << " for " << most << " dimensions";
  return length;
}

LogicalResult GatherNDOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX())), at(ctx.dims(getIndices()));
  int64_t batch = getBatchDims();
  if (batch < 0 || batch >= (int64_t)at.size() || batch > (int64_t)from.size())
    return emitOpError("batch_dims ")
           << batch << " does not fit " << shape::str(from) << " and " << shape::str(at);
  FailureOr<int64_t> length = tupleLength(*this, ctx, getIndices(), from.size() - batch);
  if (failed(length))
    return failure();
  Dims dims(ArrayRef<Dim>(at).drop_back());
  for (int64_t i = 0; i < batch; ++i) {
    if (failed(shape::checkSame(*this, from[i], at[i], "batch dimensions")))
      return failure();
    dims[i] = shape::unify(from[i], at[i]);
  }
  dims.append(from.begin() + batch + *length, from.end());
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);
  return success();
}

LogicalResult ScatterElementsOp::inferShapes(ShapeContext &ctx) {
  Dims x(ctx.dims(getX())), at(ctx.dims(getIndices())), updates(ctx.dims(getUpdates()));
  if (failed(shape::checkAxis(*this, getAxis(), x.size())) ||
      failed(shape::checkRank(*this, ctx, getIndices(), "indices", x.size())) ||
      failed(shape::checkRank(*this, ctx, getUpdates(), "updates", x.size())))
    return failure();
  for (auto [a, b] : llvm::zip(at, updates))
    if (failed(shape::checkSame(*this, a, b, "dimensions of indices and updates")))
      return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, x);
  return success();
}

LogicalResult ScatterNDOp::inferShapes(ShapeContext &ctx) {
  Dims x(ctx.dims(getX())), at(ctx.dims(getIndices())), updates(ctx.dims(getUpdates()));
  FailureOr<int64_t> length = tupleLength(*this, ctx, getIndices(), x.size());
  if (failed(length))
    return failure();
  Dims expected(ArrayRef<Dim>(at).drop_back());
  expected.append(x.begin() + *length, x.end());
  if (failed(shape::checkRank(*this, ctx, getUpdates(), "updates", expected.size())))
    return failure();
  for (auto [a, b] : llvm::zip(expected, updates))
    if (failed(shape::checkSame(*this, a, b, "dimensions of updates")))
      return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, x);
  return success();
}

LogicalResult OneHotOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getIndices()));
  int64_t axis = getAxis();
  if (failed(shape::checkAxis(*this, axis, dims.size() + 1)))
    return failure();
  Dim depth = ctx.scalarContent(getDepth());
  if (!depth)
    if (auto data = ConstantData::get(getDepth()); data && data->size() == 1)
      depth = ctx.constant(data->asInt(0)); // The depth may be a float.
  if (!depth)
    depth = shape::unknownDim(ctx, *this, 0, dims.size() + 1, axis, "depth");
  dims.insert(dims.begin() + axis, depth);
  ctx.set(getResult(), ctx.info(getValues()).elementType, dims);
  return success();
}

/// Whether all elements are known to be different from zero.
static bool isAllNonZero(Value x) {
  auto isOneNonZero = [](std::optional<ConstantData> data) {
    return data && data->size() == 1 && data->asDouble(0) != 0;
  };
  if (auto fill = x.getDefiningOp<ConstantOfShapeOp>())
    return isOneNonZero(ConstantData::get(fill.getValue()));
  if (auto expand = x.getDefiningOp<ExpandOp>())
    return isOneNonZero(ConstantData::get(expand.getX()));
  return false;
}

LogicalResult NonZeroOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX()));
  Type i64 = IntegerType::get(getContext(), 64);
  Dim rank = ctx.constant(from.size());
  if (auto elements = ctx.constantContent(getX())) {
    SmallVector<SmallVector<int64_t>> positions;
    for (auto [flat, value] : llvm::enumerate(*elements))
      if (value != 0)
        positions.push_back(shape::unflatten(flat, from));
    ctx.set(getResult(), i64, {rank, ctx.constant(positions.size())});
    SmallVector<Dim> content;
    for (size_t i = 0; i < from.size(); ++i)
      for (auto &position : positions)
        content.push_back(ctx.constant(position[i]));
    ctx.setContent(getResult(), content);
    return success();
  }
  Dim count = isAllNonZero(getX()) ? product(ctx.dimContext(), from)
                                   : shape::unknownDim(ctx, *this, 0, 2, 1, "nonzero");
  ctx.set(getResult(), i64, {rank, count});
  return success();
}

LogicalResult UniqueOp::inferShapes(ShapeContext &ctx) {
  Dims x(ctx.dims(getX()));
  Type i64 = IntegerType::get(getContext(), 64);
  Dim length = product(ctx.dimContext(), x);
  unsigned rank = 1, axis = 0;
  if (getAxis()) {
    rank = x.size();
    axis = *getAxis();
    if (failed(shape::checkAxis(*this, *getAxis(), rank)))
      return failure();
    length = x[axis];
  }
  Dim count = length.isConst() && length.value() < 2
                  ? length
                  : shape::unknownDim(ctx, *this, 0, rank, axis, "unique");
  Dims dims = getAxis() ? x : Dims{count};
  dims[axis] = count;
  ctx.set(getY(), ctx.info(getX()).elementType, dims);
  ctx.set(getIndices(), i64, {count});
  ctx.set(getInverse(), i64, {length});
  ctx.set(getCounts(), i64, {count});
  return success();
}

LogicalResult NonMaxSuppressionOp::inferShapes(ShapeContext &ctx) {
  if (failed(shape::checkRank(*this, ctx, getBoxes(), "boxes", 3)) ||
      failed(shape::checkRank(*this, ctx, getScores(), "scores", 3)))
    return failure();
  ArrayRef<Dim> boxes = ctx.dims(getBoxes()), scores = ctx.dims(getScores());
  if (failed(shape::checkSame(*this, boxes[0], scores[0], "batch sizes of boxes and scores")) ||
      failed(shape::checkSame(*this, boxes[1], scores[2], "numbers of boxes and scores")) ||
      failed(shape::checkSame(*this, boxes[2], ctx.constant(4), "coordinates of a box")))
    return failure();
  Dim count = shape::unknownDim(ctx, *this, 0, 2, 0, "selected");
  ctx.set(getResult(), IntegerType::get(getContext(), 64), {count, ctx.constant(3)});
  return success();
}

/// floor(size * scale) as ONNX Resize computes it, in float. Symbolic sizes need a scale that is
/// an integer or one over an integer.
static Dim scaledSize(ShapeContext &ctx, Dim size, float scale) {
  if (size.isConst())
    return ctx.constant((int64_t)std::floor(float(size.value()) * scale));
  if (scale >= 1 && scale == std::floor(scale))
    return size * (int64_t)scale;
  float inverse = 1 / scale;
  if (inverse >= 1 && inverse == std::floor(inverse) && inverse <= 1024)
    return size.floorDiv((int64_t)inverse);
  return {};
}

/// Elements of a float constant or of a concatenation of such.
static std::optional<SmallVector<float>> constantFloats(Value v) {
  if (auto concat = v ? v.getDefiningOp<ConcatOp>() : ConcatOp()) {
    SmallVector<float> all;
    for (Value input : concat.getInputs()) {
      auto part = constantFloats(input);
      if (!part)
        return std::nullopt;
      all.append(*part);
    }
    return all;
  }
  auto data = ConstantData::get(v);
  if (!data || data->size() > shape::kMaxContent)
    return std::nullopt;
  std::vector<float> values = data->asFloats();
  return SmallVector<float>(values.begin(), values.end());
}

LogicalResult ResizeOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  unsigned rank = dims.size();
  if (!getScales() && !getSizes())
    return emitOpError("needs scales or sizes");
  std::optional<Dims> sizes;
  if (getSizes())
    sizes = shape::partialContent(ctx, getSizes());
  auto scales = constantFloats(getScales());
  if ((sizes && sizes->size() != rank) || (scales && scales->size() != rank))
    return emitOpError("needs one scale or size for each dimension of ") << shape::str(dims);
  for (unsigned i = 0; i < rank; ++i) {
    Dim size = sizes ? (*sizes)[i] : Dim();
    if (scales && !getSizes())
      size = scaledSize(ctx, dims[i], (*scales)[i]);
    dims[i] = size ? size : shape::unknownDim(ctx, *this, 0, rank, i, "resize");
  }
  if (getRoi() && (ctx.rank(getRoi()) != 1 || shape::differ(ctx.dims(getRoi())[0], ctx.constant(2 * rank))))
    return emitOpError("roi must have ") << 2 * rank << " elements, got " << shape::str(ctx.dims(getRoi()));
  if (getCoordinates() == CoordinateMode::tf_crop_and_resize && !getRoi())
    return emitOpError("needs roi for tf_crop_and_resize");
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);
  return success();
}

LogicalResult TensorScatterOp::inferShapes(ShapeContext &ctx) {
  ArrayRef<Dim> x = ctx.dims(getX()), update = ctx.dims(getUpdate());
  int64_t rank = x.size(), axis = getAxis();
  if (failed(shape::checkAxis(*this, axis, rank)))
    return failure();
  if (axis == 0 || update.size() != x.size())
    return emitOpError("x ") << shape::str(x) << " and update " << shape::str(update)
                             << " must have the same rank, and the axis must not be the batch";
  for (int64_t d = 0; d < rank; ++d)
    if (d != axis && failed(shape::checkSame(*this, x[d], update[d], "dimensions of x and update")))
      return failure();
  if (getWriteIndices() &&
      (failed(shape::checkRank(*this, ctx, getWriteIndices(), "write_indices", 1)) ||
       failed(shape::checkSame(*this, ctx.dims(getWriteIndices())[0], x[0], "batch sizes of x and write_indices"))))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, x);
  return success();
}

LogicalResult ReverseSequenceOp::inferShapes(ShapeContext &ctx) {
  ArrayRef<Dim> x = ctx.dims(getX());
  if (failed(shape::checkAxis(*this, getBatchAxis(), x.size())) || failed(shape::checkAxis(*this, getTimeAxis(), x.size())))
    return failure();
  if (getBatchAxis() == getTimeAxis())
    return emitOpError("batch_axis and time_axis are the same");
  if (failed(shape::checkRank(*this, ctx, getLengths(), "lengths", 1)) ||
      failed(shape::checkSame(*this, ctx.dims(getLengths())[0], x[getBatchAxis()], "batch sizes of x and lengths")))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, x);
  return success();
}

/// Fails unless x is [N, C, H, W] and its dimension `i` is a multiple of `by`.
static LogicalResult checkDivides(Operation *op, ArrayRef<Dim> x, unsigned i, int64_t by) {
  Dim rest = x[i].mod(x[i].context().constant(by));
  if (rest.isConst() && !rest.isConst(0))
    return op->emitOpError("dimension ")
           << i << " of " << shape::str(x) << " is not a multiple of " << by;
  return success();
}

LogicalResult DepthToSpaceOp::inferShapes(ShapeContext &ctx) {
  int64_t block = getBlocksize();
  if (failed(shape::checkRank(*this, ctx, getX(), "x", 4)))
    return failure();
  Dims x(ctx.dims(getX()));
  if (block < 1)
    return emitOpError("blocksize must be at least 1, got ") << block;
  if (failed(checkDivides(*this, x, 1, block * block)))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType,
          {x[0], x[1].floorDiv(block * block), x[2] * block, x[3] * block});
  return success();
}

LogicalResult SpaceToDepthOp::inferShapes(ShapeContext &ctx) {
  int64_t block = getBlocksize();
  if (failed(shape::checkRank(*this, ctx, getX(), "x", 4)))
    return failure();
  Dims x(ctx.dims(getX()));
  if (block < 1)
    return emitOpError("blocksize must be at least 1, got ") << block;
  if (failed(checkDivides(*this, x, 2, block)) || failed(checkDivides(*this, x, 3, block)))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType,
          {x[0], x[1] * (block * block), x[2].floorDiv(block), x[3].floorDiv(block)});
  return success();
}

} // namespace nnopt::nn
