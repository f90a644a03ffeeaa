//===- ShapeFunctionsReductions.cpp - reductions, scans, norms, cells -----===//
#include "dialects/nn/ShapeHelpers.h"

using namespace mlir;

namespace nnopt::nn {

/// Content of sum, prod, max, min over the axes that `isReduced` marks.
static void setReducedContent(ReduceOp op, ShapeContext &ctx, ArrayRef<bool> isReduced) {
  const auto *content = ctx.content(op.getX());
  ReduceKind kind = op.getKind();
  if (!content || content->empty() ||
      !llvm::is_contained({ReduceKind::sum, ReduceKind::prod, ReduceKind::max, ReduceKind::min},
                          kind))
    return;
  auto count = shape::smallCount(ctx.dims(op.getResult()));
  ArrayRef<Dim> from = ctx.dims(op.getX());
  Dims kept(from);
  for (auto [d, reduced] : llvm::zip(kept, isReduced))
    if (reduced)
      d = ctx.constant(1);
  SmallVector<int64_t> strides = shape::rowMajorStrides(kept);
  SmallVector<Dim> result(*count);
  for (auto [flat, value] : llvm::enumerate(*content)) {
    SmallVector<int64_t> position = shape::unflatten(flat, from);
    int64_t offset = 0;
    for (size_t i = 0; i < position.size(); ++i)
      offset += isReduced[i] ? 0 : position[i] * strides[i];
    Dim &acc = result[offset];
    if (!acc)
      acc = value;
    else if (kind == ReduceKind::sum)
      acc = acc + value;
    else if (kind == ReduceKind::prod)
      acc = acc * value;
    else
      acc = kind == ReduceKind::max ? acc.max(value) : acc.min(value);
  }
  ctx.setContent(op.getResult(), result);
}

LogicalResult ReduceOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX())), dims;
  int64_t rank = from.size();
  Type elementType = ctx.info(getX()).elementType;
  std::optional<SmallVector<int64_t>> axes;
  if (getDynamicAxes())
    axes = ctx.constantContent(getDynamicAxes());
  else
    axes = getAxes() ? SmallVector<int64_t>(*getAxes()) : SmallVector<int64_t>();
  if (!axes) {
    // Any dimension may be gone. Axes do not repeat, so that their number gives the rank; where
    // that is unknown too, the result type knows it.
    ArrayRef<Dim> given = ctx.dims(getDynamicAxes());
    unsigned resultRank = getKeepDims() ? rank : getType().getRank();
    if (!getKeepDims() && given.size() == 1 && given[0].isConst())
      resultRank = given[0].isConst(0) ? 0 : std::max<int64_t>(0, rank - given[0].value());
    for (unsigned i = 0; i < resultRank; ++i)
      dims.push_back(shape::unknownDim(ctx, *this, 0, resultRank, i, "reduce"));
    ctx.set(getResult(), elementType, dims);
    return success();
  }
  SmallVector<bool> isReduced(rank, axes->empty());
  for (int64_t axis : *axes) {
    axis = axis < 0 ? axis + rank : axis;
    if (failed(shape::checkAxis(*this, axis, rank)))
      return failure();
    isReduced[axis] = true;
  }
  for (int64_t i = 0; i < rank; ++i) {
    if (!isReduced[i])
      dims.push_back(from[i]);
    else if (getKeepDims())
      dims.push_back(ctx.constant(1));
  }
  ctx.set(getResult(), elementType, dims);
  setReducedContent(*this, ctx, isReduced);
  return success();
}

LogicalResult ArgReduceOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  if (failed(shape::checkAxis(*this, getAxis(), dims.size())))
    return failure();
  if (getKeepDims())
    dims[getAxis()] = ctx.constant(1);
  else
    dims.erase(dims.begin() + getAxis());
  ctx.set(getResult(), IntegerType::get(getContext(), 64), dims);
  return success();
}

