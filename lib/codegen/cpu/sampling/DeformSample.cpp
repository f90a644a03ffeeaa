//===- DeformSample.cpp - columns of a deformable convolution -------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cpu/sampling/Sampler.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// A task is a block of positions for one image, offset group and element of the kernel: all channels of the
/// group are sampled at the same places.
LogicalResult emit(nn::DeformSampleOp op, Lowering &lowering, int64_t lanes) {
  const nn::Dims &xDims = lowering.dims(op.getX()), &offsetDims = lowering.dims(op.getOffset());
  int64_t spatial = xDims.size() - 2, groups = op.getOffsetGroup(), kernelSize = 1;
  nn::Dims kernelDims, positionDims(offsetDims.begin() + 2, offsetDims.end());
  for (int64_t size : op.getKernel()) {
    kernelDims.push_back(lowering.c(size));
    kernelSize *= size;
  }
  nn::Dim positions = nn::product(lowering.dimContext(), positionDims), blocks = positions.ceilDiv(Sampler::kBlock);
  nn::Dims taskDims{xDims[0], lowering.c(groups), lowering.c(kernelSize), blocks};

  Kernel k(lowering, op, "deform_sample");
  Buffer x = k.read(op.getX()), offset = k.read(op.getOffset()), mask, y;
  if (op.getMask())
    mask = k.read(op.getMask());
  y = k.write(op.getResult());
  Sampler sampler(k, x, {nn::ResizeMode::linear, nn::SamplePadding::zeros, true}, lanes);
  Ix total = k.dim(positions), channels = k.dim(xDims[1]), perGroup = k.dim(xDims[1].floorDiv(groups)),
     plane = sampler.planeSize();
  forTasks(k, [&](Ix task) {
    SmallVector<Ix> at = k.delinearize(task, taskDims);
    Ix image = at[0], group = at[1], tap = at[2], first = at[3] * Sampler::kBlock;
    Ix count = (total - first).min(k.c(Sampler::kBlock));
    SmallVector<Ix> inKernel = k.delinearize(tap, kernelDims);
    // Number of this element of the kernel among those of all groups and images.
    Ix element = (image * groups + group) * kernelSize + tap;
    k.loop(k.c(0), count, 1, [&](Ix p) {
      SmallVector<Ix> out = k.delinearize(first + p, positionDims);
      SmallVector<Float> position;
      for (int64_t axis = 0; axis < spatial; ++axis) {
        Float shift(&k, k.toFloat(k.load(offset, (element * spatial + axis) * total + first + p)));
        Ix base = out[axis] * op.getStrides()[axis] - op.getPads()[axis] + inKernel[axis] * op.getDilations()[axis];
        position.push_back(Float::of(base, k, shift.v.getType()) + shift);
      }
      Float factor;
      if (op.getMask())
        factor = Float(&k, k.toFloat(k.load(mask, element * total + first + p)));
      sampler.fill(p, position, factor);
    });
    k.loop(k.c(0), perGroup, 1, [&](Ix c) {
      Ix channel = image * channels + group * perGroup + c;
      sampler.sample(y, (channel * kernelSize + tap) * total + first, channel * plane, count);
    });
  });
  k.flops = lowering.numElements(op.getResult()) * (int64_t(2) << spatial);
  k.bytes = (lowering.numElements(op.getX()) + lowering.numElements(op.getResult())) * storageBytes(x);
  lowering.launch(k, nn::product(lowering.dimContext(), taskDims));
  return success();
}

bool matchFast(Operation *op, Lowering &lowering) {
  return lowering.shapes.info(op->getOperand(0)).elementType.isF32();
}
LogicalResult emitReference(Operation *op, Lowering &lowering) {
  return emit(cast<nn::DeformSampleOp>(op), lowering, 0);
}
LogicalResult emitFast(Operation *op, Lowering &lowering) {
  // Offsets in planes have 8 bytes.
  return emit(cast<nn::DeformSampleOp>(op), lowering, lowering.target.lanes(8));
}

RegisterEmitter reference({"nn.deform_sample", "deform-sample-reference", 0, nullptr, emitReference});
RegisterEmitter fast({"nn.deform_sample", "deform-sample", 10, matchFast, emitFast});

} // namespace
} // namespace nnopt::cpu
