//===- Scatter.cpp - scatter_elements, scatter_nd -------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// `update` combined with the element of `y` at `offset`.
Value combine(Kernel &k, const Buffer &y, Ix offset, Value update, nn::ScatterReduction reduction) {
  switch (reduction) {
  case nn::ScatterReduction::none:
    return update;
  case nn::ScatterReduction::add:
    return addElements(k, k.load(y, offset), update);
  case nn::ScatterReduction::mul:
    return mulElements(k, k.load(y, offset), update);
  case nn::ScatterReduction::min:
    return minElements(k, k.load(y, offset), update, y.isUnsigned);
  case nn::ScatterReduction::max:
    return maxElements(k, k.load(y, offset), update, y.isUnsigned);
  }
  llvm_unreachable("all reductions are handled");
}

/// A copy of x, then one task for each line of `indices` along the axis: different lines reach
/// different lines of the result, so that tasks never meet and repeated indices combine in order.
LogicalResult emitScatterElements(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ScatterElementsOp>(operation);
  nn::Dims dims = lowering.dims(op.getX()), indexDims = lowering.dims(op.getIndices());
  unsigned axis = op.getAxis();
  lowering.copy(op.getResult(), op.getX());

  Kernel k(lowering, op, "scatter_elements");
  Buffer indices = k.read(op.getIndices()), updates = k.read(op.getUpdates()), y = k.write(op.getResult());
  SmallVector<Ix> strides = k.strides(dims), indexStrides = k.strides(indexDims);
  nn::Dims lineDims = indexDims;
  lineDims[axis] = lowering.c(1);
  forTasks(k, [&](Ix task) {
    Ix from = k.c(0), to = k.c(0);
    for (auto [d, coordinate] : llvm::enumerate(k.delinearize(task, lineDims)))
      if (d != axis) {
        from = from + coordinate * indexStrides[d];
        to = to + coordinate * strides[d];
      }
    Ix size = k.dim(dims[axis]);
    k.loop(k.c(0), k.dim(indexDims[axis]), 1, [&](Ix i) {
      Ix source = from + i * indexStrides[axis];
      Ix index = wrapIndex(k, k.toIndex(k.load(indices, source), indices.isUnsigned), size);
      // An index out of range has no meaning in ONNX; it must not write outside of the result.
      k.ifThen(index.inRange(size), [&] {
        Ix target = to + index * strides[axis];
        k.store(y, target, combine(k, y, target, k.load(updates, source), op.getReduction()));
      });
    });
  });
  k.grain = 16;
  lowering.launch(k, nn::product(lowering.dimContext(), lineDims));
  return success();
}

/// A copy of x, then the slices. Without a reduction indices may not repeat, so the slices are
/// independent; with one, tasks split the elements of a slice instead, and each goes through the
/// slices in order.
LogicalResult emitScatterND(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ScatterNDOp>(operation);
  nn::Dims dims = lowering.dims(op.getX()), indexDims = lowering.dims(op.getIndices());
  if (!indexDims.back().isConst())
    return op.emitOpError("needs indices with a constant last dimension");
  unsigned depth = indexDims.back().value();
  nn::Dim slices = lowering.product(indexDims, 0, indexDims.size() - 1);
  nn::Dim sliceSize = lowering.product(dims, depth, dims.size());
  lowering.copy(op.getResult(), op.getX());

  Kernel k(lowering, op, "scatter_nd");
  Buffer indices = k.read(op.getIndices()), updates = k.read(op.getUpdates()), y = k.write(op.getResult());
  SmallVector<Ix> strides = k.strides(dims);
  Ix length = k.dim(sliceSize);
  auto scatter = [&](Ix slice, Ix low, Ix high) {
    Ix target = k.c(0);
    Value valid = k.constant(k.b.getI1Type(), 1);
    for (unsigned d = 0; d < depth; ++d) {
      Ix size = k.dim(dims[d]);
      Ix index = wrapIndex(k, k.toIndex(k.load(indices, slice * int64_t(depth) + int64_t(d)), indices.isUnsigned), size);
      valid = k.land(valid, index.inRange(size));
      target = target + index * strides[d];
    }
    k.ifThen(valid, [&] {
      k.loop(low, high, 1, [&](Ix i) {
        k.store(y, target + i, combine(k, y, target + i, k.load(updates, slice * length + i), op.getReduction()));
      });
    });
  };
  if (op.getReduction() == nn::ScatterReduction::none) {
    forTasks(k, [&](Ix slice) { scatter(slice, k.c(0), length); });
    k.grain = 4;
    lowering.launch(k, slices);
  } else {
    k.loop(k.c(0), k.dim(slices), 1, [&](Ix slice) { scatter(slice, k.begin, k.end); });
    k.grain = 64;
    lowering.launch(k, sliceSize);
  }
  return success();
}

RegisterEmitter scatterElements({"nn.scatter_elements", "scatter-elements", 0, nullptr, emitScatterElements});
RegisterEmitter scatterND({"nn.scatter_nd", "scatter-nd", 0, nullptr, emitScatterND});

} // namespace
} // namespace nnopt::cpu
