//===- StridedView.cpp - operands that are read where they are ------------===//

#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/contraction/NarrowWeights.h"
#include "lib/codegen/cpu/memory/Space.h"

using namespace mlir;

namespace nnopt::cpu {

/// Strides of the dimensions `to` that dimensions `from` with `strides` are reshaped to: groups of
/// dimensions with equal products correspond; one that merges dimensions must be contiguous.
static std::optional<nn::Dims> reshapeStrides(Lowering &l, ArrayRef<nn::Dim> from, ArrayRef<nn::Dim> strides,
                                              ArrayRef<nn::Dim> to) {
  nn::Dims kept, keptStrides, result(to.size(), l.c(0));
  for (auto [d, s] : llvm::zip(from, strides))
    if (!d.isConst(1)) {
      kept.push_back(d);
      keptStrides.push_back(s);
    }
  SmallVector<size_t> wanted;
  for (size_t i = 0; i < to.size(); ++i)
    if (!to[i].isConst(1))
      wanted.push_back(i);
  size_t i = 0, j = 0;
  while (i < kept.size() || j < wanted.size()) {
    // The smallest groups of equal size.
    size_t fromEnd = 0, toEnd = 0;
    for (size_t total = 2; !fromEnd && total <= kept.size() - i + wanted.size() - j; ++total)
      for (size_t a = 1; a < total && i + a <= kept.size(); ++a) {
        size_t b = total - a;
        if (j + b > wanted.size())
          continue;
        nn::Dim product = l.c(1);
        for (size_t t = j; t < j + b; ++t)
          product = product * to[wanted[t]];
        if (product != l.product(kept, i, i + a))
          continue;
        fromEnd = i + a;
        toEnd = j + b;
        break;
      }
    if (!fromEnd)
      return std::nullopt;
    for (size_t t = i; t + 1 < fromEnd; ++t)
      if (keptStrides[t] != kept[t + 1] * keptStrides[t + 1])
        return std::nullopt;
    nn::Dim stride = keptStrides[fromEnd - 1];
    for (size_t t = toEnd; t-- > j;) {
      result[wanted[t]] = stride;
      stride = stride * to[wanted[t]];
    }
    i = fromEnd;
    j = toEnd;
  }
  return result;
}

/// Start of a slice of step 1 in each dimension; nothing where it is not known to lie inside.
static std::optional<nn::Dims> sliceStarts(Lowering &l, nn::SliceOp op) {
  const nn::Dims &in = l.dims(op.getX()), &out = l.dims(op.getResult());
  auto *starts = l.shapes.content(op.getStarts());
  auto axes = op.getAxes() ? l.shapes.constantContent(op.getAxes()) : std::nullopt;
  if (!starts || (op.getAxes() && !axes))
    return std::nullopt;
  if (op.getSteps()) {
    auto steps = l.shapes.constantContent(op.getSteps());
    if (!steps || llvm::any_of(*steps, [](int64_t s) { return s != 1; }))
      return std::nullopt;
  }
  nn::Dims result(in.size(), l.c(0));
  for (size_t i = 0; i < starts->size(); ++i) {
    int64_t axis = axes ? (*axes)[i] : int64_t(i);
    axis = axis < 0 ? axis + int64_t(in.size()) : axis;
    nn::Dim start = (*starts)[i];
    if (start.isConst() && start.value() < 0)
      start = in[axis] + start.value();
    if (!start.isAtLeast(0) || !(in[axis] - start - out[axis]).isAtLeast(0))
      return std::nullopt;
    result[axis] = start;
  }
  return result;
}

StridedView stridedView(Lowering &l, Value v) {
  StridedView whole{v, l.c(0), rowMajor(l.dimContext(), l.memoryDims(v))};
  Operation *op = v.getDefiningOp();
  if (!op)
    return whole;
  // The beginning of a longer concatenation lies there.
  if (Value longer = l.longerConcat(v); longer != v)
    return {longer, l.c(0), rowMajor(l.dimContext(), l.dims(longer))};
  // So do rows that a contraction has written into one.
  if (const Lowering::RowPlace *place = l.rowPlaceOf(v))
    return {place->whole, place->position, rowMajor(l.dimContext(), l.dims(place->whole))};
  if (auto transpose = dyn_cast<nn::TransposeOp>(op)) {
    if (auto attention = transpose.getX().getDefiningOp<nn::AttentionOp>())
      if (transposeWrittenBy(l, attention) == transpose)
        return whole;
    StridedView view = stridedView(l, transpose.getX());
    nn::Dims strides;
    for (int64_t p : transpose.getPerm())
      strides.push_back(view.strides[p]);
    view.strides = strides;
    return view;
  }
  if (isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(op)) {
    // A shape that is data defines sizes when the reshape runs.
    if (auto reshape = dyn_cast<nn::ReshapeOp>(op); reshape && !l.shapes.content(reshape.getShape()))
      return whole;
    StridedView view = stridedView(l, op->getOperand(0));
    if (auto strides = reshapeStrides(l, l.dims(op->getOperand(0)), view.strides, l.dims(v))) {
      view.strides = *strides;
      return view;
    }
    return whole;
  }
  if (auto slice = dyn_cast<nn::SliceOp>(op)) {
    auto starts = sliceStarts(l, slice);
    if (!starts)
      return whole;
    StridedView view = stridedView(l, slice.getX());
    for (auto [start, stride] : llvm::zip(*starts, view.strides))
      view.offset = view.offset + start * stride;
    return view;
  }
  if (auto expand = dyn_cast<nn::ExpandOp>(op)) {
    StridedView view = stridedView(l, expand.getX());
    const nn::Dims &from = l.dims(expand.getX()), &to = l.dims(v);
    size_t added = to.size() - from.size();
    nn::Dims strides(to.size(), l.c(0));
    for (size_t i = 0; i < from.size(); ++i) {
      if (from[i] == to[i + added])
        strides[i + added] = view.strides[i];
      else if (!from[i].isConst(1))
        return whole;
    }
    view.strides = strides;
    return view;
  }
  if (auto split = dyn_cast<nn::SplitOp>(op)) {
    StridedView view = stridedView(l, split.getX());
    nn::Dim start = l.c(0);
    for (Value part : split.getResults()) {
      if (part == v)
        break;
      start = start + l.dims(part)[split.getAxis()];
    }
    view.offset = view.offset + start * view.strides[split.getAxis()];
    return view;
  }
  return whole;
}

bool isOuterAxis(Lowering &l, Value whole, int64_t axis) {
  return llvm::all_of(ArrayRef<nn::Dim>(l.dims(whole)).take_front(axis), [](nn::Dim d) { return d.isConst(1); });
}

bool isView(Operation *op) {
  return isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::BitCastOp>(op);
}

bool isViewTranspose(Operation *op, Lowering &l) {
  auto transpose = dyn_cast<nn::TransposeOp>(op);
  if (!transpose)
    return false;
  int64_t last = -1;
  for (int64_t p : transpose.getPerm()) {
    if (l.dims(transpose.getX())[p].isConst(1))
      continue;
    if (p < last)
      return false;
    last = p;
  }
  return true;
}

nn::TransposeOp transposeWrittenBy(Lowering &l, nn::AttentionOp op) {
  bool writes = l.options.device ? l.options.device->readsStrided(op->getOpOperand(0), l)
                                 : l.options.optLevel != 0 && isTiledAttention(op, l);
  if (!writes || !op->hasOneUse())
    return {};
  auto transpose = dyn_cast<nn::TransposeOp>(*op->user_begin());
  return transpose && transpose.getPerm().back() == 3 && transpose->getBlock() == op->getBlock() ? transpose
                                                                                                 : nn::TransposeOp();
}

nn::DequantizeOp byteRowsOf(Lowering &l, OpOperand &operand) {
  auto attention = dyn_cast<nn::AttentionOp>(operand.getOwner());
  unsigned number = operand.getOperandNumber();
  auto op = operand.get().getDefiningOp<nn::DequantizeOp>();
  if (!attention || !op || (number != 1 && number != 2) || l.options.device || l.options.optLevel == 0 ||
      op->getBlock() != attention->getBlock() || !isTiledAttention(attention, l))
    return {};
  const nn::Dims &dims = l.dims(op.getX()), &scales = l.dims(op.getScale());
  if (op.getZeroPoint() || !op.getTo().isF32() || !l.shapes.info(op.getX()).elementType.isSignlessInteger(8) ||
      !l.shapes.info(op.getScale()).elementType.isF32() || scales.size() != dims.size() || !scales.back().isConst(1) ||
      ArrayRef(dims).drop_back() != ArrayRef(scales).drop_back() || !stridedView(l, op.getX()).strides.back().isConst(1))
    return {};
  return op;
}

StridedView readView(Lowering &l, OpOperand &operand) {
  Value v = operand.get();
  StridedView whole{v, l.c(0), rowMajor(l.dimContext(), l.dims(v))};
  Operation *op = operand.getOwner();
  unsigned number = operand.getOperandNumber();
  if (std::optional<nn::NarrowWeights> weights = narrowWeights(l, operand))
    return {weights->values, l.c(0), rowMajor(l.dimContext(), l.dims(weights->values))};
  if (l.options.device)
    return l.options.device->readsStrided(operand, l) ? stridedView(l, v) : whole;
  if (l.options.optLevel == 0)
    return whole;
  if (isa<nn::AttentionOp>(op)) {
    if (number >= 3 || !isTiledAttention(op, l))
      return whole;
    if (nn::DequantizeOp rows = byteRowsOf(l, operand))
      return stridedView(l, rows.getX());
    StridedView view = stridedView(l, v);
    // Rows of values are read as vectors, keys as vectors along either of their dimensions.
    bool contiguous = view.strides[3].isConst(1), keysAreColumns = number == 1 && view.strides[2].isConst(1);
    return number == 0 || contiguous || keysAreColumns ? view : whole;
  }
  if (auto matmul = dyn_cast<nn::MatMulOp>(op); matmul && number == 0)
    if (nn::DequantizeOp rows = byteRows(l, matmul))
      return {rows.getX(), l.c(0), rowMajor(l.dimContext(), l.dims(rows.getX()))};
  if (isa<nn::RotaryOp>(op)) {
    StridedView view = stridedView(l, v);
    return number == 0 && view.strides.back().isConst(1) ? view : whole;
  }
  if (auto concat = dyn_cast<nn::ConcatOp>(op))
    return isOuterAxis(l, concat.getResult(), concat.getAxis()) ? whole : stridedView(l, v);
  if (isa<nn::TransposeOp>(op))
    return isViewTranspose(op, l) ? whole : stridedView(l, v);
  auto map = dyn_cast<nn::MapOp>(op);
  if (isa<nn::Elementwise>(op) || (map && number < map.getInputs().size())) {
    if (l.dims(v).empty())
      return whole;
    StridedView view = stridedView(l, v);
    bool vectors = l.dims(v).back().isConst(1) || view.strides.back().isConst(1) || view.strides.back().isConst(0);
    return vectors ? view : whole;
  }
  return whole;
}

} // namespace nnopt::cpu
