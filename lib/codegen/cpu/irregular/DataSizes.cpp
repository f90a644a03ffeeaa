//===- DataSizes.cpp - result sizes that depend on data -------------------===//
#include "lib/codegen/cpu/irregular/DataSizes.h"
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/memory/Operands.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// Element i of a tensor of integers. What the shape analysis knows is an expression: nothing may have written it.
Ix element(Kernel &k, Value tensor, int64_t i) { return IntOperand(k, tensor)[i]; }

/// Number of elements of a vector, where it is fixed.
std::optional<int64_t> length(Lowering &lowering, Value vector) {
  const nn::Dims &dims = lowering.dims(vector);
  if (dims.size() != 1 || !dims[0].isConst())
    return std::nullopt;
  return dims[0].value();
}

Ix reshapeSize(Kernel &k, nn::ReshapeOp op, unsigned axis) {
  const nn::Dims &from = k.lowering.dims(op.getX());
  int64_t rank = *length(k.lowering, op.getShape());
  // 0 stands for the dimension of x.
  auto wanted = [&](int64_t i) {
    Ix size = element(k, op.getShape(), i);
    if (op.getAllowZero() || i >= int64_t(from.size()))
      return size;
    return k.selectIx(size == 0, k.dim(from[i]), size);
  };
  Ix others = k.c(1);
  for (int64_t i = 0; i < rank; ++i)
    if (i != axis)
      others = others * wanted(i);
  Ix size = wanted(axis);
  Ix rest = k.dim(nn::product(k.lowering.dimContext(), from)) / others.max(k.c(1));
  return k.selectIx(size < 0, rest, size);
}

Ix expandSize(Kernel &k, nn::ExpandOp op, unsigned axis) {
  const nn::Dims &from = k.lowering.dims(op.getX());
  int64_t rank = k.lowering.dims(op.getResult()).size(), wanted = *length(k.lowering, op.getShape());
  Ix size = element(k, op.getShape(), axis - (rank - wanted));
  if (int64_t(axis) < rank - int64_t(from.size()))
    return size;
  return k.selectIx(size == 1, k.dim(from[axis - (rank - from.size())]), size);
}

/// Runs body(entry, isForAxis) for each entry of an `axes` operand: `isForAxis` is whether the entry
/// is about `axis`. Without the operand, entry i is about dimension i.
void forAxis(Kernel &k, Value axes, int64_t count, int64_t rank, int64_t axis,
             llvm::function_ref<void(int64_t, Value)> body) {
  if (!axes)
    return body(axis, k.constant(k.b.getI1Type(), 1));
  for (int64_t i = 0; i < count; ++i)
    body(i, wrapIndex(k, element(k, axes, i), k.c(rank)) == axis);
}

Ix sliceSize(Kernel &k, nn::SliceOp op, unsigned axis) {
  const nn::Dims &from = k.lowering.dims(op.getX());
  Ix n = k.dim(from[axis]), result = n;
  int64_t count = *length(k.lowering, op.getStarts());
  forAxis(k, op.getAxes(), count, from.size(), axis, [&](int64_t i, Value isForAxis) {
    if (i >= count)
      return;
    Ix step = op.getSteps() ? element(k, op.getSteps(), i) : k.c(1);
    Ix start = wrapIndex(k, element(k, op.getStarts(), i), n), end = wrapIndex(k, element(k, op.getEnds(), i), n);
    // Forward: both within [0, n]; backward: start within [0, n - 1], end within [-1, n - 1].
    Ix forward = end.max(k.c(0)).min(n) - start.max(k.c(0)).min(n);
    Ix backward = start.max(k.c(0)).min(n - 1) - end.max(k.c(-1)).min(n - 1);
    Value isBackward = step < 0;
    Ix stride = k.selectIx(isBackward, k.c(0) - step, step).max(k.c(1));
    Ix size = (k.selectIx(isBackward, backward, forward).max(k.c(0)) + stride - 1) / stride;
    result = k.selectIx(isForAxis, size, result);
  });
  return result;
}

Ix padSize(Kernel &k, nn::PadOp op, unsigned axis) {
  const nn::Dims &from = k.lowering.dims(op.getX());
  int64_t count = *length(k.lowering, op.getPads()) / 2;
  Ix result = k.dim(from[axis]);
  forAxis(k, op.getAxes(), count, from.size(), axis, [&](int64_t i, Value isForAxis) {
    Ix padded = result + element(k, op.getPads(), i) + element(k, op.getPads(), count + i);
    result = k.selectIx(isForAxis, padded, result);
  });
  return result;
}

/// ceil((limit - start) / delta), computed in f64.
Ix rangeSize(Kernel &k, nn::RangeOp op) {
  auto scalar = [&](Value v) -> Value {
    Type f64 = k.b.getF64Type();
    if (isa<IntegerType>(k.lowering.shapes.info(v).elementType))
      return arith::SIToFPOp::create(k.b, k.loc, f64, element(k, v, 0));
    Value x = k.toFloat(k.load(k.read(v), k.c(0)));
    return x.getType().isF64() ? x : Value(arith::ExtFOp::create(k.b, k.loc, f64, x));
  };
  Value span = arith::SubFOp::create(k.b, k.loc, scalar(op.getLimit()), scalar(op.getStart()));
  Value count = math::CeilOp::create(k.b, k.loc, arith::DivFOp::create(k.b, k.loc, span, scalar(op.getDelta())));
  return Ix(&k, arith::FPToSIOp::create(k.b, k.loc, k.b.getI64Type(), count)).max(k.c(0));
}

