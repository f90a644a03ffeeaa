//===- Conv.cpp - convolutions of channels-last images ----------------------===//
//
// An implicit matrix product: rows are positions of the result, the contracted dimension runs
// through taps and input channels, which are gathered while they are loaded. Depthwise: a thread
// has four channels of a position.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cuda/ConvWindow.h"
#include "lib/codegen/cuda/Epilogue.h"
#include "lib/codegen/cuda/Gemm.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

bool match(Operation *op, Lowering &l) {
  auto conv = cast<nn::ConvOp>(op);
  if (!conv.getChannelsLast() || !areFloats(l, {conv.getX(), conv.getW(), conv.getResult()}))
    return false;
  cpu::ConvShape shape(conv, l);
  return l.constant(conv.getW()) && shape.inPerGroup > 0 && shape.outPerGroup > 0 &&
         canRunEpilogue(conv.getEpilogue());
}

/// The weights as [group][tap][input channel][output channel].
Buffer packWeights(Kernel &k, nn::ConvOp op, const cpu::ConvShape &s) {
  auto data = k.lowering.constant(op.getW());
  int64_t taps = s.taps(), in = s.inPerGroup, out = s.outPerGroup;
  std::vector<float> w = data->asFloats(), packed(w.size());
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i)
        for (int64_t t = 0; t < taps; ++t)
          packed[((g * taps + t) * in + i) * out + o] = w[((g * out + o) * in + i) * taps + t];
  return k.weights(packed);
}

SmallVector<Value> loadFloats(Kernel &k, const Buffer &buf, Ix offset, int64_t lanes) {
  SmallVector<Value> values = k.loadLanes(buf, offset, lanes);
  for (Value &v : values)
    v = k.toFloat(v);
  return values;
}

LogicalResult emitGemm(Operation *op, Lowering &l) {
  auto conv = cast<nn::ConvOp>(op);
  cpu::ConvShape s(conv, l);
  nn::Dim positions = s.positions(l), depth = l.c(s.taps() * s.inPerGroup), n = l.c(s.outPerGroup);
  Tile tile = Tile::choose(positions, n, l.c(s.groups));
  Kernel k(l, op, "conv_" + s.text(), tile.threads());
  Buffer x = k.read(conv.getX()), w = packWeights(k, conv, s);
  Epilogue epilogue(k, conv);
  nn::Dim rowTiles = positions.ceilDiv(l.c(tile.rows)), columnTiles = n.ceilDiv(l.c(tile.columns));
  Ix columnTile = k.block % k.dim(columnTiles), rest = k.block / k.dim(columnTiles);
  Ix rowTile = rest % k.dim(rowTiles), group = rest / k.dim(rowTiles);
  Images images{k, s};
  Ix rows = k.dim(positions), columns = k.dim(n), limit = k.dim(depth);
  bool single = s.taps() == 1;

  TileOperand left, right;
  left.lanes = s.inPerGroup % 4 == 0 && isAligned(l, conv.getX()) ? 4 : 1;
  left.prepare = [&](Ix row) {
    // Behind the last row the last one is read, and not used.
    Window window = images.window(row.min(rows - 1));
    SmallVector<Ix> prepared = {window.image + group * s.inPerGroup};
    prepared.append(window.start.begin(), window.start.end());
    return prepared;
  };
  left.load = [&](ArrayRef<Ix> prepared, Ix d) {
    Window window{prepared[0], SmallVector<Ix, 3>(prepared.drop_front())};
    SmallVector<Ix> t = single ? SmallVector<Ix>(s.dims.size(), k.c(0))
                               : k.delinearize(d / s.inPerGroup, images.tapDims());
    auto [offset, inside] = images.tap(window, t);
    Value valid = d < limit;
    return k.ifElse(
        inside ? k.land(valid, inside) : valid, SmallVector<Type>(left.lanes, k.b.getF32Type()),
        [&, offset = offset] {
          return loadFloats(k, x, offset + (single ? d : d % s.inPerGroup), left.lanes);
        },
        [&] { return SmallVector<Value>(left.lanes, k.f32(0)); });
  };
  right.alongDepth = false;
  right.lanes = s.outPerGroup % 4 == 0 ? 4 : 1;
  right.prepare = [&](Ix column) -> SmallVector<Ix> {
    return {group * (limit * columns) + column, column};
  };
  right.load = [&](ArrayRef<Ix> prepared, Ix d) {
    return k.ifElse(
        k.land(prepared[1] < columns, d < limit), SmallVector<Type>(right.lanes, k.b.getF32Type()),
        [&] { return k.loadLanes(w, prepared[0] + d * columns, right.lanes); },
        [&] { return SmallVector<Value>(right.lanes, k.f32(0)); });
  };
  // Columns of a group may begin anywhere: then results are stored one by one.
  int64_t storeLanes = s.groups == 1 || s.outPerGroup % 4 == 0 ? epilogue.lanes() : 1;
  emitTile(k, tile, depth, left, right, rowTile * tile.rows, columnTile * tile.columns, rows,
           columns, storeLanes, [&](Ix row, Ix column, ArrayRef<Value> sums) {
             epilogue.store(row, group * s.outPerGroup + column, sums);
           });
  k.flops = s.flops(l);
  k.launch(rowTiles * columnTiles * s.groups);
  return success();
}

