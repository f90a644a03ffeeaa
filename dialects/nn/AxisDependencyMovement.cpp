//===- AxisDependencyMovement.cpp - axes of data movement -----------------===//
#include "dialects/nn/Constants.h"
#include "dialects/nn/NN.h"

using namespace mlir;

namespace nnopt::nn {

//===----------------------------------------------------------------------===//
// The same elements under other dimensions
//===----------------------------------------------------------------------===//

/// Sizes can only be adapted where they are written down.
static bool isConstant(Value v) { return bool(v.getDefiningOp<ConstantOp>()); }

void ReshapeOp::tieAxes(AxisTies &ties) {
  if (isConstant(getShape()))
    ties.tieReshape();
}
void ReshapeOp::narrow(OpBuilder &b, KeptIndices kept) { narrowSizes(*this, 1, b, kept); }
void FlattenOp::tieAxes(AxisTies &ties) { ties.tieReshape(); }
void SqueezeOp::tieAxes(AxisTies &ties) { ties.tieReshape(); }
void UnsqueezeOp::tieAxes(AxisTies &ties) { ties.tieReshape(); }
void BitCastOp::tieAxes(AxisTies &ties) { ties.tieAllBut({}); }

/// Sizes that it does not give may change.
void ShapeOp::tieAxes(AxisTies &ties) {
  int64_t rank = ties.shapeContext().rank(getX());
  auto clamp = [&](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank); };
  for (int64_t d = 0; d < rank; ++d)
    if (d < clamp(getStart()) || d >= clamp(getEnd().value_or(rank)))
      ties.free(AxisTies::operand(0, d));
}

void TransposeOp::tieAxes(AxisTies &ties) {
  for (auto [to, from] : llvm::enumerate(getPerm()))
    ties.tie(AxisTies::operand(0, from), AxisTies::result(0, to));
}

void ExpandOp::tieAxes(AxisTies &ties) {
  if (isConstant(getShape()))
    ties.tieBroadcast(0, 1);
}
void ExpandOp::narrow(OpBuilder &b, KeptIndices kept) { narrowSizes(*this, 1, b, kept); }

void TileOp::tieAxes(AxisTies &ties) {
  for (int64_t d = 0, e = ties.shapeContext().rank(getX()); d < e; ++d)
    ties.tieBlocks(AxisTies::result(0, d), AxisTies::operand(0, d), 1);
}

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

void ConcatOp::tieAxes(AxisTies &ties) {
  int64_t start = 0;
  for (unsigned o = 0; o < getNumOperands(); ++o) {
    ties.tieAllBut({int64_t(getAxis())}, o);
    int64_t size = ties.size(AxisTies::operand(o, getAxis()));
    if (ShapedType::isDynamic(size) || ShapedType::isDynamic(start)) {
      start = ShapedType::kDynamic;
    } else {
      ties.tieRange(AxisTies::result(0, getAxis()), start, AxisTies::operand(o, getAxis()));
      start += size;
    }
  }
}

void SplitOp::tieAxes(AxisTies &ties) {
  int64_t start = 0;
  for (unsigned r = 0; r < getNumResults(); ++r) {
    ties.tieAllBut({int64_t(getAxis())}, 0, r);
    int64_t size = ties.size(AxisTies::result(r, getAxis()));
    if (ShapedType::isDynamic(size) || ShapedType::isDynamic(start))
      return;
    ties.tieRange(AxisTies::operand(0, getAxis()), start, AxisTies::result(r, getAxis()));
    start += size;
  }
}
void SplitOp::narrow(OpBuilder &b, KeptIndices kept) {
  SmallVector<int64_t> sizes;
  bool changed = false;
  for (unsigned r = 0; r < getNumResults(); ++r) {
    int64_t size = cast<RankedTensorType>(getResult(r).getType()).getDimSize(getAxis());
    if (ShapedType::isDynamic(size))
      return;
    sizes.push_back(kept(AxisTies::result(r, getAxis())).size());
    changed |= sizes.back() != size;
  }
  if (changed)
    getSizesMutable().assign(ConstantOp::create(b, getLoc(), makeInts(b.getContext(), {int64_t(sizes.size())}, sizes)));
}

namespace {
/// One dimension of a slice with constant bounds.
struct SlicedDim {
  int64_t dim, entry, start, step;
};
} // namespace

