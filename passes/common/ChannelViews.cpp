//===- ChannelViews.cpp - operations that let channel maps through --------===//
#include "passes/common/ChannelViews.h"

using namespace mlir;

namespace nnopt {
namespace {

ViewMaps refuse(const llvm::Twine &why) {
  ViewMaps maps;
  maps.why = why.str();
  return maps;
}

/// The maps of the one operand and the one result of an operation: the one that is asked for.
ViewMaps through(Operation *op, std::optional<ChannelMap> map) {
  if (!map)
    return refuse("a reshape mixes the channels with other dimensions");
  ViewMaps maps;
  maps.passes = true;
  maps.operands.push_back({&op->getOpOperand(0), *map});
  maps.results.push_back({op->getResult(0), *map});
  return maps;
}

/// Positions `start + i * step` along a dimension of x that a slice or a part of a split keeps.
struct Part {
  int64_t axis = 0, start = 0, step = 1;
};

/// The map of x whose part is `map`, the identity elsewhere.
ChannelMap embed(const ChannelMap &map, Part part, int64_t size, int64_t partSize) {
  ChannelMap whole{part.axis, std::vector<double>(size, 1), std::vector<double>(size, 0)};
  auto scale = map.scales(partSize), shift = map.shifts(partSize);
  for (int64_t i = 0; i < partSize; ++i) {
    whole.scale[part.start + i * part.step] = scale[i];
    whole.shift[part.start + i * part.step] = shift[i];
  }
  return whole.along(part.axis);
}

/// Where a slice starts along `axis` and its step; 0 and 1 where it keeps that dimension.
std::optional<Part> partOfSlice(nn::SliceOp op, int64_t axis, FuncShapes &shapes) {
  Part part{axis, 0, 1};
  auto starts = shapes.ctx.constantContent(op.getStarts());
  auto axes = op.getAxes() ? shapes.ctx.constantContent(op.getAxes()) : std::nullopt;
  auto steps = op.getSteps() ? shapes.ctx.constantContent(op.getSteps()) : std::nullopt;
  nn::Dim size = shapes.dims(op.getX())[axis];
  if (!starts || (op.getAxes() && !axes) || (op.getSteps() && !steps) || !size.isConst())
    return std::nullopt;
  for (size_t i = 0; i < starts->size(); ++i) {
    int64_t a = axes ? (*axes)[i] : (int64_t)i;
    if (a + (a < 0 ? rankOf(op.getX()) : 0) != axis)
      continue;
    part.step = steps ? (*steps)[i] : 1;
    int64_t start = (*starts)[i] + ((*starts)[i] < 0 ? size.value() : 0);
    part.start = std::clamp<int64_t>(start, 0, size.value() - (part.step < 0 ? 1 : 0));
  }
  return part;
}

/// The part of x that result `index` of a split is.
std::optional<Part> partOfSplit(nn::SplitOp op, unsigned index, FuncShapes &shapes) {
  Part part{(int64_t)op.getAxis(), 0, 1};
  for (Value before : op.getResults().take_front(index)) {
    nn::Dim d = shapes.dims(before)[part.axis];
    if (!d.isConst())
      return std::nullopt;
    part.start += d.value();
  }
  return part;
}

bool isNonNegative(const ChannelMap &map) {
  return llvm::all_of(map.scale, [](double s) { return s >= 0; });
}

/// Windows and sums over positions: why a map of each channel does not commute; empty if it does.
std::string whyNotCommute(Operation *op, const ChannelMap &map, FuncShapes &shapes) {
  if (auto pool = dyn_cast<nn::AvgPoolOp>(op)) {
    // The mean of shifted elements is the shifted mean where only elements are counted.
    bool padded = pool.getCeilMode() || llvm::any_of(pool.getPads(), [](int64_t p) { return p; });
    if (map.isShifted() && pool.getCountIncludePad() && padded)
      return "average pooling counts zeros of its padding";
  } else if (auto pool = dyn_cast<nn::MaxPoolOp>(op)) {
    if (pool.getIndices() || !isNonNegative(map))
      return "a maximum commutes with scales that are not negative only";
  } else if (auto resize = dyn_cast<nn::ResizeOp>(op)) {
    if (map.isShifted() && resize.getCoordinates() == nn::CoordinateMode::tf_crop_and_resize)
      return "resizing extrapolates with a number";
  } else {
    return "it is not the result of a convolution or matrix product, and " +
           op->getName().getStringRef().str() + " does not let it through";
  }
  if (map.axis == ChannelMap::kNumbers)
    return "";
  bool isLast = op->hasAttr("channels_last");
  bool ok = isa<nn::ResizeOp>(op) ? shapes.dims(op->getOperand(0))[map.axis] ==
                                        shapes.dims(op->getResult(0))[map.axis]
                                  : map.axis == (isLast ? rankOf(op->getOperand(0)) - 1 : 1);
  return ok ? "" : "its windows go over the channels";
}

/// The dimension of a reduction's operand that its result has as `axis`, or the other way round.
std::optional<int64_t> axisOfReduce(nn::ReduceOp op, int64_t axis, bool toOperand) {
  if (op.getDynamicAxes() || !op.getAxes())
    return std::nullopt;
  ArrayRef<int64_t> axes = *op.getAxes();
  if (op.getKeepDims())
    return llvm::is_contained(axes, axis) ? std::nullopt : std::optional<int64_t>(axis);
  int64_t kept = 0;
  for (int64_t i = 0; i < rankOf(op.getX()); ++i) {
    if (llvm::is_contained(axes, i))
      continue;
    if ((toOperand ? kept : i) == axis)
      return toOperand ? i : kept;
    ++kept;
  }
  return std::nullopt;
}

ViewMaps throughReduce(nn::ReduceOp op, const ChannelMap &map, bool toOperand) {
  nn::ReduceKind kind = op.getKind();
  bool keepsShift =
      kind == nn::ReduceKind::mean || kind == nn::ReduceKind::max || kind == nn::ReduceKind::min;
  bool keepsScale = kind == nn::ReduceKind::mean || kind == nn::ReduceKind::sum;
  if (!(keepsScale || (keepsShift && isNonNegative(map))) || (map.isShifted() && !keepsShift))
    return refuse("the reduction does not commute with it");
  if (map.axis == ChannelMap::kNumbers)
    return through(op, map);
  auto axis = axisOfReduce(op, map.axis, toOperand);
  return axis ? through(op, map.along(*axis)) : refuse("channels are reduced");
}

/// Rotations are linear, and mix the elements of a row.
ViewMaps throughRotary(Operation *op, const ChannelMap &map) {
  if (map.isShifted() || map.axis == rankOf(op->getResult(0)) - 1)
    return refuse("a rotation mixes the elements of a row");
  return through(op, map);
}

/// What constant padding must hold so that the map moves over it: before it s * value + t, behind
/// it (value - t) / s, if that is one number for all channels.
ViewMaps throughPad(nn::PadOp op, const ChannelMap &map, bool behind, FuncShapes &shapes) {
  ViewMaps maps = through(op, map);
  if (map.axis != ChannelMap::kNumbers &&
      shapes.dims(op.getX())[map.axis] != shapes.dims(op.getResult())[map.axis])
    return refuse("channels are padded");
  if (op.getMode() != nn::PadMode::constant)
    return maps;
  std::optional<double> value = op.getValue() ? scalarOf(op.getValue()) : 0.0;
  if (!value)
    return refuse("the value of padding is not constant");
  for (size_t c = 0; c < map.size(); ++c) {
    double s = map.scale[c], t = map.shift[c];
    if (behind && s == 0)
      return refuse("a scale is zero");
    double moved = behind ? (*value - t) / s : s * *value + t;
    if (maps.padValue && *maps.padValue != moved)
      return refuse("padding would have to hold another value in each channel");
    maps.padValue = moved;
  }
  return maps;
}

} // namespace

ViewMaps mapBefore(OpResult result, const ChannelMap &map, FuncShapes &shapes) {
  Operation *op = result.getOwner();
  bool numbers = map.axis == ChannelMap::kNumbers;
  if (isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(op))
    return through(op, reshapeMap(map, shapes.dims(result), shapes.dims(op->getOperand(0))));
  if (auto transpose = dyn_cast<nn::TransposeOp>(op))
    return through(op, numbers ? map : map.along(transpose.getPerm()[map.axis]));
  if (auto pad = dyn_cast<nn::PadOp>(op))
    return throughPad(pad, map, /*behind=*/false, shapes);
  if (auto reduce = dyn_cast<nn::ReduceOp>(op))
    return throughReduce(reduce, map, /*toOperand=*/true);
  if (auto concat = dyn_cast<nn::ConcatOp>(op)) {
    ViewMaps maps;
    int64_t start = 0;
    for (OpOperand &operand : op->getOpOperands()) {
      ChannelMap part = map;
      if (map.axis == (int64_t)concat.getAxis()) {
        nn::Dim size = shapes.dims(operand.get())[map.axis];
        if (!size.isConst())
          return refuse("sizes of the concatenated parts are not static");
        part = map.channels(start, 1, size.value());
        start += size.value();
      }
      maps.operands.push_back({&operand, part});
    }
    maps.passes = true;
    return maps;
  }
  if (isa<nn::RotaryOp>(op))
    return throughRotary(op, map);
  if (isa<nn::SliceOp, nn::SplitOp>(op)) {
    Value x = op->getOperand(0);
    auto split = dyn_cast<nn::SplitOp>(op);
    // The other parts of a split stay what they are; a slice is all that reads x.
    int64_t axis = split ? (int64_t)split.getAxis() : map.axis;
    if (axis == ChannelMap::kNumbers)
      return through(op, map);
    if (!numbers && map.axis != axis)
      return refuse("the other parts of a split would change");
    auto part = split ? partOfSplit(split, result.getResultNumber(), shapes)
                      : partOfSlice(cast<nn::SliceOp>(op), axis, shapes);
    nn::Dim size = shapes.dims(x)[axis], partSize = shapes.dims(result)[axis];
    if (!part || !size.isConst() || !partSize.isConst())
      return refuse("the part of the channels is not static");
    return through(op, embed(map, *part, size.value(), partSize.value()));
  }
  std::string why = whyNotCommute(op, map, shapes);
  return why.empty() ? through(op, map) : refuse(why);
}

ViewMaps mapAfter(OpOperand &operand, const ChannelMap &map, FuncShapes &shapes) {
  Operation *op = operand.getOwner();
  bool numbers = map.axis == ChannelMap::kNumbers;
  if (auto concat = dyn_cast<nn::ConcatOp>(op)) {
    Part part{(int64_t)concat.getAxis(), 0, 1};
    if (!numbers && map.axis != part.axis)
      return refuse("other parts of a concatenation have no such map");
    for (Value before : op->getOperands().take_front(operand.getOperandNumber())) {
      nn::Dim d = shapes.dims(before)[part.axis];
      if (!d.isConst())
        return refuse("sizes of the concatenated parts are not static");
      part.start += d.value();
    }
    nn::Dim size = shapes.dims(concat.getResult())[part.axis];
    nn::Dim partSize = shapes.dims(operand.get())[part.axis];
    if (!size.isConst() || !partSize.isConst())
      return refuse("sizes of the concatenated parts are not static");
    return through(op, embed(map, part, size.value(), partSize.value()));
  }
  if (operand.getOperandNumber() != 0)
    return refuse(op->getName().getStringRef() + " reads it");
  if (isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(op))
    return through(op, reshapeMap(map, shapes.dims(operand.get()), shapes.dims(op->getResult(0))));
  if (auto transpose = dyn_cast<nn::TransposeOp>(op))
    return through(op, numbers ? map : map.along(invertPermutation(transpose.getPerm())[map.axis]));
  if (auto pad = dyn_cast<nn::PadOp>(op))
    return throughPad(pad, map, /*behind=*/true, shapes);
  if (auto reduce = dyn_cast<nn::ReduceOp>(op))
    return throughReduce(reduce, map, /*toOperand=*/false);
  if (isa<nn::RotaryOp>(op))
    return throughRotary(op, map);
  if (isa<nn::SliceOp, nn::SplitOp>(op)) {
    ViewMaps maps;
    for (OpResult result : op->getResults()) {
      std::optional<Part> part = Part{};
      nn::Dim size = numbers ? nn::Dim() : shapes.dims(result)[map.axis];
      if (auto split = dyn_cast<nn::SplitOp>(op); split && map.axis == (int64_t)split.getAxis())
        part = partOfSplit(split, result.getResultNumber(), shapes);
      else if (auto slice = dyn_cast<nn::SliceOp>(op); slice && !numbers)
        part = partOfSlice(slice, map.axis, shapes);
      if (!part || (!numbers && !size.isConst()))
        return refuse("the part of the channels is not static");
      maps.results.push_back(
          {result, numbers ? map : map.channels(part->start, part->step, size.value())});
    }
    maps.passes = true;
    return maps;
  }
  std::string why = whyNotCommute(op, map, shapes);
  return why.empty() ? through(op, map) : refuse(why);
}

} // namespace nnopt
