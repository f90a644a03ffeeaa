//===- Slice.cpp - slice, split, concat -------------------------------------===//

#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/memory/Operands.h"
#include "lib/codegen/cpu/memory/StridedCopy.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

//===----------------------------------------------------------------------===//
// Slice
//===----------------------------------------------------------------------===//

/// First position of a slice in an axis of `size` elements: negative positions count from the end;
/// then clamped to [0, size] (to [0, size - 1] for a negative step).
Ix sliceStart(Kernel &k, Ix start, Ix size, Ix step) {
  start = k.selectIx(start < 0, start + size, start);
  Ix highest = k.selectIx(step < 0, size - 1, size);
  return start.max(k.c(0)).min(highest).max(k.c(0));
}

/// Where a slice begins and how it advances, for each axis of x.
struct SliceOperands {
  SmallVector<Ix> starts, steps;

  LogicalResult read(nn::SliceOp op, Lowering &l, Kernel &k) {
    auto count = operandSize(l, op.getStarts());
    if (!count)
      return op.emitError("slice needs a known number of starts");
    const nn::Dims &dims = l.dims(op.getX());
    IntOperand start(k, op.getStarts());
    std::optional<IntOperand> step;
    if (op.getSteps())
      step.emplace(k, op.getSteps());
    auto stepOf = [&](int64_t i) { return step ? (*step)[i] : k.c(1); };
    starts = entriesByAxis(k, op.getAxes(), *count, dims.size(), k.c(0), [&](int64_t i) { return start[i]; });
    steps = entriesByAxis(k, op.getAxes(), *count, dims.size(), k.c(1), stepOf);
    for (unsigned d = 0; d < dims.size(); ++d)
      starts[d] = sliceStart(k, starts[d], k.dim(dims[d]), steps[d]);
    return success();
  }
};

LogicalResult referenceSlice(Operation *op, Lowering &l) {
  auto slice = cast<nn::SliceOp>(op);
  Kernel k(l, op, "slice");
  SliceOperands operands;
  if (failed(operands.read(slice, l, k)))
    return failure();
  Buffer src = asBits(k, k.read(slice.getX())), dst = asBits(k, k.write(slice.getResult()));
  SmallVector<Ix> strides = k.strides(src.dims);
  Ix from = k.c(0);
  for (unsigned d = 0; d < strides.size(); ++d) {
    from = from + operands.starts[d] * strides[d];
    strides[d] = strides[d] * operands.steps[d];
  }
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    Ix offset = from;
    for (auto [x, s] : llvm::zip(k.delinearize(i, dst.dims), strides))
      offset = offset + x * s;
    k.store(dst, i, k.load(src, offset));
  });
  k.grain = 4096;
  l.launch(k, nn::product(l.dimContext(), dst.dims));
  return success();
}

/// Steps must be known as expressions: they become strides of the copied space.
bool matchSlice(Operation *op, Lowering &l) {
  auto slice = cast<nn::SliceOp>(op);
  if (!slice.getSteps())
    return true;
  return l.shapes.content(slice.getSteps()) && (!slice.getAxes() || l.shapes.constantContent(slice.getAxes()));
}

LogicalResult emitSlice(Operation *op, Lowering &l) {
  auto slice = cast<nn::SliceOp>(op);
  Kernel k(l, op, "slice");
  SliceOperands operands;
  if (failed(operands.read(slice, l, k)))
    return failure();
  StridedCopy copy;
  copy.src = k.read(slice.getX());
  copy.dst = k.write(slice.getResult());
  nn::Dims strides = rowMajor(l.dimContext(), copy.src.dims);
  copy.from = k.c(0);
  for (unsigned d = 0; d < strides.size(); ++d)
    copy.from = copy.from + operands.starts[d] * k.dim(strides[d]);
  if (slice.getSteps()) {
    auto *steps = l.shapes.content(slice.getSteps());
    auto axes = slice.getAxes() ? l.shapes.constantContent(slice.getAxes()) : std::nullopt;
    for (auto [i, step] : llvm::enumerate(*steps)) {
      int64_t axis = axes ? (*axes)[i] : int64_t(i);
      axis = axis < 0 ? axis + int64_t(strides.size()) : axis;
      strides[axis] = strides[axis] * step;
    }
  }
  copy.space.sizes = copy.dst.dims;
  copy.space.strides = {rowMajor(l.dimContext(), copy.dst.dims), strides};
  launchStridedCopy(l, k, copy);
  return success();
}

//===----------------------------------------------------------------------===//
// Split and concat: parts of a whole along an axis
//===----------------------------------------------------------------------===//

/// Copies the range of `whole` along `axis` that begins at `position` to `part`.
void emitSplitPart(nn::SplitOp op, Lowering &l, Value part, nn::Dim position) {
  nn::DimContext &ctx = l.dimContext();
  Kernel k(l, op, "split");
  StridedCopy copy;
  copy.src = k.read(op.getX());
  copy.dst = k.write(part);
  nn::Dims strides = rowMajor(ctx, l.dims(op.getX()));
  copy.space.sizes = l.dims(part);
  copy.space.strides = {rowMajor(ctx, l.dims(part)), strides};
  copy.from = k.dim(position * strides[op.getAxis()]);
  launchStridedCopy(l, k, copy);
}

