//===- Depthwise.cpp - depthwise and narrow grouped convolution --------------===//
//
// Lanes are output channels. With one input channel per group a vector of inputs multiplies a vector
// of weights; with a few per group the input vector is permuted in registers once per input channel,
// so that every lane sees its own group's channel. A step computes several neighbouring outputs of a
// row, which share inputs and weights. Borders are separate code: rows outside are skipped by a
// branch, columns outside are left out of the code where the width is known and tested one output
// at a time where it is not.
//
// Bytes are computed as 32-bit floats, less their zero points: sums below 2^24 are exact.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/contraction/Conv.h"
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// Taps up to which all of them are unrolled (one row of taps is always unrolled).
constexpr int64_t maxUnrolledTaps = 32;
constexpr int64_t maxRowTaps = 64;

struct LaneConv {
  Kernel &k;
  const ConvShape &shape;
  Type element; // that is computed with
  int64_t lanes;
  Finish &finish;
  Buffer x;
  Value zero; // bytes: the zero point of x in all lanes; else null
  Value weights; // of the current channel block: [taps][inPerGroup][lanes]
  int64_t width = 1; // outputs per step

  // The current block of channels.
  Ix column;      // first output channel
  Ix inColumn;    // first input channel
  Value outMask;  // null: all lanes
  SmallVector<Value> inMasks;
  SmallVector<Value> bias;
  SmallVector<Value> held; // weights kept in registers, or empty

  // The current row.
  struct TapRow {
    Value pointer; // at input column 0, first channel of the block
    Value valid;   // null: inside
  };
  SmallVector<Ix> leadingFirst; // first input position in each leading dimension
  Ix imageOffset, resultRow;    // result row of output column 0

  const ConvDim &last() const { return shape.dims.back(); }
  int64_t leadingTaps() const { return shape.taps() / last().taps; }
  int64_t inputVectors() const { return llvm::divideCeil(lanes / shape.outPerGroup * shape.inPerGroup, lanes); }
  VectorType vectorType() { return k.vec(lanes, element); }

  bool unrolled() const { return shape.taps() <= maxUnrolledTaps; }
  TapRow tapRow(ArrayRef<Ix> taps, bool checked);
  Value weight(Ix leadingTap, int64_t tap, int64_t channel);
  SmallVector<Value> inputs(Value pointer, Ix offset);
  Value variant(ArrayRef<Value> inputs, int64_t c);
  SmallVector<Value> tapRowProducts(const TapRow &row, Ix leadingTap, Ix first, int64_t count,
                                    function_ref<bool(int64_t, int64_t)> inside, ValueRange acc, bool checkColumns);
  void step(Ix output, int64_t count, bool checkRows, function_ref<bool(int64_t, int64_t)> inside, bool checkColumns);
  void row(bool checkRows);
  void knownRow(bool checkRows, int64_t in, int64_t count);
  void unknownRow(bool checkRows);
};

LaneConv::TapRow LaneConv::tapRow(ArrayRef<Ix> taps, bool checked) {
  Ix offset = imageOffset;
  Value valid;
  Ix stride = k.dim(last().in) * shape.inChannels();
  for (size_t d = taps.size(); d-- > 0;) {
    const ConvDim &dim = shape.dims[d];
    Ix at = leadingFirst[d] + taps[d] * dim.tapStep;
    offset = offset + at * stride;
    stride = stride * k.dim(dim.in);
    if (checked && dim.checked) {
      Value inside = at.inRange(k.dim(dim.in));
      valid = valid ? k.land(valid, inside) : inside;
    }
  }
  return {k.ptrAdd(x.ptr, offset + inColumn, x.valueType), valid};
}

Value LaneConv::weight(Ix leadingTap, int64_t tap, int64_t channel) {
  if (std::optional<int64_t> known = leadingTap.constant(); known && !held.empty())
    return held[(*known * last().taps + tap) * shape.inPerGroup + channel];
  Ix at = (leadingTap * last().taps + tap) * shape.inPerGroup + channel;
  return k.loadAt(weights, at * lanes, vectorType(), lanes * element.getIntOrFloatBitWidth() / 8);
}

