//===- ConvShape.cpp - sizes of a convolution -------------------------------===//

#include "lib/codegen/cpu/contraction/ConvShape.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"

using namespace mlir;

namespace nnopt::cpu {

/// All positions of a row-major space of these sizes, through `at`.
static void forEachPosition(ArrayRef<int64_t> sizes, function_ref<void(ArrayRef<int64_t>)> at) {
  SmallVector<int64_t> position(sizes.size(), 0);
  int64_t total = 1;
  for (int64_t s : sizes)
    total *= s;
  for (int64_t i = 0; i < total; ++i) {
    at(position);
    for (size_t d = sizes.size(); d-- > 0;) {
      if (++position[d] < sizes[d])
        break;
      position[d] = 0;
    }
  }
}

ConvShape::ConvShape(nn::ConvOp op, Lowering &lowering) {
  nn::Dims x = lowering.dims(op.getX()), w = lowering.dims(op.getW()), y = lowering.dims(op.getResult());
  channelsLast = op.getChannelsLast();
  size_t spatial = x.size() - 2, base = channelsLast ? 1 : 2;
  batch = x[0];
  groups = op.getGroup();
  inPerGroup = w[1].isConst() ? w[1].value() : -1;
  outPerGroup = w[0].isConst() ? w[0].value() / groups : -1;
  SmallVector<int64_t> kernel;
  for (size_t d = 0; d < spatial; ++d) {
    ConvDim dim;
    dim.in = x[base + d];
    dim.out = dim.count = y[base + d];
    dim.inStep = op.getStrides()[d];
    dim.first = -op.getPads()[d];
    dim.tapStep = op.getDilations()[d];
    dim.taps = w[2 + d].isConst() ? w[2 + d].value() : -1;
    dim.checked = op.getPads()[d] > 0 || op.getPads()[spatial + d] > 0;
    kernelSize *= dim.taps;
    kernel.push_back(dim.taps);
    dims.push_back(dim);
  }
  for (int64_t t = 0; t < kernelSize; ++t)
    tapIndex.push_back(t);
}

ConvShape::ConvShape(nn::ConvTransposeOp op, Lowering &lowering, ArrayRef<int64_t> phase) {
  nn::Dims x = lowering.dims(op.getX()), w = lowering.dims(op.getW()), y = lowering.dims(op.getResult());
  channelsLast = op.getChannelsLast();
  size_t spatial = x.size() - 2, base = channelsLast ? 1 : 2;
  batch = x[0];
  groups = op.getGroup();
  inPerGroup = w[0].isConst() ? w[0].value() / groups : -1;
  outPerGroup = w[1].isConst() ? w[1].value() : -1;
  SmallVector<int64_t> kernel, taps;
  SmallVector<SmallVector<int64_t>> tapOf; // kernel position of each tap, per dimension
  for (size_t d = 0; d < spatial; ++d) {
    int64_t stride = op.getStrides()[d], pad = op.getPads()[d], dilation = op.getDilations()[d];
    int64_t size = w[2 + d].isConst() ? w[2 + d].value() : 0;
    ConvDim dim;
    dim.in = x[base + d];
    dim.out = y[base + d];
    dim.outStep = stride;
    dim.outPhase = phase[d];
    dim.count = (dim.out - phase[d]).ceilDiv(lowering.c(stride)).max(lowering.c(0));
    // Result o gets input i through kernel position t where o + pad - t * dilation = i * stride.
    SmallVector<int64_t> positions, offsets;
    for (int64_t t = 0; t < size; ++t) {
      int64_t at = phase[d] + pad - t * dilation;
      if (at % stride == 0) {
        positions.push_back(t);
        offsets.push_back(at / stride);
      }
    }
    dim.taps = positions.size();
    dim.first = offsets.empty() ? 0 : offsets[0];
    dim.tapStep = offsets.size() > 1 ? offsets[1] - offsets[0] : 1;
    kernelSize *= size;
    kernel.push_back(size);
    taps.push_back(dim.taps);
    tapOf.push_back(positions);
    dims.push_back(dim);
  }
  forEachPosition(taps, [&](ArrayRef<int64_t> at) {
    int64_t index = 0;
    for (size_t d = 0; d < spatial; ++d)
      index = index * kernel[d] + tapOf[d][at[d]];
    tapIndex.push_back(index);
  });
}

std::optional<ConvShape> ConvShape::ofAllPhases(nn::ConvTransposeOp op, Lowering &lowering) {
  ConvShape shape(op, lowering, SmallVector<int64_t>(op.getStrides().size(), 0));
  nn::Dims w = lowering.dims(op.getW());
  if (shape.groups != 1)
    return std::nullopt;
  for (auto [d, dim] : llvm::enumerate(shape.dims)) {
    if (!w[2 + d].isConst(dim.outStep) || op.getPads()[d] != 0 || op.getDilations()[d] != 1 || dim.out != dim.in * dim.outStep)
      return std::nullopt;
    dim.count = dim.in;
    dim.checked = false;
    shape.phases *= dim.outStep;
  }
  return shape.phases > 1 ? std::optional(shape) : std::nullopt;
}

bool ConvShape::isPlain() const {
  return llvm::all_of(dims, [](const ConvDim &d) {
    return d.taps == 1 && d.inStep == 1 && !d.checked && d.first == 0 && d.in == d.count;
  });
}

nn::Dim ConvShape::positions(Lowering &lowering) const {
  nn::Dim n = batch;
  for (const ConvDim &d : dims)
    n = n * d.count;
  return n;
}

nn::Dim ConvShape::flops(Lowering &lowering) const {
  return positions(lowering) * (2 * phases * outChannels() * inPerGroup * taps());
}

std::string ConvShape::text() const {
  std::string s;
  for (const ConvDim &d : dims)
    s += dimText(d.in) + "x";
  s += std::to_string(inChannels()) + "_" + std::to_string(outChannels()) + "_";
  for (size_t d = 0; d < dims.size(); ++d)
    s += (d ? "x" : "") + std::to_string(dims[d].taps);
  for (const ConvDim &d : dims) {
    if (d.inStep != 1) {
      s += "s" + std::to_string(d.inStep);
      break;
    }
  }
  if (phases > 1)
    s += "p" + std::to_string(phases);
  if (groups > 1)
    s += "g" + std::to_string(groups);
  return s;
}

} // namespace nnopt::cpu
