//===- Depthwise.cpp - depthwise and narrow grouped convolution --------------===//
//
// Lanes are output channels. With one input channel per group a vector of inputs multiplies a vector
// of weights; with a few per group the input vector is permuted in registers once per input channel,
// so that every lane sees its own group's channel.
//
// Bytes are computed as 32-bit floats, less their zero points: sums below 2^24 are exact.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Conv.h"
#include "lib/codegen/cpu/contraction/LaneConv.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"

using namespace mlir;

namespace nnopt::cpu {

/// Bytes whose sums are exact in 32-bit floats: at most 255 * 255 for each product.
static bool isByteConv(nn::ConvOp op, Lowering &lowering) {
  if (!op.getChannelsLast() || lowering.dims(op.getX()).size() < 3)
    return false;
  ConvShape shape(op, lowering);
  return lowering.shapes.info(op.getX()).elementType.isInteger(8) && shape.taps() * shape.inPerGroup * 255 * 255 < (1 << 24) &&
         NarrowProduct::matches(lowering, narrowOperands(op), op.getBias(), op.getResult(), op.getEpilogue());
}

static bool matchLanes(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvOp>(operation);
  bool isBytes = isByteConv(op, lowering);
  if (op.getGroup() == 1 ||
      !(isBytes || isFastConv(op, lowering, op.getX(), op.getW(), op.getBias(), op.getChannelsLast()) || canPackAtRunTime(op, lowering)))
    return false;
  ConvShape shape(op, lowering);
  Type type = lowering.shapes.info(op.getX()).elementType;
  int64_t lanes = lowering.target.lanes(isBytes ? 4 : type.getIntOrFloatBitWidth() / 8);
  if (shape.dims.back().taps > maxRowTaps || shape.taps() == 0)
    return false;
  // A vector of outputs covers whole groups, at most half a vector each, and two vectors of inputs.
  if (lanes % shape.outPerGroup != 0 || shape.outPerGroup * 2 > lanes)
    return false;
  return shape.inPerGroup <= 16 && lanes / shape.outPerGroup * shape.inPerGroup <= 2 * lanes;
}

/// Weights of bytes, [out channel][...], as floats less their zero points.
static std::vector<float> centredWeights(const nn::ConstantData &data, Value wZero, Lowering &lowering) {
  std::vector<float> weights = data.asFloats();
  if (!wZero)
    return weights;
  nn::ConstantData zeros = *lowering.constant(wZero);
  size_t perChannel = weights.size() / data.type().getDimSize(0);
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] -= zeros.asInt(zeros.size() == 1 ? 0 : i / perChannel);
  return weights;
}

