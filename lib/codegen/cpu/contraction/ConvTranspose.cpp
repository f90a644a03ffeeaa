//===- ConvTranspose.cpp - transposed convolution by phases ------------------===//
//
// Every result position gathers the taps that fall on an input position. Positions with the same
// remainders modulo the strides use the same taps, so each such phase is a convolution with stride
// 1 whose results are written with a step. Where windows do not overlap, all phases read the same
// positions with one tap each: one kernel computes them, from rows that it reads once.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Conv.h"

using namespace mlir;

namespace nnopt::cpu {

static bool matchTiled(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvTransposeOp>(operation);
  int64_t phases = 1;
  for (int64_t stride : op.getStrides())
    phases *= stride;
  // One kernel per phase: not for absurd strides.
  return phases <= 64 && isFastConv(op, lowering, op.getX(), op.getW(), op.getBias(), op.getChannelsLast());
}

static LogicalResult emitTiled(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvTransposeOp>(operation);
  if (std::optional<ConvShape> all = ConvShape::ofAllPhases(op, lowering))
    return emitTiledConv(op, lowering, *all, /*groupStride=*/1, all->kernelSize, all->outPerGroup * all->kernelSize,
                         "conv_transpose");
  SmallVector<int64_t> phase(op.getStrides().size(), 0);
  while (true) {
    ConvShape shape(op, lowering, phase);
    // Weights are [group][in][out][kernel].
    int64_t channel = shape.outPerGroup * shape.kernelSize;
    if (failed(emitTiledConv(op, lowering, shape, channel * shape.inPerGroup, shape.kernelSize, channel,
                             "conv_transpose")))
      return failure();
    size_t d = phase.size();
    while (d-- > 0) {
      if (++phase[d] < op.getStrides()[d])
        break;
      phase[d] = 0;
    }
    if (d == size_t(-1))
      return success();
  }
}

static RegisterEmitter tiled({"nn.conv_transpose", "conv-transpose-phases", 10, matchTiled, emitTiled});

} // namespace nnopt::cpu