/// The inputs at one position: all channels of the block's groups.
SmallVector<Value> LaneConv::inputs(Value pointer, Ix offset) {
  SmallVector<Value> loaded;
  for (int64_t v = 0; v < inputVectors(); ++v) {
    Ix at = offset + v * lanes;
    Value in = inMasks[v] ? k.loadMasked(k.at(pointer, x.valueType), at, lanes, inMasks[v])
                          : k.loadAt(pointer, at, k.vec(lanes, x.valueType));
    if (zero)
      in = arith::SubFOp::create(k.b, k.loc, k.toFloat(in, x.isUnsigned), zero);
    loaded.push_back(in);
  }
  return loaded;
}

/// Input channel `c` of every output lane's own group.
Value LaneConv::variant(ArrayRef<Value> inputs, int64_t c) {
  if (shape.inPerGroup == 1 && shape.outPerGroup == 1)
    return inputs[0];
  SmallVector<int64_t> pattern;
  for (int64_t l = 0; l < lanes; ++l)
    pattern.push_back(l / shape.outPerGroup * shape.inPerGroup + c);
  return vector::ShuffleOp::create(k.b, k.loc, inputs.front(), inputs.back(), pattern);
}

/// Adds one row of taps to `count` neighbouring outputs. first: input position of the first tap of
/// the first output.
SmallVector<Value> LaneConv::tapRowProducts(const TapRow &row, Ix leadingTap, Ix first, int64_t count,
                                            function_ref<bool(int64_t, int64_t)> inside, ValueRange in,
                                            bool checkColumns) {
  auto products = [&] {
    SmallVector<Value> acc(in);
    // Inputs by distance from the first; each is loaded once for all outputs that use it.
    std::map<int64_t, SmallVector<std::pair<int64_t, int64_t>>> uses;
    for (int64_t t = 0; t < count; ++t)
      for (int64_t j = 0; j < last().taps; ++j)
        if (inside(t, j))
          uses[t * last().inStep + j * last().tapStep].push_back({t, j});
    if (!checkColumns) {
      // Channel by channel: a weight serves all outputs, which are independent sums.
      std::map<int64_t, SmallVector<Value>> loaded;
      for (auto &[distance, users] : uses)
        loaded[distance] = inputs(row.pointer, (first + distance) * shape.inChannels());
      for (int64_t c = 0; c < shape.inPerGroup; ++c) {
        std::map<int64_t, Value> variants;
        for (auto &[distance, vectors] : loaded)
          variants[distance] = variant(vectors, c);
        for (int64_t j = 0; j < last().taps; ++j)
          for (int64_t t = 0; t < count; ++t)
            if (inside(t, j))
              acc[t] = multiplyAdd(k, variants[t * last().inStep + j * last().tapStep], weight(leadingTap, j, c), acc[t]);
      }
      return acc;
    }
    for (auto &[distance, users] : uses) {
      auto add = [&, &users = users, distance = distance](SmallVector<Value> values) {
        SmallVector<Value> vectors = inputs(row.pointer, (first + distance) * shape.inChannels());
        for (int64_t c = 0; c < shape.inPerGroup; ++c)
          for (auto [t, j] : users)
            values[t] = multiplyAdd(k, variant(vectors, c), weight(leadingTap, j, c), values[t]);
        return values;
      };
      SmallVector<Type> types(acc.size(), vectorType());
      acc = k.ifElse((first + distance).inRange(k.dim(last().in)), types, [&] { return add(acc); }, [&] { return acc; });
    }
    return acc;
  };
  if (!row.valid)
    return products();
  SmallVector<Type> types(in.size(), vectorType());
  return k.ifElse(row.valid, types, products, [&] { return SmallVector<Value>(in); });
}

