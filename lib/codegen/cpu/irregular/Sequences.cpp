//===- Sequences.cpp - reverse_sequence, tensor_scatter -------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// A task is the contiguous slice at one position of the dimensions up to the second of the two axes.
LogicalResult emitReverseSequence(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ReverseSequenceOp>(operation);
  const nn::Dims &dims = lowering.dims(op.getX());
  unsigned outer = std::max(op.getBatchAxis(), op.getTimeAxis()) + 1;
  nn::Dims taskDims(dims.begin(), dims.begin() + outer);

  Kernel k(lowering, op, "reverse_sequence");
  Buffer x = asBits(k, k.read(op.getX())), lengths = k.read(op.getLengths()), y = asBits(k, k.write(op.getResult()));
  Ix size = productOf(k, dims, outer, dims.size()), steps = k.dim(dims[op.getTimeAxis()]);
  Ix stride = productOf(k, dims, op.getTimeAxis() + 1, outer);
  forTasks(k, [&](Ix task) {
    SmallVector<Ix> at = k.delinearize(task, taskDims);
    Ix time = at[op.getTimeAxis()];
    Ix length = k.toIndex(k.load(lengths, at[op.getBatchAxis()]), lengths.isUnsigned).min(steps);
    Ix from = k.selectIx(time < length, length - 1 - time, time);
    copyRow(k, y, task * size, x, (task + (from - time) * stride) * size, size);
  });
  k.grain = 8;
  lowering.launch(k, nn::product(lowering.dimContext(), taskDims));
  return success();
}

/// A task is all positions along the axis for one position of the dimensions before it. Where the planner has put
/// the result in the place of x, only what changes is written.
LogicalResult emitTensorScatter(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::TensorScatterOp>(operation);
  const nn::Dims &dims = lowering.dims(op.getX()), &updateDims = lowering.dims(op.getUpdate());
  unsigned axis = op.getAxis();

  Kernel k(lowering, op, "tensor_scatter");
  Buffer x = asBits(k, k.read(op.getX())), update = asBits(k, k.read(op.getUpdate())), indices;
  if (op.getWriteIndices())
    indices = k.read(op.getWriteIndices());
  Buffer y = asBits(k, k.write(op.getResult()));
  k.allowInPlace(op.getX(), op.getResult());
  Ix size = k.dim(dims[axis]), count = k.dim(updateDims[axis]), inner = productOf(k, dims, axis + 1, dims.size());
  Ix perBatch = productOf(k, dims, 1, axis);
  Value isElsewhere = LLVM::ICmpOp::create(k.b, k.loc, LLVM::ICmpPredicate::ne, x.ptr, y.ptr);
  forTasks(k, [&](Ix task) {
    Ix base = task * size;
    k.ifThen(isElsewhere, [&] { copyRow(k, y, base * inner, x, base * inner, size * inner); });
    Ix first = op.getWriteIndices() ? k.toIndex(k.load(indices, task / perBatch), indices.isUnsigned) : k.c(0);
    k.loop(k.c(0), count, 1, [&](Ix i) {
      Ix position = first + i;
      if (op.getCircular()) {
        position = {&k, arith::RemSIOp::create(k.b, k.loc, position, size.max(k.c(1)))};
        position = k.selectIx(position < 0, position + size, position);
      }
      k.ifThen(position.inRange(size),
               [&] { copyRow(k, y, (base + position) * inner, update, (task * count + i) * inner, inner); });
    });
  });
  lowering.launch(k, lowering.product(dims, 0, axis));
  return success();
}

RegisterEmitter reverseSequence({"nn.reverse_sequence", "reverse-sequence", 0, nullptr, emitReverseSequence});
RegisterEmitter tensorScatter({"nn.tensor_scatter", "tensor-scatter", 0, nullptr, emitTensorScatter});

} // namespace
} // namespace nnopt::cpu
