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
void emitConcatPart(nn::ConcatOp op, Lowering &l, OpOperand &part, nn::Dim position) {
  nn::DimContext &ctx = l.dimContext();
  Kernel k(l, op, "concat");
  StridedView view = readView(l, part);
  StridedCopy copy;
  copy.src = k.read(view.base);
  copy.dst = k.write(op.getResult());
  nn::Dims strides = rowMajor(ctx, l.memoryDims(op.getResult()));
  copy.space.sizes = l.dims(part.get());
  copy.space.strides = {strides, view.strides};
  copy.from = k.dim(view.offset);
  copy.to = k.dim(position * strides[op.getAxis()]);
  if (part.getOperandNumber() == 0)
    copy.times = l.copiesPast(op);
  launchStridedCopy(l, k, copy);
}

/// All parts in one launch of one task: for concats so small that launches would dominate.
LogicalResult emitSmallConcat(nn::ConcatOp concat, Lowering &l) {
  int64_t axis = concat.getAxis();
  Kernel k(l, concat, "concat");
  Buffer dst = asBits(k, k.write(concat.getResult()));
  nn::Dim row = l.product(dst.dims, axis, dst.dims.size());
  nn::Dim rows = l.product(dst.dims, 0, axis);
  Ix position = k.c(0);
  for (Value part : concat.getInputs()) {
    Buffer src = asBits(k, k.read(part));
    Ix n = k.dim(l.product(src.dims, axis, src.dims.size()));
    k.loop(k.c(0), k.dim(rows), 1, [&](Ix r) { copyRow(k, dst, position + r * k.dim(row), src, r * n, n); });
    position = position + n;
  }
  l.launch(k, l.c(1));
  return success();
}

bool matchSmallConcat(nn::ConcatOp op, Lowering &l) {
  nn::Dim n = l.numElements(op.getResult());
  auto isWhole = [&](OpOperand &part) { return readView(l, part).base == part.get(); };
  return n.isConst() && n.value() <= 4096 && op->getNumOperands() <= 16 && llvm::all_of(op->getOpOperands(), isWhole);
}

LogicalResult emitConcat(Operation *op, Lowering &l) {
  auto concat = cast<nn::ConcatOp>(op);
  if (l.options.optLevel > 0 && matchSmallConcat(concat, l))
    return emitSmallConcat(concat, l);
  nn::Dim position = l.c(0);
  for (OpOperand &part : op->getOpOperands()) {
    emitConcatPart(concat, l, part, position);
    position = position + l.dims(part.get())[concat.getAxis()];
  }
  return success();
}

RegisterEmitter sliceReference({"nn.slice", "slice-reference", 0, nullptr, referenceSlice});
RegisterEmitter slice({"nn.slice", "slice", 10, matchSlice, emitSlice});
RegisterEmitter split({"nn.split", "split", 0, nullptr, emitSplit});
RegisterEmitter concat({"nn.concat", "concat", 0, nullptr, emitConcat});

} // namespace
} // namespace nnopt::cpu
