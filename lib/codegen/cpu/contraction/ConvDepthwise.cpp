//===- ConvDepthwise.cpp - a convolution and the depthwise one that follows ---===//
//
// The first half of an inverted bottleneck (Sandler et al. 2018, MobileNetV2) and its relatives in one launch: the tensor
// between the two convolutions, mostly the largest of the block, never exists as a whole. A task is a row of the
// depthwise convolution's result in one panel of channels. The rows of the dense convolution that it reads are kept in memory
// of the thread, as many as there are taps; each row down the image computes the next ones in place of those above. Only
// where a thread begins are rows computed that another thread computes too.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Conv.h"
#include "lib/codegen/cpu/contraction/ConvBuilder.h"
#include "lib/codegen/cpu/contraction/LaneConv.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// What reads the result of `op`, if that is one depthwise convolution and nothing else.
nn::ConvOp depthwiseAfter(nn::ConvOp op) {
  Value result = op.getResult();
  if (op.getSecond() || !result.hasOneUse())
    return nullptr;
  auto user = dyn_cast<nn::ConvOp>(*result.user_begin());
  if (!user || user->getBlock() != op->getBlock() || user.getX() != result)
    return nullptr;
  int64_t channels = cast<RankedTensorType>(user.getW().getType()).getDimSize(0);
  return user.getGroup() > 1 && user.getGroup() == channels ? user : nullptr;
}

/// Whether the operands of `op` are known where `place` stands, but for those that `place` defines.
bool operandsAreKnownAt(Operation *op, Operation *place) {
  return llvm::all_of(op->getOperands(), [&](Value v) {
    Operation *def = v.getDefiningOp();
    return !def || def == place || isa<nn::ConstantOp>(def) ||
           (def->getBlock() == place->getBlock() && def->isBeforeInBlock(place));
  });
}

/// Whether the epilogue reads numbers and vectors along the channels only.
bool argumentsAreColumns(nn::ConvOp op, Lowering &lowering) {
  return llvm::all_of(op.getEpilogueArgs(), [&](Value v) {
    const nn::Dims &dims = lowering.dims(v);
    if (dims.empty())
      return true;
    bool isVector = llvm::all_of(ArrayRef(dims).drop_back(), [](nn::Dim d) { return d.isConst(1); });
    return isVector && (dims.back().isConst(1) || dims.back() == lowering.dims(op.getResult()).back());
  });
}

/// The tile of the dense convolution: of one row of its result.
Tile tileOf(nn::ConvOp op, const ConvShape &shape, Lowering &lowering) {
  int64_t bytes = lowering.shapes.info(op.getX()).elementType.getIntOrFloatBitWidth() / 8;
  TileQuery query;
  query.rows = constantDim(shape.dims[1].out);
  query.columns = shape.outPerGroup;
  query.depth = shape.taps() * shape.inPerGroup;
  query.elementBytes = bytes;
  query.maxRows = maxRowsForPitch(lowering.target, shape.inChannels() * shape.dims[1].inStep * bytes);
  Tile tile = chooseTile(lowering, op, query);
  // Panels of one width halve the code, which is long here.
  int64_t vectors = llvm::divideCeil(shape.outPerGroup, tile.lanes);
  if (tile.nv > 2 && vectors % tile.nv != 0 && vectors % (tile.nv - 1) == 0)
    --tile.nv;
  return tile;
}