/// Results that look like the operand.
static LogicalResult inferSame(ShapeContext &ctx, Value x, Value result) {
  ctx.set(result, ctx.info(x).elementType, ctx.dims(x));
  return success();
}

LogicalResult CumSumOp::inferShapes(ShapeContext &ctx) {
  return inferSame(ctx, getX(), getResult());
}

LogicalResult CumProdOp::inferShapes(ShapeContext &ctx) {
  return inferSame(ctx, getX(), getResult());
}

LogicalResult SoftmaxOp::inferShapes(ShapeContext &ctx) {
  if (failed(shape::checkAxis(*this, getAxis(), ctx.rank(getX()))))
    return failure();
  return inferSame(ctx, getX(), getResult());
}

LogicalResult TopKOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  int64_t axis = getAxis();
  if (failed(shape::checkAxis(*this, axis, dims.size())))
    return failure();
  Dim k = ctx.scalarContent(getK());
  if (k && (k - dims[axis]).isAtLeast(1))
    return emitOpError("takes ") << k.str() << " of " << dims[axis].str() << " elements";
  dims[axis] = k ? k : shape::unknownDim(ctx, *this, 0, dims.size(), axis, "topk");
  ctx.set(getValues(), ctx.info(getX()).elementType, dims);
  ctx.set(getIndices(), IntegerType::get(getContext(), 64), dims);
  return success();
}

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

/// Fails unless each of `values` is a vector of `channels` elements.
static LogicalResult checkChannels(Operation *op, ShapeContext &ctx, ValueRange values,
                                   Dim channels) {
  for (Value v : values) {
    if (failed(shape::checkRank(op, ctx, v, "per-channel operand", 1)) ||
        failed(shape::checkSame(op, ctx.dims(v).front(), channels, "channels")))
      return failure();
  }
  return success();
}

/// The channel dimension of x.
static FailureOr<Dim> channelsOf(Operation *op, ShapeContext &ctx, Value x, bool last) {
  ArrayRef<Dim> dims = ctx.dims(x);
  if (dims.size() < 2)
    return op->emitOpError("x must have rank 2 or more, got ") << shape::str(dims);
  return last ? dims.back() : dims[1];
}

LogicalResult BatchNormOp::inferShapes(ShapeContext &ctx) {
  FailureOr<Dim> channels = channelsOf(*this, ctx, getX(), getChannelsLast());
  if (failed(channels) ||
      failed(
          checkChannels(*this, ctx, {getScale(), getBias(), getMean(), getVariance()}, *channels)))
    return failure();
  return inferSame(ctx, getX(), getResult());
}

LogicalResult GroupNormOp::inferShapes(ShapeContext &ctx) {
  FailureOr<Dim> channels = channelsOf(*this, ctx, getX(), getChannelsLast());
  if (failed(channels) || failed(checkChannels(*this, ctx, {getScale(), getBias()}, *channels)))
    return failure();
  if (channels->isConst() &&
      ((int64_t)getNumGroups() < 1 || channels->value() % (int64_t)getNumGroups()))
    return emitOpError("cannot divide ")
           << channels->value() << " channels into " << getNumGroups() << " groups";
  return inferSame(ctx, getX(), getResult());
}

/// scale and bias must broadcast to the dimensions of x from `axis` on.
static LogicalResult inferAxisNorm(Operation *op, ShapeContext &ctx, Value x, ValueRange operands,
                                   int64_t axis, Value result) {
  if (failed(shape::checkAxis(op, axis, ctx.rank(x))))
    return failure();
  Dims normalized(ctx.dims(x).drop_front(axis));
  for (Value v : operands) {
    ArrayRef<Dim> dims = ctx.dims(v);
    std::optional<Dims> both = broadcastDims(ctx, normalized, dims);
    bool fits = both && both->size() == normalized.size();
    for (size_t i = 0; fits && i < normalized.size(); ++i)
      fits = !shape::differ((*both)[i], normalized[i]);
    if (!fits)
      return op->emitOpError("operand of ")
             << shape::str(dims) << " does not broadcast to " << shape::str(normalized);
  }
  return inferSame(ctx, x, result);
}

