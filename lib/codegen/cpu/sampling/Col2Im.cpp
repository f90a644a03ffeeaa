//===- Col2Im.cpp - blocks added up to images, unpooling ------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/memory/Operands.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// Gives sizes of the result that are known only at run time their values.
LogicalResult defineSizes(nn::Col2ImOp op, Lowering &lowering) {
  const nn::Dims &out = lowering.dims(op.getResult());
  unsigned spatial = op.getStrides().size();
  if (!isResolved(lowering, op, out[1]) && failed(defineSymbol(lowering, op, out[1], [&](Kernel &k) {
        IntOperand block(k, op.getBlockShape());
        Ix size = k.c(1);
        for (unsigned i = 0; i < spatial; ++i)
          size = size * block[i];
        return k.dim(lowering.dims(op.getX())[1]) / size.max(k.c(1));
      })))
    return failure();
  for (unsigned i = 0; i < spatial; ++i)
    if (!isResolved(lowering, op, out[2 + i]) && failed(defineSymbol(lowering, op, out[2 + i], [&](Kernel &k) {
          return IntOperand(k, op.getImageShape())[i].max(k.c(0));
        })))
      return failure();
  return success();
}

/// A task is one plane of the result: for each element of the block, the row of x that holds it for every
/// block is added to the places it comes from.
LogicalResult emitCol2Im(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::Col2ImOp>(operation);
  if (failed(defineSizes(op, lowering)))
    return failure();
  const nn::Dims &xDims = lowering.dims(op.getX()), &outDims = lowering.dims(op.getResult());
  unsigned spatial = op.getStrides().size();

  Kernel k(lowering, op, "col2im");
  Buffer x = k.read(op.getX());
  IntOperand blockShape(k, op.getBlockShape());
  Buffer y = k.write(op.getResult());
  Ix rows = k.dim(xDims[1]), columns = k.dim(xDims[2]), channels = k.dim(outDims[1]),
     plane = productOf(k, outDims, 2, outDims.size());
  SmallVector<Ix> strides = k.strides(outDims), sizes, blocks, counts;
  Ix blockSize = k.c(1), total = k.c(1);
  for (unsigned i = 0; i < spatial; ++i) {
    sizes.push_back(k.dim(outDims[2 + i]));
    blocks.push_back(blockShape[i].max(k.c(0)));
    Ix room = sizes[i] + (op.getPads()[i] + op.getPads()[spatial + i]) - (blocks[i] - 1) * op.getDilations()[i] - 1;
    counts.push_back(k.selectIx(room < 0, k.c(0), room.max(k.c(0)) / op.getStrides()[i] + 1));
    blockSize = blockSize * blocks[i];
    total = total * counts[i];
  }
  // Shapes that contradict x are an error of the data: nothing is read then.
  Value fits = k.land(total == columns, blockSize * channels <= rows);
  forTasks(k, [&](Ix task) {
    Ix image = task / channels, channel = task % channels, to = task * plane;
    fillRow(k, y, to, k.constant(y.valueType, 0), plane);
    // Along each axis, block q of [low, high) puts this element at position q * stride + shift, inside of the image.
    SmallVector<Ix> low(spatial), high(spatial), shift(spatial);
    std::function<void(unsigned, Ix, Ix)> place = [&](unsigned axis, Ix from, Ix at) {
      int64_t stride = op.getStrides()[axis];
      k.loop(low[axis], high[axis], 1, [&](Ix q) {
        Ix column = from * counts[axis] + q, target = at + (q * stride + shift[axis]) * strides[2 + axis];
        if (axis + 1 < spatial)
          return place(axis + 1, column, target);
        k.store(y, target, addElements(k, k.load(y, target), k.load(x, column)));
      });
    };
    std::function<void(unsigned, Ix)> element = [&](unsigned axis, Ix number) {
      if (axis == spatial)
        return place(0, image * rows + channel * blockSize + number, to);
      k.loop(k.c(0), blocks[axis], 1, [&](Ix b) {
        int64_t stride = op.getStrides()[axis];
        shift[axis] = b * op.getDilations()[axis] - op.getPads()[axis];
        auto firstAt = [&](Ix position) { return ((position - shift[axis]).max(k.c(0)) + (stride - 1)) / stride; };
        low[axis] = firstAt(k.c(0)).min(counts[axis]);
        high[axis] = firstAt(sizes[axis]).min(counts[axis]);
        element(axis + 1, number * blocks[axis] + b);
      });
    };
    k.ifThen(fits, [&] { element(0, k.c(0)); });
  });
  lowering.launch(k, outDims[0] * outDims[1]);
  return success();
}

/// Zeros, then the elements of x: a task is a plane of each.
LogicalResult emitMaxUnpool(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MaxUnpoolOp>(operation);
  const nn::Dims &xDims = lowering.dims(op.getX()), &outDims = lowering.dims(op.getResult());
  nn::Dim planes = outDims[0] * outDims[1];
  {
    Kernel k(lowering, op, "max_unpool_zeros");
    Buffer y = k.write(op.getResult());
    Ix plane = productOf(k, outDims, 2, outDims.size());
    forTasks(k, [&](Ix task) { fillRow(k, y, task * plane, k.constant(y.valueType, 0), plane); });
    lowering.launch(k, planes);
  }
  Kernel k(lowering, op, "max_unpool");
  Buffer x = k.read(op.getX()), indices = k.read(op.getIndices()), y = k.write(op.getResult());
  Ix plane = productOf(k, xDims, 2, xDims.size()), size = productOf(k, outDims, 0, outDims.size());
  forTasks(k, [&](Ix task) {
    k.loop(task * plane, task * plane + plane, 1, [&](Ix i) {
      Ix target = k.toIndex(k.load(indices, i), indices.isUnsigned);
      k.ifThen(target.inRange(size), [&] { k.store(y, target, k.load(x, i)); });
    });
  });
  lowering.launch(k, planes);
  return success();
}

RegisterEmitter col2im({"nn.col2im", "col2im", 0, nullptr, emitCol2Im});
RegisterEmitter maxUnpool({"nn.max_unpool", "max-unpool", 0, nullptr, emitMaxUnpool});

} // namespace
} // namespace nnopt::cpu
