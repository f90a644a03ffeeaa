//===- Parts.cpp - parts of tensors along one dimension -------------------===//
#include "passes/common/Parts.h"

using namespace mlir;

namespace nnopt {

std::optional<int64_t> Positions::atMost() const {
  if (indices)
    return indices->size();
  if (step < 1)
    return std::nullopt;
  int64_t length;
  if ((start < 0) == (end < 0))
    length = end > start ? end - start : 0;
  else if (start < 0) // From the end on, as far as there is.
    length = -start;
  else
    return std::nullopt;
  return llvm::divideCeil(length, step);
}

SmallVector<int64_t> Positions::in(int64_t size) const {
  SmallVector<int64_t> result;
  if (indices) {
    for (int64_t i : *indices)
      result.push_back(i < 0 ? i + size : i);
    return result;
  }
  // As ONNX Slice: negative bounds count from the end, then both are clamped.
  auto clamped = [&](int64_t at, int64_t low, int64_t high) { return std::clamp(at < 0 ? at + size : at, low, high); };
  if (step > 0)
    for (int64_t i = clamped(start, 0, size), last = clamped(end, 0, size); i < last; i += step)
      result.push_back(i);
  else
    for (int64_t i = clamped(start, 0, size - 1), last = end < -size ? -1 : clamped(end, -1, size - 1); i > last; i += step)
      result.push_back(i);
  return result;
}

std::optional<Positions> readSlice(nn::SliceOp op, FuncShapes &shapes) {
  auto starts = shapes.ctx.constantContent(op.getStarts()), ends = shapes.ctx.constantContent(op.getEnds());
  auto axes = op.getAxes() ? shapes.ctx.constantContent(op.getAxes()) : std::nullopt;
  auto steps = op.getSteps() ? shapes.ctx.constantContent(op.getSteps()) : std::nullopt;
  if (!starts || !ends || (op.getAxes() && !axes) || (op.getSteps() && !steps))
    return std::nullopt;
  auto from = shapes.dims(op.getX()), to = shapes.dims(op.getResult());
  std::optional<Positions> result;
  for (size_t i = 0; i < starts->size(); ++i) {
    int64_t axis = axes ? (*axes)[i] : int64_t(i), step = steps ? (*steps)[i] : 1;
    axis += axis < 0 ? rankOf(op.getX()) : 0;
    // As many elements with a step of 1 are all of them.
    if (step == 1 && from[axis] == to[axis])
      continue;
    if (result)
      return std::nullopt;
    result = Positions{axis, (*starts)[i], (*ends)[i], step, std::nullopt};
  }
  return result;
}

std::optional<Positions> readPositions(Operation *op, FuncShapes &shapes) {
  if (auto slice = dyn_cast_or_null<nn::SliceOp>(op))
    return readSlice(slice, shapes);
  auto gather = dyn_cast_or_null<nn::GatherOp>(op);
  if (!gather || rankOf(gather.getIndices()) != 1)
    return std::nullopt;
  auto indices = shapes.ctx.constantContent(gather.getIndices());
  if (!indices)
    return std::nullopt;
  return Positions{int64_t(gather.getAxis()), 0, 0, 1, std::move(indices)};
}

ElementsAttr pickConstant(const nn::ConstantData &data, int64_t axis, ArrayRef<int64_t> positions) {
  SmallVector<int64_t> shape(data.type().getShape());
  int64_t inner = nn::elementBytes(data.type().getElementType()), outer = 1, size = shape[axis];
  for (int64_t i = 0; i < axis; ++i)
    outer *= shape[i];
  for (int64_t i = axis + 1; i < int64_t(shape.size()); ++i)
    inner *= shape[i];
  std::vector<char> bytes;
  bytes.reserve(outer * positions.size() * inner);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t p : positions) {
      ArrayRef<char> piece = data.bytes().slice((o * size + p) * inner, inner);
      bytes.insert(bytes.end(), piece.begin(), piece.end());
    }
  shape[axis] = positions.size();
  return nn::makeConstant(RankedTensorType::get(shape, data.type().getElementType()), bytes, "part");
}

Value makeSlice(Value x, int64_t axis, int64_t start, int64_t end, OpBuilder &b, Location loc) {
  return pick(x, Positions{axis, start, end, 1, std::nullopt}, b, loc);
}

Value pick(Value x, const Positions &p, OpBuilder &b, Location loc) {
  if (auto data = nn::ConstantData::get(x))
    return nn::ConstantOp::create(b, loc, pickConstant(*data, p.axis, p.in(shapeOf(x)[p.axis])));
  if (p.indices)
    return nn::GatherOp::create(b, loc, untyped(elementTypeOf(x)), x, makeIntsOp(b, loc, *p.indices),
                                b.getI64IntegerAttr(p.axis));
  Value start = makeIntsOp(b, loc, {p.start}), end = makeIntsOp(b, loc, {p.end}), axis = makeIntsOp(b, loc, {p.axis});
  Value step = p.step == 1 ? Value() : makeIntsOp(b, loc, {p.step});
  return nn::SliceOp::create(b, loc, untyped(elementTypeOf(x)), x, start, end, axis, step);
}

std::optional<Part> readPart(Value v, int64_t axis, FuncShapes &shapes) {
  nn::Dim size = shapes.dims(v)[axis];
  if (!size.isConst())
    return std::nullopt;
  Part part{v, 0, size.value()};
  if (auto slice = v.getDefiningOp<nn::SliceOp>()) {
    auto positions = readSlice(slice, shapes);
    nn::Dim whole = shapes.dims(slice.getX())[axis];
    if (!positions || positions->axis != axis || positions->step != 1 || !whole.isConst())
      return part;
    part.whole = slice.getX();
    part.start = positions->in(whole.value()).empty() ? 0 : positions->in(whole.value()).front();
  } else if (auto split = v.getDefiningOp<nn::SplitOp>(); split && int64_t(split.getAxis()) == axis) {
    int64_t start = 0;
    for (Value other : split.getResults()) {
      if (other == v) {
        part.whole = split.getX();
        part.start = start;
        break;
      }
      nn::Dim before = shapes.dims(other)[axis];
      if (!before.isConst())
        break;
      start += before.value();
    }
  }
  return part;
}

} // namespace nnopt