LogicalResult emitSplit(Operation *op, Lowering &l) {
  auto split = cast<nn::SplitOp>(op);
  nn::Dim position = l.c(0);
  for (Value part : split.getResults()) {
    // Others may be read through x.
    if (l.isRead(part))
      emitSplitPart(split, l, part, position);
    position = position + l.dims(part)[split.getAxis()];
  }
  return success();
}

/// Copies `part` to the range of the result that begins at `position`.
void emitConcatPart(nn::ConcatOp op, Lowering &l, Value whole, OpOperand &part, nn::Dim position) {
  nn::DimContext &ctx = l.dimContext();
  Kernel k(l, op, "concat");
  StridedView view = readView(l, part);
  StridedCopy copy;
  copy.src = k.read(view.base);
  copy.dst = k.write(whole);
  nn::Dims strides = rowMajor(ctx, l.memoryDims(whole));
  copy.space.sizes = l.dims(part.get());
  copy.space.strides = {strides, view.strides};
  copy.from = k.dim(view.offset);
  copy.to = k.dim(position * strides[op.getAxis()]);
  if (part.getOperandNumber() == 0)
    copy.times = l.copiesPast(op);
  launchStridedCopy(l, k, copy);
}

/// Several parts in one launch, row by row of the result.
void emitConcatRows(nn::ConcatOp concat, Lowering &l, Value whole, ArrayRef<std::pair<Value, nn::Dim>> parts) {
  int64_t axis = concat.getAxis();
  Kernel k(l, concat, "concat");
  Buffer dst = asBits(k, k.write(whole));
  int64_t bytes = storageBytes(dst), rowBytes = 0;
  nn::Dim row = l.product(dst.dims, axis, dst.dims.size()), rows = l.product(dst.dims, 0, axis), moved = l.c(0);
  SmallVector<Buffer> sources;
  for (auto &[part, position] : parts) {
    sources.push_back(asBits(k, k.read(part)));
    nn::Dim n = l.product(sources.back().dims, axis, dst.dims.size());
    moved = moved + n;
    rowBytes += n.isConst() ? n.value() * bytes : 256;
  }
  nn::Dim inner = l.product(dst.dims, axis + 1, dst.dims.size());
  k.loop(k.begin, k.end, 1, [&](Ix r) {
    for (auto [source, part] : llvm::zip(sources, parts)) {
      Ix n = k.dim(l.product(source.dims, axis, dst.dims.size()));
      copyRow(k, dst, r * k.dim(row) + k.dim(part.second * inner), source, r * n, n);
    }
  });
  k.bytes = rows * moved * (2 * bytes);
  k.grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, 2 * rowBytes));
  l.launch(k, rows);
}

/// Whether rows of a result are what to split the work by: many short ones, or little work in all.
bool hasShortRows(nn::ConcatOp op, Lowering &l) {
  const nn::Dims &dims = l.dims(op.getResult());
  nn::Dim row = l.product(dims, op.getAxis(), dims.size()), rows = l.product(dims, 0, op.getAxis());
  if (!row.isConst() || row.value() > 16384)
    return false;
  return !rows.isConst() || rows.value() >= 64 || rows.value() * row.value() <= 4096;
}

LogicalResult emitConcat(Operation *op, Lowering &l) {
  auto concat = cast<nn::ConcatOp>(op);
  Value whole = l.longerConcat(concat.getResult());
  unsigned &inPlace = l.operandsInPlace(whole);
  // A state that grows in place has room behind its rows.
  bool byRows = l.options.optLevel > 0 && !l.options.device && l.copiesPast(concat).isConst(1) && hasShortRows(concat, l);
  SmallVector<std::pair<Value, nn::Dim>> parts;
  auto flush = [&] {
    if (!parts.empty())
      emitConcatRows(concat, l, whole, parts);
    parts.clear();
  };
  nn::Dim position = l.c(0);
  for (OpOperand &part : op->getOpOperands()) {
    bool isWhole = readView(l, part).base == part.get();
    const Lowering::RowPlace *place = l.rowPlaceOf(part.get());
    if (part.getOperandNumber() < inPlace || (place && place->whole == whole))
      ; // It is there.
    else if (byRows && isWhole)
      parts.push_back({part.get(), position});
    else
      emitConcatPart(concat, l, whole, part, position);
    if (parts.size() == 16)
      flush();
    position = position + l.dims(part.get())[concat.getAxis()];
  }
  flush();
  inPlace = std::max<unsigned>(inPlace, op->getNumOperands());
  return success();
}

RegisterEmitter sliceReference({"nn.slice", "slice-reference", 0, nullptr, referenceSlice});
RegisterEmitter slice({"nn.slice", "slice", 10, matchSlice, emitSlice});
RegisterEmitter split({"nn.split", "split", 0, nullptr, emitSplit});
RegisterEmitter concat({"nn.concat", "concat", 0, nullptr, emitConcat});

} // namespace
} // namespace nnopt::cpu
