//===- AxisDependencyReductions.cpp - axes of reductions, pools, norms ----===//
#include "dialects/nn/Constants.h"
#include "dialects/nn/NN.h"

#include <cmath>

using namespace mlir;

namespace nnopt::nn {

void MapOp::tieAxes(AxisTies &ties) {
  for (unsigned r = 0; r < getNumResults(); ++r)
    ties.tieBroadcast(0, getNumOperands(), r);
}

//===----------------------------------------------------------------------===//
// Operations along some dimensions: the others follow
//===----------------------------------------------------------------------===//

/// Ties dimensions that are not reduced to those of the result.
static void tieReduced(ArrayRef<int64_t> reduced, bool keepDims, AxisTies &ties, int64_t rank) {
  for (int64_t d = 0, to = 0; d < rank; ++d) {
    bool gone = llvm::is_contained(reduced, d);
    if (!gone)
      ties.tie(AxisTies::operand(0, d), AxisTies::result(0, to));
    to += !gone || keepDims;
  }
}
void ReduceOp::tieAxes(AxisTies &ties) {
  if (getAxes() && !getAxes()->empty())
    tieReduced(*getAxes(), getKeepDims(), ties, ties.shapeContext().rank(getX()));
}
void ArgReduceOp::tieAxes(AxisTies &ties) {
  tieReduced({int64_t(getAxis())}, getKeepDims(), ties, ties.shapeContext().rank(getX()));
}

/// All dimensions but that of a running sum.
static void tieScan(Operation *op, AxisTies &ties) {
  auto axis = ties.shapeContext().constantContent(op->getOperand(1));
  if (axis && axis->size() == 1)
    ties.tieAllBut({axis->front() + (axis->front() < 0 ? int64_t(ties.shapeContext().rank(op->getOperand(0))) : 0)});
}
void CumSumOp::tieAxes(AxisTies &ties) { tieScan(*this, ties); }
void CumProdOp::tieAxes(AxisTies &ties) { tieScan(*this, ties); }
void TopKOp::tieAxes(AxisTies &ties) {
  ties.tieAllBut({int64_t(getAxis())}, 0, 0);
  ties.tieAllBut({int64_t(getAxis())}, 0, 1);
}
void SoftmaxOp::tieAxes(AxisTies &ties) { ties.tieAllBut({int64_t(getAxis())}); }
void LpNormOp::tieAxes(AxisTies &ties) { ties.tieAllBut({int64_t(getAxis())}); }
void LRNOp::tieAxes(AxisTies &ties) { ties.tieAllBut({1}); }

//===----------------------------------------------------------------------===//
// Windows and samples: each channel by itself
//===----------------------------------------------------------------------===//

template <typename Pool> static void tiePool(Pool op, AxisTies &ties) {
  int64_t channels = op.getChannelsLast() ? ties.shapeContext().rank(op.getX()) - 1 : 1;
  ties.tie(AxisTies::operand(0, 0), AxisTies::result(0, 0));
  ties.tie(AxisTies::operand(0, channels), AxisTies::result(0, channels));
}
/// Flat positions of maxima count the channels.
void MaxPoolOp::tieAxes(AxisTies &ties) {
  if (!getIndices())
    tiePool(*this, ties);
}
void AvgPoolOp::tieAxes(AxisTies &ties) { tiePool(*this, ties); }
void LpPoolOp::tieAxes(AxisTies &ties) { tiePool(*this, ties); }

void GridSampleOp::tieAxes(AxisTies &ties) { ties.tie(AxisTies::operand(0, 1), AxisTies::result(0, 1)); }
void RoiAlignOp::tieAxes(AxisTies &ties) { ties.tie(AxisTies::operand(0, 1), AxisTies::result(0, 1)); }
void MaxRoiPoolOp::tieAxes(AxisTies &ties) { ties.tie(AxisTies::operand(0, 1), AxisTies::result(0, 1)); }

/// The elements of a window under each channel.
static void tieWindows(Axis windows, Axis channels, AxisTies &ties) {
  int64_t all = ties.size(windows), count = ties.size(channels);
  if (!ShapedType::isDynamic(all) && !ShapedType::isDynamic(count))
    ties.tieBlocks(windows, channels, all / count);
}
void DeformSampleOp::tieAxes(AxisTies &ties) {
  if (getOffsetGroup() == 1)
    tieWindows(AxisTies::result(0, 1), AxisTies::operand(0, 1), ties);
}
void Col2ImOp::tieAxes(AxisTies &ties) { tieWindows(AxisTies::operand(0, 1), AxisTies::result(0, 1), ties); }

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

void BatchNormOp::tieAxes(AxisTies &ties) {
  int64_t channels = getChannelsLast() ? ties.shapeContext().rank(getX()) - 1 : 1;
  ties.tieAllBut({});
  for (unsigned o = 1; o < 5; ++o)
    ties.tie(AxisTies::operand(o, 0), AxisTies::result(0, channels));
}

/// Mean and variance need all of the dimensions from `axis` on.
void LayerNormOp::tieAxes(AxisTies &ties) {
  ties.tieAllBut(llvm::to_vector(llvm::seq<int64_t>(getAxis(), ties.shapeContext().rank(getX()))));
}

/// A mean of squares misses zeros only in its count: sum / n + e = (m / n) (sum / m + e n / m) for m of n elements.
void RMSNormOp::tieAxes(AxisTies &ties) {
  int64_t rank = ties.shapeContext().rank(getX());
  ties.tieAllBut(llvm::to_vector(llvm::seq<int64_t>(getAxis(), rank)));
  Axis last = AxisTies::result(0, rank - 1);
  bool isKnown = getScale().getDefiningOp<ConstantOp>() && getScale().getType().getElementType().isF32();
  if (getAxis() != rank - 1 || ShapedType::isDynamic(ties.size(last)) || !isKnown)
    return;
  ties.tie(AxisTies::operand(0, rank - 1), last);
  ties.measure(AxisTies::operand(0, rank - 1));
  if (int64_t at = int64_t(ties.shapeContext().rank(getScale())) - 1; at >= 0 && ties.size(AxisTies::operand(1, at)) != 1)
    ties.tie(AxisTies::operand(1, at), last);
}
void RMSNormOp::narrow(OpBuilder &b, KeptIndices kept) {
  int64_t rank = getX().getType().getRank(), all = getX().getType().getDimSize(rank - 1);
  int64_t left = ShapedType::isDynamic(all) ? all : kept(AxisTies::operand(0, rank - 1)).size();
  if (left == all)
    return;
  auto scale = ConstantData::get(getScale());
  double share = double(all) / double(left);
  std::vector<float> values = scale->asFloats();
  for (float &v : values)
    v = float(double(v) * std::sqrt(share));
  getScaleMutable().assign(ConstantOp::create(b, getLoc(), makeFloats(b.getContext(), scale->type().getShape(), values, "scale")));
  setEpsilon(llvm::APFloat(getEpsilon().convertToDouble() * share));
}

/// Whole groups.
void GroupNormOp::tieAxes(AxisTies &ties) {
  int64_t rank = ties.shapeContext().rank(getX()), channels = getChannelsLast() ? rank - 1 : 1, groups = getNumGroups();
  int64_t size = ties.size(AxisTies::operand(0, channels));
  ties.tie(AxisTies::operand(0, 0), AxisTies::result(0, 0));
  if (ShapedType::isDynamic(size))
    return;
  Axis group = ties.own(groups);
  for (Axis a : {AxisTies::operand(0, channels), AxisTies::result(0, channels), AxisTies::operand(1, 0), AxisTies::operand(2, 0)})
    ties.tieBlocks(a, group, size / groups);
}
void GroupNormOp::narrow(OpBuilder &, KeptIndices kept) { setNumGroups(kept(Axis{Axis::Of::Own, 0, 0}).size()); }

} // namespace nnopt::nn
