//===- ShapeFunctionsDataMovement.cpp - transpose, concat, slice, pad ... -===//
#include "dialects/nn/ShapeHelpers.h"

using namespace mlir;

namespace nnopt::nn {

/// Sets the content of `result` from that of `x`, where known: element `position` of the result is
/// element source(position) of x. Both must have their dimensions set.
static void setMovedContent(ShapeContext &ctx, Value x, Value result,
                            function_ref<SmallVector<int64_t>(ArrayRef<int64_t>)> source) {
  const auto *from = ctx.content(x);
  auto count = shape::smallCount(ctx.dims(result));
  if (!from || !count)
    return;
  SmallVector<int64_t> strides = shape::rowMajorStrides(ctx.dims(x));
  SmallVector<Dim> content;
  for (int64_t flat = 0; flat < *count; ++flat) {
    SmallVector<int64_t> position = source(shape::unflatten(flat, ctx.dims(result)));
    int64_t offset = 0;
    for (auto [p, s] : llvm::zip(position, strides))
      offset += p * s;
    content.push_back((*from)[offset]);
  }
  ctx.setContent(result, content);
}

LogicalResult TransposeOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX())), dims;
  if (getPerm().size() != from.size())
    return emitOpError("perm [") << getPerm() << "] does not fit " << shape::str(from);
  for (int64_t p : getPerm()) {
    if (failed(shape::checkAxis(*this, p, from.size())))
      return failure();
    dims.push_back(from[p]);
  }
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);
  setMovedContent(ctx, getX(), getResult(), [&](ArrayRef<int64_t> position) {
    SmallVector<int64_t> source(position.size());
    for (auto [i, p] : llvm::enumerate(getPerm()))
      source[p] = position[i];
    return source;
  });
  return success();
}

LogicalResult ExpandOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX()));
  std::optional<Dims> wanted = shape::partialContent(ctx, getShape());
  if (!wanted)
    wanted = Dims(getType().getRank(), Dim());
  unsigned rank = std::max(from.size(), wanted->size());
  for (unsigned i = 0; i < wanted->size(); ++i) {
    Dim &d = (*wanted)[i];
    if (d && d.isConst() && d.value() < 0)
      return emitOpError("shape has a negative size: ") << shape::str(*wanted);
    if (d && (d.isConst() || d.isAtLeast(0)))
      continue;
    // Unknown: a dimension of x that cannot be stretched decides, else it is new.
    unsigned k = rank - wanted->size() + i;
    Dim own = k + from.size() >= rank ? from[k + from.size() - rank] : Dim();
    d = own && (own.isConst() ? !own.isConst(1) : own.isAtLeast(2))
            ? own
            : shape::unknownDim(ctx, *this, 0, rank, k, "expand");
  }
  std::optional<Dims> dims = broadcastDims(ctx, from, *wanted);
  if (!dims)
    return emitOpError("cannot expand ") << shape::str(from) << " to " << shape::str(*wanted);
  ctx.set(getResult(), ctx.info(getX()).elementType, *dims);
  setMovedContent(ctx, getX(), getResult(), [&](ArrayRef<int64_t> position) {
    SmallVector<int64_t> source(position.take_back(from.size()));
    for (auto [i, d] : llvm::enumerate(from))
      if (d.isConst(1))
        source[i] = 0;
    return source;
  });
  return success();
}

LogicalResult ConcatOp::inferShapes(ShapeContext &ctx) {
  if (getInputs().empty())
    return emitOpError("needs an input");
  Dims dims(ctx.dims(getInputs().front()));
  int64_t axis = getAxis();
  if (failed(shape::checkAxis(*this, axis, dims.size())))
    return failure();
  for (Value input : getInputs().drop_front()) {
    ArrayRef<Dim> more = ctx.dims(input);
    if (more.size() != dims.size())
      return emitOpError("inputs have different ranks: ")
             << shape::str(dims) << " and " << shape::str(more);
    for (int64_t i = 0; i < (int64_t)dims.size(); ++i) {
      if (i == axis) {
        dims[i] = dims[i] + more[i];
      } else if (shape::differ(dims[i], more[i])) {
        return emitOpError("inputs do not agree in dimension ")
               << i << ": " << shape::str(dims) << " and " << shape::str(more);
      } else {
        dims[i] = shape::unify(dims[i], more[i]);
      }
    }
  }
  ctx.set(getResult(), ctx.info(getInputs().front()).elementType, dims);
  // Content, for whole rows: all dimensions before the axis are 1.
  if (llvm::any_of(ArrayRef<Dim>(dims).take_front(axis), [](Dim d) { return !d.isConst(1); }))
    return success();
  SmallVector<Dim> content;
  for (Value input : getInputs()) {
    const auto *part = ctx.content(input);
    if (!part)
      return success();
    content.append(part->begin(), part->end());
  }
  ctx.setContent(getResult(), content);
  return success();
}