LogicalResult LayerNormOp::inferShapes(ShapeContext &ctx) {
  SmallVector<Value> operands{getScale()};
  if (getBias())
    operands.push_back(getBias());
  return inferAxisNorm(*this, ctx, getX(), operands, getAxis(), getResult());
}

LogicalResult RMSNormOp::inferShapes(ShapeContext &ctx) {
  return inferAxisNorm(*this, ctx, getX(), getScale(), getAxis(), getResult());
}

LogicalResult LpNormOp::inferShapes(ShapeContext &ctx) {
  return inferAxisNorm(*this, ctx, getX(), {}, getAxis(), getResult());
}

LogicalResult LRNOp::inferShapes(ShapeContext &ctx) {
  if (failed(channelsOf(*this, ctx, getX(), false)))
    return failure();
  return inferSame(ctx, getX(), getResult());
}

//===----------------------------------------------------------------------===//
// Recurrent cells
//===----------------------------------------------------------------------===//

namespace {
/// The sizes of a recurrent cell.
struct CellDims {
  Dim sequence, directions, batch, hidden;
};
} // namespace

template <typename Cell>
static FailureOr<CellDims> cellDims(Cell op, ShapeContext &ctx, int64_t gates) {
  if (failed(shape::checkRank(op, ctx, op.getX(), "x", 3)) ||
      failed(shape::checkRank(op, ctx, op.getW(), "w", 3)) ||
      failed(shape::checkRank(op, ctx, op.getR(), "r", 3)))
    return failure();
  Dims x(ctx.dims(op.getX())), w(ctx.dims(op.getW())), r(ctx.dims(op.getR()));
  Dim directions = ctx.constant(op.getDirection() == Direction::bidirectional ? 2 : 1);
  Dim hidden = r[2];
  if (failed(shape::checkSame(op, w[0], directions, "directions")) ||
      failed(shape::checkSame(op, r[0], directions, "directions")) ||
      failed(shape::checkSame(op, w[2], x[2], "input sizes of x and w")) ||
      failed(shape::checkSame(op, w[1], hidden * gates, "rows of w and the hidden size")) ||
      failed(shape::checkSame(op, r[1], hidden * gates, "rows of r and the hidden size")))
    return failure();
  if (op.getInitialH()) {
    if (failed(shape::checkRank(op, ctx, op.getInitialH(), "initial_h", 3)) ||
        failed(shape::checkSame(op, ctx.dims(op.getInitialH())[1], x[1],
                                "batch sizes of x and initial_h")))
      return failure();
    x[1] = shape::unify(x[1], ctx.dims(op.getInitialH())[1]);
  }
  return CellDims{x[0], directions, x[1], hidden};
}

template <typename Cell> static LogicalResult inferCell(Cell op, ShapeContext &ctx, int64_t gates) {
  FailureOr<CellDims> d = cellDims(op, ctx, gates);
  if (failed(d))
    return failure();
  Type elementType = ctx.info(op.getX()).elementType;
  ctx.set(op.getY(), elementType, {d->sequence, d->directions, d->batch, d->hidden});
  // Last hidden state, and cell state for lstm.
  for (Value state : op->getResults().drop_front())
    ctx.set(state, elementType, {d->directions, d->batch, d->hidden});
  return success();
}

LogicalResult LSTMOp::inferShapes(ShapeContext &ctx) { return inferCell(*this, ctx, 4); }
LogicalResult GRUOp::inferShapes(ShapeContext &ctx) { return inferCell(*this, ctx, 3); }
LogicalResult RNNOp::inferShapes(ShapeContext &ctx) { return inferCell(*this, ctx, 1); }

} // namespace nnopt::nn
