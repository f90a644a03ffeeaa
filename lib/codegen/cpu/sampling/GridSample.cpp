//===- GridSample.cpp - interpolation at the positions of a grid ----------===//
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cpu/sampling/Sampler.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// A task is a block of positions of one image, for all of its channels.
LogicalResult emit(nn::GridSampleOp op, Lowering &lowering, int64_t lanes) {
  const nn::Dims &xDims = lowering.dims(op.getX()), &outDims = lowering.dims(op.getResult());
  int64_t spatial = xDims.size() - 2;
  nn::Dim positions = lowering.product(outDims, 2, outDims.size()), blocks = positions.ceilDiv(Sampler::kBlock);

  Kernel k(lowering, op, "grid_sample");
  Buffer x = k.read(op.getX()), grid = k.read(op.getGrid()), y = k.write(op.getResult());
  SampleRule rule{op.getMode(), op.getPadding(), op.getAlignCorners()};
  Sampler sampler(k, x, rule, lanes);
  Ix total = k.dim(positions), perImage = k.dim(blocks), channels = k.dim(xDims[1]), plane = sampler.planeSize();
  forTasks(k, [&](Ix task) {
    Ix image = task / perImage, first = task % perImage * Sampler::kBlock;
    Ix count = (total - first).min(k.c(Sampler::kBlock));
    k.loop(k.c(0), count, 1, [&](Ix p) {
      SmallVector<Float> position;
      for (int64_t axis = 0; axis < spatial; ++axis) {
        // The grid names the last dimension first. -1 and 1 are centers of elements or borders.
        Ix entry = ((image * total + first + p) * spatial) + (spatial - 1 - axis);
        Float n(&k, k.toFloat(k.load(grid, entry)));
        Float size = Float::of(k.dim(xDims[axis + 2]), k, n.v.getType());
        position.push_back(rule.alignCorners ? (n + 1.0) / 2.0 * (size - 1.0) : ((n + 1.0) * size - 1.0) / 2.0);
      }
      sampler.fill(p, position);
    });
    k.loop(k.c(0), channels, 1, [&](Ix channel) {
      Ix c = image * channels + channel;
      sampler.sample(y, c * total + first, c * plane, count);
    });
  });
  nn::Dim taps = lowering.c(1);
  for (int64_t i = 0; i < spatial; ++i)
    taps = taps * rule.taps();
  k.flops = lowering.numElements(op.getResult()) * taps * 2;
  k.bytes = (lowering.numElements(op.getX()) + lowering.numElements(op.getResult())) * storageBytes(x);
  lowering.launch(k, outDims[0] * blocks);
  return success();
}

bool matchFast(Operation *op, Lowering &lowering) {
  return lowering.shapes.info(op->getOperand(0)).elementType.isF32();
}
LogicalResult emitReference(Operation *op, Lowering &lowering) { return emit(cast<nn::GridSampleOp>(op), lowering, 0); }
LogicalResult emitFast(Operation *op, Lowering &lowering) {
  // Offsets have 8 bytes.
  return emit(cast<nn::GridSampleOp>(op), lowering, lowering.target.lanes(8));
}

RegisterEmitter reference({"nn.grid_sample", "grid-sample-reference", 0, nullptr, emitReference});
RegisterEmitter fast({"nn.grid_sample", "grid-sample", 10, matchFast, emitFast});

} // namespace
} // namespace nnopt::cpu