LogicalResult SplitOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX()));
  int64_t axis = getAxis(), parts = getNumResults();
  if (failed(shape::checkAxis(*this, axis, from.size())))
    return failure();
  std::optional<Dims> sizes;
  if (getSizes())
    sizes = shape::partialContent(ctx, getSizes());
  if (sizes && (int64_t)sizes->size() != parts)
    return emitOpError("has ") << parts << " results but " << sizes->size() << " sizes";
  Dim sum = ctx.constant(0);
  bool allKnown = true;
  for (int64_t i = 0; i < parts; ++i) {
    Dims dims = from;
    Dim begin = sum, size;
    if (getSizes()) {
      size = sizes ? (*sizes)[i] : Dim();
    } else {
      // Equal parts; the last one is what is left.
      Dim part = from[axis].ceilDiv(parts);
      size = i + 1 < parts ? part : from[axis] - part * (parts - 1);
    }
    allKnown &= bool(size);
    if (!size)
      size = shape::unknownDim(ctx, *this, i, from.size(), axis, "split");
    dims[axis] = size;
    sum = sum + size;
    ctx.set(getResult(i), ctx.info(getX()).elementType, dims);
    if (begin.isConst())
      setMovedContent(ctx, getX(), getResult(i), [&](ArrayRef<int64_t> position) {
        SmallVector<int64_t> source(position);
        source[axis] += begin.value();
        return source;
      });
  }
  if (allKnown && shape::differ(sum, from[axis]))
    return emitOpError("sizes add up to ")
           << sum.str() << ", dimension " << axis << " is " << from[axis].str();
  return success();
}

//===----------------------------------------------------------------------===//
// Slice
//===----------------------------------------------------------------------===//

/// A slice position made non-negative and clamped to [low, high]; null when its sign is unknown.
static Dim slicePosition(Dim position, Dim size, int64_t low, Dim high) {
  DimContext &ctx = size.context();
  if (position.isAtLeast(0))
    return position.min(high);
  // Far below zero stands for "before everything".
  if (position.isConst() && position.value() < std::numeric_limits<int32_t>::min())
    return ctx.constant(low);
  if ((position * -1).isAtLeast(1))
    return (position + size).max(ctx.constant(low)).min(high);
  return {};
}

namespace {
/// One sliced dimension.
struct SlicedAxis {
  Dim start, step, size; ///< null where unknown.
};
} // namespace

static SlicedAxis sliceAxis(Dim size, Dim start, Dim end, Dim step) {
  SlicedAxis result{Dim(), step, Dim()};
  if (!step || !step.isConst())
    return result;
  DimContext &ctx = size.context();
  bool forward = step.value() > 0;
  // Going backward, positions are from size - 1 down to -1 (exclusive end).
  Dim first, last;
  if (start)
    first = slicePosition(start, size, 0, forward ? size : size - 1);
  if (end)
    last = slicePosition(end, size, forward ? 0 : -1, forward ? size : size - 1);
  result.start = first;
  if (!first || !last)
    return result;
  Dim length = forward ? last - first : first - last;
  // The same length always gets the same form: a start behind the end need not be clamped, and
  // the last k elements are as many as the first k.
  if (forward && start.isAtLeast(0))
    length = last - start;
  else if (forward && last == size && start.isConst())
    length = size.min(start * -1);
  result.size = length.ceilDiv(std::abs(step.value())).max(ctx.constant(0));
  return result;
}