bool match(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvOp>(operation);
  nn::ConvOp next = depthwiseAfter(op);
  auto isFast = [&](nn::ConvOp conv) {
    return isFastConv(conv, lowering, conv.getX(), conv.getW(), conv.getBias(), conv.getChannelsLast());
  };
  if (!next || op.getGroup() != 1 || !isFast(op) || !isFast(next) || next->hasAttr("nn.kernel"))
    return false;
  ConvShape dense(op, lowering), lanes(next, lowering);
  if (lanes.inPerGroup != 1 || lanes.dims.size() != 2)
    return false;
  for (const ConvDim &d : lanes.dims)
    if (!d.in.isConst() || !d.count.isConst() || d.count.value() <= 0 || d.tapStep != 1)
      return false;
  if (dense.taps() == 0 || lanes.taps() == 0 || lanes.dims[1].taps > maxRowTaps)
    return false;
  if (!argumentsAreColumns(op, lowering) || !operandsAreKnownAt(next, op))
    return false;
  // The rows stay in L2 beside the weights and what is read and written; sums are not taken apart.
  Tile tile = tileOf(op, dense, lowering);
  int64_t bytes = lowering.shapes.info(op.getX()).elementType.getIntOrFloatBitWidth() / 8;
  int64_t rowBytes = lanes.dims[1].in.value() * tile.nr() * bytes, depth = dense.taps() * dense.inPerGroup;
  return lanes.dims[0].taps * rowBytes <= lowering.target.l2Bytes / 2 &&
         chooseDepthBlocks(lowering.target, dense.dims[1].out.value(), depth, bytes) == 1;
}

class PairEmitter {
public:
  PairEmitter(nn::ConvOp op, nn::ConvOp next, Lowering &lowering)
      : op(op), next(next), lowering(lowering), dense(op, lowering), lanes(next, lowering),
        element(lowering.shapes.info(op.getX()).elementType), bytes(element.getIntOrFloatBitWidth() / 8),
        tile(tileOf(op, dense, lowering)), width(lanes.dims[1].in.value()), ringRows(lanes.dims[0].taps) {}

  void emit() {
    Kernel k(lowering, next, "conv_" + dense.text() + "_lanes_" + lanes.text());
    ConvBuilder builder(k, dense, element, tile, k.read(op.getX()));
    builder.prepareBorders();
    Buffer panels = packed(k, op, dense.inPerGroup, dense.kernelSize, tile);
    Tile block{1, 1, tile.lanes};
    Buffer lanePanels = packed(k, next, 1, lanes.kernelSize, block);
    Value ring = k.scratch(lowering.c(ringRows * width * tile.nr() * bytes));
    // The sums of a row of the dense convolution go to its place in the ring of their vector.
    Value rowPlace;
    Ix panelColumn;
    Finish toRing(k, op, op.getBias(), element, [&](Ix row, Ix column, Value v) {
      Ix offset = (column - panelColumn) * (ringRows * width) + row * tile.lanes;
      k.storeAt(rowPlace, offset, v, tile.lanes * bytes);
    });
    Finish finish(k, next, next.getBias(), element);
    LaneConv conv{k, lanes, element, tile.lanes, finish, k.at(ring, element)};
    conv.ringRows = ringRows;
    conv.width = chooseWidth(lowering.target, lanes, constantDim(conv.last().count));
    conv.inColumn = conv.imageOffset = k.c(0);
    conv.inMasks = {Value()};

    PanelLoop loop;
    loop.tile = Tile{1, tile.nv, tile.lanes};
    loop.rows = lanes.dims[0].count;
    loop.columns = lowering.c(dense.outPerGroup);
    loop.outer = lanes.batch;
    int64_t depth = dense.taps() * dense.inPerGroup;
    emitPanelLoop(
        k, loop,
        [&](PanelAt &at) { return SmallVector<Value>{k.ptrAdd(panels.ptr, at.column * depth, element)}; },
        [&](PanelAt &at, TileAt &t, ValueRange state) {
          panelColumn = at.column;
          const ConvDim &rows = lanes.dims[0];
          Ix first = t.row * rows.inStep + rows.first;
          // Below the first row most of what is read is there.
          Ix start = k.selectIx(t.index == 0, first, first + std::max<int64_t>(0, rows.taps - rows.inStep));
          k.loop(start.max(k.c(0)), (first + rows.taps).min(k.dim(rows.in)), 1, [&](Ix row) {
            rowPlace = k.ptrAdd(ring, row % ringRows * (width * tile.lanes), element);
            denseRow(k, builder, toRing, at, row, state[0]);
          });
          auto laneRow = [&](Ix vector, Value mask) {
            conv.column = at.column + vector * tile.lanes;
            conv.outMask = mask;
            conv.x.ptr = k.ptrAdd(ring, vector * (ringRows * width * tile.lanes), element);
            conv.weights = k.ptrAdd(lanePanels.ptr, conv.column * lanes.taps(), element);
            conv.bias = finish.bias(conv.column, 1, tile.lanes, {mask});
            conv.holdWeights();
            conv.leadingFirst = {first};
            conv.resultRow = (at.outer * k.dim(rows.count) + t.row) * k.dim(conv.last().out);
            conv.row();
          };
          int64_t whole = llvm::count(at.masks, Value());
          k.loop(k.c(0), k.c(whole), 1, [&](Ix vector) { laneRow(vector, Value()); });
          if (whole < at.nv)
            laneRow(k.c(whole), at.masks[whole]);
        });

    k.flops = dense.flops(lowering) + lanes.flops(lowering);
    k.bytes = (lowering.numElements(op.getX()) + lowering.numElements(next.getResult()) +
               (depth + lanes.taps()) * dense.outPerGroup) * bytes;
    double taskFlops = 2.0 * tile.nr() * (width * depth * lanes.dims[0].inStep + lanes.dims[1].count.value() * lanes.taps());
    k.grain = taskGrain(taskFlops, 0);
    lowering.launch(k, loop.tasks());
    lowering.absorb(next);
  }

private:
  /// Weights [panel][taps][input channel of the group][column].
  Buffer packed(Kernel &k, nn::ConvOp conv, int64_t channels, int64_t kernelSize, const Tile &panel) {
    PanelSource source;
    source.columns = dense.outPerGroup;
    source.channels = channels;
    source.columnStride = channels * kernelSize;
    source.channelStride = kernelSize;
    source.tapOffsets = llvm::to_vector(llvm::seq<int64_t>(kernelSize));
    std::vector<char> bytesOfPanels = packPanels(source, lowering.constant(conv.getW())->bytes(), bytes, panel);
    return k.weights(bytesOfPanels, element, {int64_t(bytesOfPanels.size()) / bytes});
  }