/// The dimensions that a slice does not take whole; nothing where its bounds are not constant.
static std::optional<SmallVector<SlicedDim>> slicedDims(SliceOp op, ShapeContext &shapes) {
  if (!llvm::all_of(op->getOperands().drop_front(), isConstant))
    return std::nullopt;
  auto starts = shapes.constantContent(op.getStarts());
  auto axes = op.getAxes() ? shapes.constantContent(op.getAxes()) : std::nullopt;
  auto steps = op.getSteps() ? shapes.constantContent(op.getSteps()) : std::nullopt;
  if (!starts || (op.getAxes() && !axes) || (op.getSteps() && !steps))
    return std::nullopt;
  SmallVector<SlicedDim> result;
  for (auto [i, start] : llvm::enumerate(*starts)) {
    int64_t dim = axes ? (*axes)[i] : int64_t(i), step = steps ? (*steps)[i] : 1, rank = shapes.rank(op.getX());
    dim += dim < 0 ? rank : 0;
    // As many elements with a step of 1 are all of them.
    if (step == 1 && shapes.dims(op.getX())[dim] == shapes.dims(op.getResult())[dim])
      continue;
    int64_t size = shapes.dims(op.getX())[dim].typeDim();
    if (!ShapedType::isDynamic(size))
      start = std::clamp<int64_t>(start < 0 ? start + size : start, 0, size);
    result.push_back({dim, int64_t(i), start, step});
  }
  return result;
}

void SliceOp::tieAxes(AxisTies &ties) {
  auto sliced = slicedDims(*this, ties.shapeContext());
  if (!sliced)
    return;
  SmallVector<int64_t> dims;
  for (const SlicedDim &s : *sliced) {
    dims.push_back(s.dim);
    if (s.step == 1)
      ties.tieRange(AxisTies::operand(0, s.dim), s.start, AxisTies::result(0, s.dim));
  }
  ties.tieAllBut(dims);
}

/// Bounds of dimensions that lose indices become those of what is left.
void SliceOp::narrow(OpBuilder &b, KeptIndices kept) {
  auto starts = ConstantData::get(getStarts()), ends = ConstantData::get(getEnds());
  auto axes = getAxes() ? ConstantData::get(getAxes()) : std::nullopt;
  if (!starts || !ends || (getAxes() && !axes))
    return;
  SmallVector<int64_t> newStarts, newEnds;
  bool changed = false;
  for (int64_t i = 0; i < starts->size(); ++i) {
    int64_t dim = axes ? axes->asInt(i) : i, start = starts->asInt(i), end = ends->asInt(i);
    dim += dim < 0 ? getX().getType().getRank() : 0;
    int64_t size = getX().getType().getDimSize(dim);
    if (!ShapedType::isDynamic(size)) {
      SmallVector<int64_t> left = kept(AxisTies::operand(0, dim));
      if (int64_t(left.size()) != size) {
        int64_t first = std::clamp<int64_t>(start < 0 ? start + size : start, 0, size);
        start = llvm::lower_bound(left, first) - left.begin();
        end = start + kept(AxisTies::result(0, dim)).size();
        changed = true;
      }
    }
    newStarts.push_back(start);
    newEnds.push_back(end);
  }
  if (!changed)
    return;
  auto vector = [&](ArrayRef<int64_t> values) {
    return ConstantOp::create(b, getLoc(), makeInts(b.getContext(), {int64_t(values.size())}, values));
  };
  getStartsMutable().assign(vector(newStarts));
  getEndsMutable().assign(vector(newEnds));
}

/// A channel that is padded along other dimensions.
void PadOp::tieAxes(AxisTies &ties) {
  ShapeContext &shapes = ties.shapeContext();
  auto pads = shapes.constantContent(getPads());
  auto axes = getAxes() ? shapes.constantContent(getAxes()) : std::nullopt;
  if (!pads || (getAxes() && !axes))
    return;
  SmallVector<int64_t> padded;
  for (size_t i = 0, n = pads->size() / 2; i < n; ++i) {
    int64_t dim = axes ? (*axes)[i] : int64_t(i);
    if ((*pads)[i] != 0 || (*pads)[n + i] != 0)
      padded.push_back(dim < 0 ? dim + shapes.rank(getX()) : dim);
  }
  ties.tieAllBut(padded);
}