LogicalResult SliceOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  int64_t rank = dims.size();
  auto starts = shape::partialContent(ctx, getStarts());
  auto ends = shape::partialContent(ctx, getEnds());
  std::optional<SmallVector<int64_t>> axes;
  std::optional<Dims> steps;
  if (getAxes()) {
    axes = ctx.constantContent(getAxes());
  } else if (starts) {
    axes = llvm::to_vector(llvm::seq<int64_t>(0, starts->size()));
  }
  if (getSteps())
    steps = shape::partialContent(ctx, getSteps());
  else if (axes)
    steps = Dims(axes->size(), ctx.constant(1));
  Type elementType = ctx.info(getX()).elementType;
  if (!axes) {
    for (int64_t i = 0; i < rank; ++i)
      dims[i] = shape::unknownDim(ctx, *this, 0, rank, i, "slice");
    ctx.set(getResult(), elementType, dims);
    return success();
  }
  size_t count = axes->size();
  auto fits = [&](const std::optional<Dims> &v) { return !v || v->size() == count; };
  if (!fits(starts) || !fits(ends) || !fits(steps) || (int64_t)count > rank)
    return emitOpError("starts, ends, axes and steps do not have one entry for each axis of ")
           << shape::str(dims);
  SmallVector<int64_t> begin(rank, 0), step(rank, 1);
  bool known = true;
  for (size_t i = 0; i < count; ++i) {
    int64_t axis = (*axes)[i] < 0 ? (*axes)[i] + rank : (*axes)[i];
    if (failed(shape::checkAxis(*this, axis, rank)))
      return failure();
    if (steps && (*steps)[i] && (*steps)[i].isConst(0))
      return emitOpError("step of axis ") << axis << " is 0";
    auto at = [&](const std::optional<Dims> &v) { return v ? (*v)[i] : Dim(); };
    SlicedAxis sliced = sliceAxis(dims[axis], at(starts), at(ends), at(steps));
    known &= sliced.start && sliced.start.isConst();
    if (sliced.start && sliced.start.isConst())
      begin[axis] = sliced.start.value();
    if (sliced.step && sliced.step.isConst())
      step[axis] = sliced.step.value();
    dims[axis] = sliced.size ? sliced.size : shape::unknownDim(ctx, *this, 0, rank, axis, "slice");
  }
  ctx.set(getResult(), elementType, dims);
  if (known)
    setMovedContent(ctx, getX(), getResult(), [&](ArrayRef<int64_t> position) {
      SmallVector<int64_t> source(position);
      for (int64_t i = 0; i < rank; ++i)
        source[i] = begin[i] + position[i] * step[i];
      return source;
    });
  return success();
}

LogicalResult PadOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  int64_t rank = dims.size();
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  auto pads = shape::partialContent(ctx, getPads());
  if (getAxes()) {
    auto given = ctx.constantContent(getAxes());
    if (given)
      axes = *given;
    else
      pads = std::nullopt; // Any dimension may be padded.
  }
  if (pads && pads->size() != 2 * axes.size())
    return emitOpError("has ") << pads->size() << " pads for " << axes.size() << " axes of "
                               << shape::str(dims);
  for (auto [i, axis] : llvm::enumerate(axes)) {
    axis = axis < 0 ? axis + rank : axis;
    if (failed(shape::checkAxis(*this, axis, rank)))
      return failure();
    Dim before = pads ? (*pads)[i] : Dim(), after = pads ? (*pads)[axes.size() + i] : Dim();
    dims[axis] = before && after ? dims[axis] + before + after
                                 : shape::unknownDim(ctx, *this, 0, rank, axis, "pad");
  }
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);
  return success();
}

LogicalResult TileOp::inferShapes(ShapeContext &ctx) {
  Dims from(ctx.dims(getX())), dims = from;
  auto repeats = shape::partialContent(ctx, getRepeats());
  if (repeats && repeats->size() != dims.size())
    return emitOpError("has ") << repeats->size() << " repeats for " << shape::str(dims);
  for (unsigned i = 0; i < dims.size(); ++i) {
    Dim repeat = repeats ? (*repeats)[i] : Dim();
    dims[i] = repeat && repeat.isAtLeast(0)
                  ? dims[i] * repeat
                  : shape::unknownDim(ctx, *this, 0, dims.size(), i, "tile");
  }
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);
  setMovedContent(ctx, getX(), getResult(), [&](ArrayRef<int64_t> position) {
    SmallVector<int64_t> source(position);
    for (auto [i, d] : llvm::enumerate(from))
      source[i] %= d.value();
    return source;
  });
  return success();
}

LogicalResult TriluOp::inferShapes(ShapeContext &ctx) {
  if (ctx.rank(getX()) < 2)
    return emitOpError("x must have rank 2 or more, got ") << shape::str(ctx.dims(getX()));
  ctx.set(getResult(), ctx.info(getX()).elementType, ctx.dims(getX()));
  return success();
}

} // namespace nnopt::nn