void LaneConv::step(Ix output, int64_t count, bool checkRows, function_ref<bool(int64_t, int64_t)> inside,
                    bool checkColumns) {
  SmallVector<Value> acc(count, zero ? k.constant(vectorType(), 0) : bias[0]);
  Ix first = output * last().inStep + last().first;
  size_t leading = shape.dims.size() - 1;
  if (unrolled()) {
    for (int64_t a = 0; a < leadingTaps(); ++a) {
      SmallVector<Ix> taps(leading);
      int64_t rest = a;
      for (size_t d = leading; d-- > 0;) {
        taps[d] = k.c(rest % shape.dims[d].taps);
        rest /= shape.dims[d].taps;
      }
      acc = tapRowProducts(tapRow(taps, checkRows), k.c(a), first, count, inside, acc, checkColumns);
    }
  } else {
    acc = k.loop(k.c(0), k.c(leadingTaps()), 1, acc, [&](Ix a, ValueRange values) {
      SmallVector<Ix> taps(leading);
      Ix rest = a;
      for (size_t d = leading; d-- > 0;) {
        taps[d] = d ? rest % shape.dims[d].taps : rest;
        rest = rest / shape.dims[d].taps;
      }
      return tapRowProducts(tapRow(taps, checkRows), a, first, count, inside, values, checkColumns);
    });
  }
  if (zero) {
    for (Value &sum : acc) {
      sum = arith::FPToSIOp::create(k.b, k.loc, bias[0].getType(), sum);
      sum = arith::AddIOp::create(k.b, k.loc, sum, bias[0]);
    }
  }
  Ix firstRow = resultRow + output;
  finish.store(count, [&](Ix i) { return firstRow + i; }, column, 1, lanes, {outMask}, acc);
}

/// A row whose width is known: steps that touch a border get code of their own without the taps
/// that fall outside.
void LaneConv::knownRow(bool checkRows, int64_t in, int64_t count) {
  auto insideAt = [&](int64_t output, int64_t tap) {
    int64_t at = output * last().inStep + last().first + tap * last().tapStep;
    return at >= 0 && at < in;
  };
  auto isInterior = [&](int64_t output) {
    for (int64_t j = 0; j < last().taps; ++j)
      if (!insideAt(output, j))
        return false;
    return true;
  };
  auto special = [&](int64_t from, int64_t n) {
    step(k.c(from), n, checkRows, [&](int64_t t, int64_t j) { return insideAt(from + t, j); }, false);
  };
  auto interiorStep = [&](int64_t from) {
    for (int64_t t = 0; t < width; ++t)
      if (from + t >= count || !isInterior(from + t))
        return false;
    return true;
  };
  int64_t at = 0;
  while (at < count) {
    if (!interiorStep(at)) {
      int64_t n = std::min(width, count - at);
      special(at, n);
      at += n;
      continue;
    }
    int64_t to = at;
    while (interiorStep(to))
      to += width;
    k.loop(k.c(at), k.c(to), width, [&](Ix output) {
      step(output, width, checkRows, [](int64_t, int64_t) { return true; }, false);
    });
    at = to;
  }
}

void LaneConv::unknownRow(bool checkRows) {
  auto all = [](int64_t, int64_t) { return true; };
  Ix count = k.dim(last().count), in = k.dim(last().in);
  // Outputs [low, high) have all their taps inside.
  int64_t before = last().first < 0 ? llvm::divideCeil(-last().first, last().inStep) : 0;
  Ix low = k.c(before).min(count);
  Ix reach = in - (last().first + (last().taps - 1) * last().tapStep);
  Ix high = ((reach + (last().inStep - 1)).max(k.c(0)) / last().inStep).min(count).max(low);
  Ix steps = low + (high - low) / width * width;
  k.loop(k.c(0), low, 1, [&](Ix o) { step(o, 1, checkRows, all, true); });
  k.loop(low, steps, width, [&](Ix o) { step(o, width, checkRows, all, false); });
  k.loop(steps, high, 1, [&](Ix o) { step(o, 1, checkRows, all, false); });
  k.loop(high, count, 1, [&](Ix o) { step(o, 1, checkRows, all, true); });
}

void LaneConv::row(bool checkRows) {
  std::optional<int64_t> in = constantDim(last().in), count = constantDim(last().count);
  if (in && count)
    knownRow(checkRows, *in, *count);
  else
    unknownRow(checkRows);
}