void ReverseSequenceOp::tieAxes(AxisTies &ties) { ties.tieAllBut({int64_t(getBatchAxis()), int64_t(getTimeAxis())}); }
void TriluOp::tieAxes(AxisTies &ties) {
  int64_t rank = ties.shapeContext().rank(getX());
  ties.tieAllBut({rank - 1, rank - 2});
}

void TensorScatterOp::tieAxes(AxisTies &ties) {
  ties.tieAllBut({0, int64_t(getAxis())}, 0);
  ties.tieAllBut({0, int64_t(getAxis())}, 1);
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

/// The other dimensions follow; the one that is gathered along does where the indices are a constant vector.
void GatherOp::tieAxes(AxisTies &ties) {
  ShapeContext &shapes = ties.shapeContext();
  int64_t axis = getAxis(), inserted = shapes.rank(getIndices());
  for (int64_t d = 0, e = shapes.rank(getX()); d < e; ++d)
    if (d != axis)
      ties.tie(AxisTies::operand(0, d), AxisTies::result(0, d < axis ? d : d - 1 + inserted));
  auto indices = shapes.constantContent(getIndices());
  int64_t size = ties.size(AxisTies::operand(0, axis));
  if (isConstant(getIndices()) && indices && inserted == 1 && !ShapedType::isDynamic(size)) {
    for (int64_t &i : *indices)
      i += i < 0 ? size : 0;
    ties.tieIndices(AxisTies::result(0, axis), AxisTies::operand(0, axis), *indices);
  }
}

void GatherOp::narrow(OpBuilder &b, KeptIndices kept) {
  int64_t axis = getAxis(), size = getX().getType().getDimSize(axis);
  auto indices = ConstantData::get(getIndices());
  if (!indices || getIndices().getType().getRank() != 1 || ShapedType::isDynamic(size))
    return;
  SmallVector<int64_t> left = kept(AxisTies::operand(0, axis)), renumbered;
  if (int64_t(left.size()) == size)
    return;
  for (int64_t i : kept(AxisTies::result(0, axis))) {
    int64_t index = indices->asInt(i);
    renumbered.push_back(llvm::lower_bound(left, index < 0 ? index + size : index) - left.begin());
  }
  getIndicesMutable().assign(
      ConstantOp::create(b, getLoc(), makeInts(b.getContext(), {int64_t(renumbered.size())}, renumbered)));
}

//===----------------------------------------------------------------------===//
// Images
//===----------------------------------------------------------------------===//

/// Channel c of the small image is blocks of channels of the deep one.
static void tieSpaceAndDepth(Axis deep, Axis flat, int64_t blockSize, bool crd, AxisTies &ties) {
  ties.tieBlocks(deep, flat, crd ? blockSize * blockSize : 1);
}
void DepthToSpaceOp::tieAxes(AxisTies &ties) {
  tieSpaceAndDepth(AxisTies::operand(0, 1), AxisTies::result(0, 1), getBlocksize(), getCrd(), ties);
}
void SpaceToDepthOp::tieAxes(AxisTies &ties) {
  tieSpaceAndDepth(AxisTies::result(0, 1), AxisTies::operand(0, 1), getBlocksize(), getCrd(), ties);
}

/// Dimensions that keep their size under a scale of 1.
void ResizeOp::tieAxes(AxisTies &ties) {
  if ((getRoi() && getCoordinates() == CoordinateMode::tf_crop_and_resize) || (getSizes() && !isConstant(getSizes())))
    return;
  auto scales = getScales() ? ConstantData::get(getScales()) : std::nullopt;
  ShapeContext &shapes = ties.shapeContext();
  for (int64_t d = 0, e = shapes.rank(getX()); d < e; ++d)
    if (getScales() ? scales && scales->asDouble(d) == 1 : shapes.dims(getX())[d] == shapes.dims(getResult())[d])
      ties.tie(AxisTies::operand(0, d), AxisTies::result(0, d));
}
void ResizeOp::narrow(OpBuilder &b, KeptIndices kept) {
  if (getSizes())
    narrowSizes(*this, getSizesMutable().begin()->getOperandNumber(), b, kept);
}

} // namespace nnopt::nn