/// The size of dimension `axis` of a reduction whose axes are data: 1 or that of x, or without
/// keep_dims the axis-th of the dimensions that stay.
Ix reduceSize(Kernel &k, nn::ReduceOp op, unsigned axis) {
  const nn::Dims &from = k.lowering.dims(op.getX());
  int64_t rank = from.size();
  Value axes = op.getDynamicAxes();
  Ix count = k.dim(k.lowering.dims(axes)[0]);
  auto isReduced = [&](int64_t d) -> Value {
    return k.loop(k.c(0), count, 1, {count == 0}, [&](Ix i, ValueRange found) {
      Buffer in = k.read(axes);
      Ix reduced = wrapIndex(k, k.toIndex(k.load(in, i), in.isUnsigned), k.c(rank));
      return SmallVector<Value>{lor(k, found[0], reduced == d)};
    })[0];
  };
  if (op.getKeepDims())
    return k.selectIx(isReduced(axis), k.c(1), k.dim(from[axis]));
  Ix result = k.c(1), position = k.c(0);
  for (int64_t d = 0; d < rank; ++d) {
    Value stays = lnot(k, isReduced(d));
    result = k.selectIx(k.land(stays, position == int64_t(axis)), k.dim(from[d]), result);
    position = k.selectIx(stays, position + 1, position);
  }
  return result;
}

/// The size of dimension `axis` of result `r`, or null for operations that this file does not know.
using SizeFn = std::function<Ix(Kernel &)>;
SizeFn sizeOf(Operation *op, Lowering &lowering, unsigned r, unsigned axis) {
  if (auto reshape = dyn_cast<nn::ReshapeOp>(op); reshape && length(lowering, reshape.getShape()))
    return [=](Kernel &k) mutable { return reshapeSize(k, reshape, axis); };
  if (auto expand = dyn_cast<nn::ExpandOp>(op); expand && length(lowering, expand.getShape()))
    return [=](Kernel &k) mutable { return expandSize(k, expand, axis); };
  if (auto tile = dyn_cast<nn::TileOp>(op))
    return [=, &lowering](Kernel &k) mutable {
      return k.dim(lowering.dims(tile.getX())[axis]) * element(k, tile.getRepeats(), axis);
    };
  if (auto slice = dyn_cast<nn::SliceOp>(op); slice && length(lowering, slice.getStarts()))
    return [=](Kernel &k) mutable { return sliceSize(k, slice, axis); };
  if (auto pad = dyn_cast<nn::PadOp>(op); pad && length(lowering, pad.getPads()))
    return [=](Kernel &k) mutable { return padSize(k, pad, axis); };
  if (auto split = dyn_cast<nn::SplitOp>(op); split && split.getSizes())
    return [=](Kernel &k) mutable { return element(k, split.getSizes(), r); };
  if (auto fill = dyn_cast<nn::ConstantOfShapeOp>(op))
    return [=](Kernel &k) mutable { return element(k, fill.getShape(), axis); };
  if (auto random = dyn_cast<nn::RandomOp>(op))
    return [=](Kernel &k) mutable { return element(k, random.getShape(), axis); };
  if (auto range = dyn_cast<nn::RangeOp>(op))
    return [=](Kernel &k) mutable { return rangeSize(k, range); };
  if (auto reduce = dyn_cast<nn::ReduceOp>(op); reduce && reduce.getDynamicAxes())
    return [=](Kernel &k) mutable { return reduceSize(k, reduce, axis); };
  return nullptr;
}

/// The symbols of an expression that have no value yet.
void collectUnresolved(Lowering &lowering, Operation *op, nn::Dim d, SmallVectorImpl<nn::Dim> &symbols) {
  if (d.kind() == nn::Dim::Kind::Symbol) {
    if (!isResolved(lowering, op, d) && !llvm::is_contained(symbols, d))
      symbols.push_back(d);
  } else if (!d.isConst()) {
    for (nn::Dim o : d.operands())
      collectUnresolved(lowering, op, o, symbols);
  }
}

} // namespace

LogicalResult defineDataSizes(Operation *op, Lowering &lowering) {
  // The usual case first: no size of a result has a symbol of its own.
  for (auto [r, result] : llvm::enumerate(op->getResults()))
    for (unsigned axis = 0; axis < lowering.dims(result).size(); ++axis) {
      nn::Dim dim = lowering.dims(result)[axis];
      if (isResolved(lowering, op, dim))
        continue;
      SizeFn size = sizeOf(op, lowering, r, axis);
      SmallVector<nn::Dim> symbols;
      collectUnresolved(lowering, op, dim, symbols);
      if (size && symbols.size() == 1 && failed(defineSymbol(lowering, op, symbols[0], size)))
        return failure();
    }
  return success();
}

} // namespace nnopt::cpu