/// Outputs per step: as many as registers hold beside the weights, in equal steps.
int64_t chooseWidth(const Target &target, const ConvShape &shape, std::optional<int64_t> count) {
  int64_t registers = target.vectorRegisters - 3;
  int64_t held = shape.inPerGroup == 1 && shape.taps() + 4 <= registers ? shape.taps() : 0;
  int64_t most = std::clamp<int64_t>(registers - held, 2, 8);
  if (!count)
    return std::min<int64_t>(most, 6);
  if (*count <= most)
    return std::max<int64_t>(1, *count);
  int64_t best = most;
  double bestCost = 1e30;
  for (int64_t w = std::max<int64_t>(2, most / 2); w <= most; ++w) {
    // Steps have a fixed part: loads that outputs share.
    double cost = double(llvm::divideCeil(*count, w)) * (w + 1.5);
    if (cost < bestCost) {
      best = w;
      bestCost = cost;
    }
  }
  return best;
}

} // namespace

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
      !(isBytes || isFastConv(op, lowering, op.getX(), op.getW(), op.getBias(), op.getChannelsLast())))
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
  nn::ConstantData data = *lowering.constant(op.getW());
  std::vector<float> centred;
  if (isBytes)
    centred = centredWeights(data, op.getWZero(), lowering);
  ArrayRef<char> weightBytes = data.bytes();
  if (isBytes)
    weightBytes = ArrayRef(reinterpret_cast<const char *>(centred.data()), centred.size() * sizeof(float));

  // Weights [channel block][taps][input channel of the group][lane].
  PanelSource source;
  source.columns = shape.outChannels();
  source.columnStride = shape.inPerGroup * shape.kernelSize;
  source.channels = shape.inPerGroup;
  source.channelStride = shape.kernelSize;
  source.tapOffsets = shape.tapIndex;
  std::vector<char> packed = packPanels(source, weightBytes, bytes, Tile{1, 1, lanes});

  Kernel k(lowering, op, "conv_lanes_" + shape.text());
  Buffer x = k.read(op.getX());
  Buffer panels = k.weights(packed, element, {int64_t(packed.size()) / bytes});
  Finish finish(k, op, op.getBias(), isBytes ? IntegerType::get(op.getContext(), 32) : element);
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
  bool hold = shape.inPerGroup == 1 && shape.taps() <= std::min<int64_t>(maxUnrolledTaps, lowering.target.vectorRegisters);
  nn::Dims leading;
  nn::Dim rowCount = lowering.c(1);
  for (const ConvDim &d : ArrayRef(shape.dims).drop_back()) {
    leading.push_back(d.count);
    rowCount = rowCount * d.count;
  }

  // Task: (image, band of rows, channel block, row). The rows of a band fit L2, since every channel
  // block reads a part of each line; the rows of a block follow each other, since they share inputs.
  PanelLoop loop;
  loop.tile = Tile{1, 1, lanes};
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
        conv.held.clear();
        if (hold) {
          SmallVector<Value> loaded;
          for (int64_t t = 0; t < shape.taps(); ++t)
            loaded.push_back(conv.weight(k.c(t / conv.last().taps), t % conv.last().taps, 0));
          conv.held = loaded;
        }
        conv.imageOffset = at.outer * k.dim(imageElements);
        return SmallVector<Value>();
      },
      [&](PanelAt &at, TileAt &t, ValueRange) {
        SmallVector<Ix> position = k.delinearize(t.row, leading);
        conv.leadingFirst.clear();
        Value interior;
        for (size_t d = 0; d < leading.size(); ++d) {
          const ConvDim &dim = shape.dims[d];
          Ix first = position[d] * dim.inStep + dim.first;
          conv.leadingFirst.push_back(first);
          if (!dim.checked)
            continue;
          Value inside = k.land(k.c(0) <= first, (first + (dim.taps - 1) * dim.tapStep) < k.dim(dim.in));
          interior = interior ? k.land(interior, inside) : inside;
        }
        conv.resultRow = (at.outer * k.dim(rowCount) + t.row) * k.dim(conv.last().out);
        if (!interior)
          conv.row(false);
        else
          k.ifThen(interior, [&] { conv.row(false); }, [&] { conv.row(true); });
      });

  k.flops = shape.flops(lowering);
  k.bytes = (lowering.numElements(op.getX()) + lowering.numElements(op.getResult())) * memoryBytes + int64_t(packed.size());
  double outputs = constantDim(conv.last().count).value_or(64);
  k.grain = taskGrain(4.0 * outputs * lanes * shape.taps() * shape.inPerGroup, outputs * lanes * bytes);
  lowering.launch(k, loop.tasks());
  return success();
}

static RegisterEmitter lanesEmitter({"nn.conv", "conv-lanes", 20, matchLanes, emitLanes});

} // namespace nnopt::cpu
