//===- Conv.cpp - convolution by register tiles ------------------------------===//
//
// Direct convolution of channels-last tensors, panel by panel of weights.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Conv.h"
#include "lib/codegen/cpu/contraction/ConvBuilder.h"
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/MatrixTiles.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {

TempTensor packAtRunTime(nn::LinearOp op, Lowering &lowering, const PanelSource &source, const Tile &tile, Type element) {
  int64_t taps = source.tapOffsets.size(), depth = taps * source.channels;
  int64_t groupElements = llvm::alignTo(source.columns, tile.lanes) * depth;
  TempTensor panels = lowering.temp(element, {lowering.c(source.groups * groupElements)});
  Kernel k(lowering, op, "conv_pack_weights");
  Value weights = k.read(op.getWeight()).ptr, packed = k.write(panels).ptr;
  Value zero = arith::ConstantOp::create(k.b, k.loc, k.b.getZeroAttr(element));
  k.loop(k.begin, k.end, 1, [&](Ix group) {
    // All columns of a panel that has `width` of them, of which `valid` are there.
    auto pack = [&](Ix first, int64_t valid, int64_t width) {
      Value to = k.ptrAdd(packed, group * groupElements + first * depth, element);
      Value from = k.ptrAdd(weights, group * source.groupStride + first * source.columnStride, element);
      for (auto [t, tap] : llvm::enumerate(source.tapOffsets))
        k.loop(k.c(0), k.c(source.channels), 1, [&, t = int64_t(t), tap = tap](Ix c) {
          Ix row = (c + t * source.channels) * width;
          k.loop(k.c(0), k.c(valid), 1, [&](Ix n) {
            k.storeAt(to, row + n, k.loadAt(from, n * source.columnStride + c * source.channelStride + tap, element));
          });
          k.loop(k.c(valid), k.c(width), 1, [&](Ix n) { k.storeAt(to, row + n, zero); });
        });
    };
    int64_t nr = tile.nr(), full = source.columns / nr, rest = source.columns % nr;
    k.loop(k.c(0), k.c(full), 1, [&](Ix panel) { pack(panel * nr, nr, nr); });
    if (rest)
      pack(k.c(full * nr), rest, llvm::alignTo(rest, tile.lanes));
  });
  k.bytes = lowering.c(2 * source.groups * groupElements * int64_t(element.getIntOrFloatBitWidth() / 8));
  lowering.launch(k, lowering.c(source.groups));
  return panels;
}

LogicalResult emitTiledConv(nn::LinearOp op, Lowering &lowering, const ConvShape &shape, int64_t groupStride,
                            int64_t columnStride, int64_t channelStride, StringRef name) {
  Type element = lowering.shapes.info(op.getActivation()).elementType;
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  std::optional<nn::ConstantData> weights = lowering.constant(op.getWeight());

  nn::Dim rows = shape.positions(lowering);
  // Bytes and bf16: four or two of a run (the channels of a tap, or of a row of taps) are one 32-bit element of a panel.
  bool isNarrow = element.isInteger(8) || element.isBF16(), runs = readsRuns(shape);
  if (isNarrow)
    element = IntegerType::get(op->getContext(), 8 * bytes);
  int64_t tapsPerRun = runs ? shape.dims.back().taps : 1;
  int64_t runLength = tapsPerRun * shape.inPerGroup;
  bool usesTiles = isNarrow && MatrixTiles::suits(lowering, narrowOperands(cast<nn::ConvOp>(op.getOperation())),
                                                  constantDim(rows), shape.outPerGroup, runLength);
  NarrowProduct::Unit unit = usesTiles ? NarrowProduct::Unit::Tiles : NarrowProduct::Unit::Vectors;
  int64_t depth = shape.taps() / tapsPerRun * (isNarrow ? NarrowProduct::steps(element, runLength, unit) : runLength);
  TileQuery query;
  query.rows = constantDim(rows);
  query.columns = shape.outPerGroup;
  query.depth = depth;
  query.elementBytes = isNarrow ? 4 : bytes;
  query.mayHalve = !isNarrow;
  query.maxRows = maxRowsForPitch(lowering.target, shape.inChannels() * shape.dims.back().inStep * bytes);
  Type resultType = lowering.shapes.info(op->getResult(0)).elementType;
  int64_t parts = 1;
  if (resultType == element && !runs && !isNarrow) {
    parts = chooseDepthBlocks(lowering.target, query.rows, depth, bytes);
    if (shape.taps() > 1)
      parts = parts > 1 && shape.dims.size() > 1 ? shape.dims[0].taps : 1;
    while (shape.taps() == 1 && parts > 1 && shape.inPerGroup % parts != 0)
      --parts;
  }
  if (parts > 1)
    query.depth = depth / parts;
  Tile tile = usesTiles ? MatrixTiles::resultTile(query.rows, shape.outPerGroup, shape.isPlain()) : chooseTile(lowering, op, query);

  PanelSource source;
  source.groups = shape.groups * shape.phases;
  source.columns = shape.outPerGroup;
  source.channels = shape.inPerGroup;
  source.groupStride = groupStride;
  source.columnStride = columnStride;
  source.channelStride = channelStride;
  source.tapOffsets = shape.tapIndex;
  TempTensor packedAtRunTime;
  if (!weights)
    packedAtRunTime = packAtRunTime(op, lowering, source, tile, element);

  Kernel k(lowering, op, name.str() + "_" + shape.text());
  Buffer x = k.read(op.getActivation());
  ConvBuilder builder(k, shape, element, tile, isNarrow ? asBits(k, x) : x);
  std::optional<NarrowProduct> narrow;
  Buffer panels;
  int64_t packedBytes;
  if (isNarrow) {
    narrow.emplace(k, narrowOperands(cast<nn::ConvOp>(op.getOperation())), source, tapsPerRun, tile, unit);
    builder.narrow = &*narrow;
    panels = narrow->panels;
    packedBytes = narrow->packedBytes;
  } else if (!weights) {
    packedBytes = packedAtRunTime.dims[0].value() * bytes;
    panels = k.read(packedAtRunTime);
  } else {
    std::vector<char> packed = packPanels(source, weights->bytes(), bytes, tile);
    if (packed.empty())
      packed.resize(64);
    packedBytes = packed.size();
    panels = k.weights(packed, element, {packedBytes / bytes});
  }
  Type panelElement = builder.panelElement();
  Finish finish(k, op, op.getBias(), narrow ? narrow->accumulator() : panelElement);

  if (parts == 1)
    finish.allowInPlace();
  bool plain = shape.isPlain();
  builder.parts = parts;
  builder.prepareBorders();

  PanelLoop loop;
  loop.tile = tile;
  loop.rows = rows;
  loop.columns = lowering.c(shape.outPerGroup);
  loop.outer = lowering.c(shape.groups * shape.phases);
  loop.sharedRows = shape.phases > 1;
  loop.packedDepth = depth;
  loop.depthBlocks = parts;
  int64_t rowBytes = shape.inPerGroup * bytes / (shape.taps() == 1 ? parts : 1);
  for (const ConvDim &d : shape.dims)
    rowBytes *= std::min(d.inStep, d.taps > 0 ? d.taps * std::abs(d.tapStep) : 1);
  loop.blockTiles =
      chooseBlockTiles(lowering.target, tile, constantDim(rows), rowBytes,
                       shape.phases * llvm::divideCeil(shape.outPerGroup, tile.nr()));
  int64_t groupPanelElements = llvm::alignTo(shape.outPerGroup, tile.lanes) * depth;
  std::optional<MatrixTiles> tiles;
  if (usesTiles)
    tiles.emplace(k, *narrow, op.getActivation(), tile, runLength);
  bool prefetch = !usesTiles && packedBytes >= (128 << 10);
  int64_t prefetchShift = choosePrefetchShift(tile, query.rows);
  // Where every result position is visited in order, a tile's rows follow each other.
  bool dense = llvm::all_of(shape.dims, [](const ConvDim &d) { return d.outStep == 1; });

  emitPanelLoop(
      k, loop,
      [&](PanelAt &at) {
        Ix offset = at.outer * groupPanelElements + at.column * depth;
        return SmallVector<Value>{k.ptrAdd(panels.ptr, offset, panelElement)};
      },
      [&](PanelAt &at, TileAt &t, ValueRange state) {
        Accumulate inner;
        inner.element = element;
        inner.nv = at.nv;
        inner.lanes = tile.lanes;
        inner.panel = state[0];
        if (narrow)
          narrow->configure(inner);
        if (prefetch && !at.tail && t.mr == tile.mr) {
          int64_t next = depth * tile.nr();
          // With several parts the taps (or channels) of this part are ahead in the next panel.
          Ix part = at.depthBlock * (depth / parts * tile.nr());
          if (shape.taps() > 1)
            part = at.depthBlock * (depth / parts * tile.nr() - depth / parts * tile.lanes / (int64_t(1) << prefetchShift));
          Value ahead = k.ptrAdd(inner.panel, t.index * (depth / parts >> prefetchShift) * tile.lanes + next + part, panelElement);
          inner.prefetch = k.select(t.index < (tile.nv << prefetchShift), ahead, inner.panel);
          inner.prefetchShift = prefetchShift;
        }
        Ix column = shape.phases > 1 ? at.column : at.outer * shape.outPerGroup + at.column;
        SmallVector<ConvBuilder::Position> positions;
        if (!plain || !dense)
          positions = builder.positions(t, at.outer);
        auto rowOf = [&](Ix i) -> Ix {
          if (dense)
            return t.row + i;
          if (std::optional<int64_t> known = i.constant())
            return positions[*known].resultRow;
          // A loop over rows (long epilogues): from the coordinates again.
          TileAt one{t.row + i, 1, t.index};
          return builder.positions(one, at.outer)[0].resultRow;
        };
        if (tiles) {
          inner.tiles = &*tiles;
          tiles->begin(t.mr);
          builder.products(at, t, positions, inner, {});
          return tiles->end(finish, *narrow, t.mr, rowOf, at, column);
        }
        SmallVector<Value> acc = finish.startPart(at.depthBlock, parts, t.mr, rowOf, column, at.nv, tile.lanes, at.masks);
        if (narrow)
          narrow->start(acc, t.mr, column, at.nv, at.masks);
        acc = builder.products(at, t, positions, inner, acc);
        if (narrow)
          narrow->finish(acc, t.mr, column, at.nv, at.masks);
        finish.storePart(at.depthBlock, parts, t.mr, rowOf, column, at.nv, tile.lanes, at.masks, acc);
      });
  if (tiles)
    tiles->release();

  k.flops = shape.flops(lowering);
  k.bytes = lowering.numElements(op.getActivation()) * bytes + lowering.numElements(op->getResult(0)) * bytes + packedBytes;
  k.grain = taskGrain(2.0 * tile.mr * tile.nr() * depth, double(bytes) * tile.mr * (tile.nr() + shape.inPerGroup) / 4);
  lowering.launch(k, loop.tasks());
  return success();
}

//===----------------------------------------------------------------------===//
// nn.conv
//===----------------------------------------------------------------------===//

bool isFastConv(Operation *op, Lowering &lowering, Value x, Value w, Value bias, bool channelsLast) {
  Type element = lowering.shapes.info(x).elementType;
  if (!channelsLast || !(element.isF32() || element.isF64()) || lowering.dims(x).size() < 3)
    return false;
  if (bias && lowering.shapes.info(bias).elementType != element)
    return false;
  return lowering.shapes.info(w).elementType == element && lowering.constant(w).has_value();
}

bool canPackAtRunTime(nn::ConvOp op, Lowering &lowering) {
  Type element = lowering.shapes.info(op.getX()).elementType;
  return op.getChannelsLast() && element.isF32() && lowering.dims(op.getX()).size() >= 3 &&
         !lowering.constant(op.getW()) && lowering.shapes.info(op.getW()).elementType == element &&
         (!op.getBias() || lowering.shapes.info(op.getBias()).elementType == element) &&
         llvm::all_of(lowering.dims(op.getW()), [](nn::Dim d) { return d.isConst(); }) &&
         ConvShape(op, lowering).taps() <= 64;
}

static bool matchConv(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvOp>(operation);
  // Few columns would leave most lanes of a tile empty.
  bool isWide = ConvShape(op, lowering).outPerGroup >= 4;
  if (op.getChannelsLast() && lowering.dims(op.getX()).size() >= 3 && isWide &&
      NarrowProduct::matches(lowering, narrowOperands(op), op.getBias(), op.getResult(), op.getEpilogue()))
    return true;
  return isFastConv(op, lowering, op.getX(), op.getW(), op.getBias(), op.getChannelsLast()) ||
         canPackAtRunTime(op, lowering);
}

static LogicalResult emitConv(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvOp>(operation);
  ConvShape shape(op, lowering);
  // Weights are [group][out][in][kernel].
  int64_t column = shape.inPerGroup * shape.kernelSize;
  return emitTiledConv(op, lowering, shape, column * shape.outPerGroup, column, shape.kernelSize, "conv");
}

static RegisterEmitter conv({"nn.conv", "conv-tiled", 10, matchConv, emitConv});

} // namespace nnopt::cpu