static LogicalResult emitLanes(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvOp>(operation);
  ConvShape shape(op, lowering);
  bool isBytes = isByteConv(op, lowering);
  Type memoryElement = lowering.shapes.info(op.getX()).elementType;
  Type element = isBytes ? Float32Type::get(op.getContext()) : memoryElement;
  int64_t bytes = element.getIntOrFloatBitWidth() / 8, memoryBytes = memoryElement.getIntOrFloatBitWidth() / 8;
  int64_t lanes = lowering.target.lanes(bytes);
  // Weights [channel block][taps][input channel of the group][lane].
  PanelSource source;
  source.columns = shape.outChannels();
  source.columnStride = shape.inPerGroup * shape.kernelSize;
  source.channels = shape.inPerGroup;
  source.channelStride = shape.kernelSize;
  source.tapOffsets = shape.tapIndex;
  const Tile panel{1, 1, lanes};
  std::optional<nn::ConstantData> data = lowering.constant(op.getW());
  TempTensor packedAtRunTime;
  if (!data)
    packedAtRunTime = packAtRunTime(op, lowering, source, panel, element);

  Kernel k(lowering, op, "conv_lanes_" + shape.text());
  Buffer x = k.read(op.getX());
  Buffer panels;
  int64_t packedBytes;
  if (data) {
    std::vector<float> centred;
    ArrayRef<char> weightBytes = data->bytes();
    if (isBytes) {
      centred = centredWeights(*data, op.getWZero(), lowering);
      weightBytes = ArrayRef(reinterpret_cast<const char *>(centred.data()), centred.size() * sizeof(float));
    }
    std::vector<char> packed = packPanels(source, weightBytes, bytes, panel);
    packedBytes = int64_t(packed.size());
    panels = k.weights(packed, element, {packedBytes / bytes});
  } else {
    packedBytes = packedAtRunTime.dims[0].value() * bytes;
    panels = k.read(packedAtRunTime);
  }
  bool hasIntegerSums = isBytes && (op.getBias() || !takesFloatSums(op.getEpilogue()));
  Finish finish(k, op, op.getBias(), hasIntegerSums ? IntegerType::get(op.getContext(), 32) : element);
  finish.allowInPlace();
  LaneConv conv{k, shape, element, lanes, finish, x};
  if (isBytes) {
    conv.zero = k.constant(k.vec(lanes, element), 0);
    if (op.getXZero()) {
      Buffer zero = k.read(op.getXZero());
      conv.zero = k.splat(k.toFloat(k.load(zero, k.c(0)), zero.isUnsigned), lanes);
    }
  }
  conv.width = chooseWidth(lowering.target, shape, constantDim(conv.last().count));

  int64_t outChannels = shape.outChannels(), inChannels = shape.inChannels();
  int64_t inPerBlock = lanes / shape.outPerGroup * shape.inPerGroup;
  nn::Dims leading;
  nn::Dim rowCount = lowering.c(1);
  for (const ConvDim &d : ArrayRef(shape.dims).drop_back()) {
    leading.push_back(d.count);
    rowCount = rowCount * d.count;
  }

  // Task: (image, band of rows, channel block, row). The rows of a band fit L2, since every channel
  // block reads a part of each line; the rows of a block follow each other, since they share inputs.
  PanelLoop loop;
  loop.tile = panel;
  loop.rows = rowCount;
  loop.columns = lowering.c(outChannels);
  loop.outer = shape.batch;
  int64_t rowBytes = inChannels * constantDim(conv.last().in).value_or(64) * memoryBytes;
  if (shape.dims.size() > 1)
    rowBytes *= shape.dims[shape.dims.size() - 2].inStep;
  loop.blockTiles = std::max<int64_t>(4, lowering.target.l2Bytes / 4 / rowBytes);
  nn::Dim imageElements = lowering.c(inChannels);
  for (const ConvDim &d : shape.dims)
    imageElements = imageElements * d.in;
  emitPanelLoop(
      k, loop,
      [&](PanelAt &at) {
        conv.column = at.column;
        conv.inColumn = at.panel * inPerBlock;
        conv.outMask = at.masks[0];
        conv.inMasks.clear();
        for (int64_t v = 0; v < conv.inputVectors(); ++v) {
          bool whole = !at.tail && inPerBlock >= (v + 1) * lanes;
          Ix left = (k.c(inChannels) - conv.inColumn).min(k.c(inPerBlock)) - v * lanes;
          conv.inMasks.push_back(whole ? Value() : k.mask(left, lanes));
        }
        conv.bias = finish.bias(conv.column, 1, lanes, {conv.outMask});
        conv.weights = k.ptrAdd(panels.ptr, at.panel * (shape.taps() * shape.inPerGroup * lanes), element);
        conv.holdWeights();
        conv.imageOffset = at.outer * k.dim(imageElements);
        return SmallVector<Value>();
      },
      [&](PanelAt &at, TileAt &t, ValueRange) {
        SmallVector<Ix> position = k.delinearize(t.row, leading);
        conv.leadingFirst.clear();
        for (auto [coordinate, dim] : llvm::zip(position, shape.dims))
          conv.leadingFirst.push_back(coordinate * dim.inStep + dim.first);
        conv.resultRow = (at.outer * k.dim(rowCount) + t.row) * k.dim(conv.last().out);
        conv.row();
      });

  k.flops = shape.flops(lowering);
  k.bytes = (lowering.numElements(op.getX()) + lowering.numElements(op.getResult())) * memoryBytes + packedBytes;
  double outputs = constantDim(conv.last().count).value_or(64);
  k.grain = taskGrain(4.0 * outputs * lanes * shape.taps() * shape.inPerGroup, outputs * lanes * bytes);
  lowering.launch(k, loop.tasks());
  return success();
}

static RegisterEmitter lanesEmitter({"nn.conv", "conv-lanes", 20, matchLanes, emitLanes});

} // namespace nnopt::cpu