LogicalResult emitDepthwise(Operation *op, Lowering &l) {
  auto conv = cast<nn::ConvOp>(op);
  cpu::ConvShape s(conv, l);
  constexpr int64_t threads = 128;
  Kernel k(l, op, "depthwise_" + s.text(), threads);
  Buffer x = k.read(conv.getX());
  // [tap][channel]: a group is a channel.
  auto data = l.constant(conv.getW());
  std::vector<float> raw = data->asFloats(), packed(raw.size());
  for (int64_t c = 0; c < s.groups; ++c)
    for (int64_t t = 0; t < s.taps(); ++t)
      packed[t * s.groups + c] = raw[c * s.taps() + t];
  Buffer w = k.weights(packed);
  Epilogue epilogue(k, conv);
  int64_t lanes = s.groups % 4 == 0 && isAligned(l, conv.getX()) ? epilogue.lanes() : 1;
  nn::Dim positions = s.positions(l), total = positions * (s.groups / lanes);
  Images images{k, s};
  Ix i = k.block * threads + k.thread;
  k.ifThen(i < k.dim(total), [&] {
    Ix channel = i % (s.groups / lanes) * lanes, position = i / (s.groups / lanes);
    Window window = images.window(position);
    SmallVector<Value> sums(lanes, k.f32(0));
    auto add = [&](SmallVector<Value> sums, ArrayRef<Ix> t, Ix flat) {
      auto [offset, inside] = images.tap(window, t);
      auto sum = [&, offset = offset] {
        SmallVector<Value> xs = loadFloats(k, x, offset + channel, lanes),
                           ws = k.loadLanes(w, flat * s.groups + channel, lanes);
        SmallVector<Value> next;
        for (int64_t lane = 0; lane < lanes; ++lane)
          next.push_back(k.fma(xs[lane], ws[lane], sums[lane]));
        return next;
      };
      if (!inside)
        return sum();
      return k.ifElse(inside, SmallVector<Type>(lanes, k.b.getF32Type()), sum,
                      [&] { return sums; });
    };
    if (s.taps() <= 25)
      for (int64_t t = 0; t < s.taps(); ++t)
        sums = add(sums, k.delinearize(k.c(t), images.tapDims()), k.c(t));
    else
      sums = k.loop(k.c(0), k.c(s.taps()), 1, sums, [&](Ix t, ValueRange in) {
        return add(SmallVector<Value>(in), k.delinearize(t, images.tapDims()), t);
      });
    epilogue.store(position, channel, sums);
  });
  k.flops = s.flops(l);
  auto bytes = [&](Value v) {
    return l.numElements(v) * nn::elementBytes(l.shapes.info(v).elementType);
  };
  k.bytes = bytes(conv.getX()) + bytes(conv.getResult());
  k.launch(total.ceilDiv(l.c(threads)));
  return success();
}

bool matchDepthwise(Operation *op, Lowering &l) {
  if (!match(op, l))
    return false;
  cpu::ConvShape s(cast<nn::ConvOp>(op), l);
  return s.inPerGroup == 1 && s.outPerGroup == 1;
}

RegisterEmitter conv({"nn.conv", "cuda-conv", 10, match, emitGemm});
RegisterEmitter depthwise({"nn.conv", "cuda-depthwise", 20, matchDepthwise, emitDepthwise});

} // namespace
} // namespace nnopt::cuda