  /// One row of the dense convolution, in the columns of a panel.
  void denseRow(Kernel &k, ConvBuilder &builder, Finish &finish, const PanelAt &panel, Ix row, Value weights) {
    PanelAt at = panel;
    at.outer = at.depthBlock = k.c(0);
    auto emitTile = [&](Ix column, int64_t mr) {
      Accumulate inner;
      inner.element = element;
      inner.nv = at.nv;
      inner.lanes = tile.lanes;
      inner.panel = weights;
      Ix firstRow = (panel.outer * k.dim(dense.dims[0].out) + row) * width + column;
      SmallVector<ConvBuilder::Position> positions = builder.positionsInRow(panel.outer, row, column, mr);
      SmallVector<Value> acc = finish.start(mr, at.column, at.nv, tile.lanes, at.masks);
      acc = builder.products(at, TileAt{firstRow, mr, k.c(0)}, positions, inner, acc);
      finish.store(mr, [&](Ix i) { return column + i; }, at.column, at.nv, tile.lanes, at.masks, acc);
    };
    int64_t whole = width / tile.mr * tile.mr;
    k.loop(k.c(0), k.c(whole), tile.mr, [&](Ix column) { emitTile(column, tile.mr); });
    if (whole < width)
      emitTile(k.c(whole), width - whole);
  }

  nn::ConvOp op, next;
  Lowering &lowering;
  ConvShape dense, lanes;
  Type element;
  int64_t bytes;
  Tile tile;
  int64_t width, ringRows; // of a row of the tensor between; rows of it that are kept
};

LogicalResult emit(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvOp>(operation);
  nn::ConvOp next = depthwiseAfter(op);
  // The launch stands for both.
  next->setLoc(FusedLoc::get(op.getContext(), {op.getLoc(), next.getLoc()}));
  PairEmitter(op, next, lowering).emit();
  return success();
}

RegisterEmitter pair({"nn.conv", "conv-depthwise", 25, match, emit});

} // namespace

bool mayBePaired(nn::ConvOp op) {
  auto before = op.getX().getDefiningOp<nn::ConvOp>();
  return depthwiseAfter(op) || (before && depthwiseAfter(before) == op);
}

} // namespace nnopt::cpu
