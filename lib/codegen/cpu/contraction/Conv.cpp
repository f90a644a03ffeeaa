//===- Conv.cpp - convolution by register tiles ------------------------------===//
//
// Direct convolution of channels-last tensors. A tile is MR result positions, taken in row-major
// order over batch and space, by NR output channels. Nothing is padded or copied: where a tap of a
// position falls outside the input, its row pointer points to zeros. With few channels that choice
// costs as much as the products; there the input of one kernel row is one contiguous run, and only
// tiles at a border copy theirs, with zeros around, into memory of the thread.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Conv.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// Input channels (per tap) below which a kernel row is read as one run.
constexpr int64_t maxRunChannels = 24;

struct ConvBuilder {
  Kernel &k;
  const ConvShape &shape;
  Type element; // of the input
  Tile tile;
  Buffer x;
  NarrowProduct *narrow = nullptr; // for bytes and bf16
  Value zeros;   // inPerGroup zeros (bytes: zero points)
  Value scratch; // one border tile: [mr][kernel rows][run]
  bool runs = false;
  /// Parts of the contraction: taps of the first dimension, or of the channels where there is one tap.
  int64_t parts = 1;
  /// Elements between neighbours of each spatial dimension of the input, and between images.
  SmallVector<Ix> inStrides;
  Ix imageSize;

  ConvBuilder(Kernel &k, const ConvShape &shape, Type element, Tile tile, Buffer x)
      : k(k), shape(shape), element(element), tile(tile), x(x) {
    nn::Dim stride = k.lowering.c(shape.inChannels());
    inStrides.resize(shape.dims.size());
    for (size_t d = shape.dims.size(); d-- > 0;) {
      inStrides[d] = k.dim(stride);
      stride = stride * shape.dims[d].in;
    }
    imageSize = k.dim(stride);
  }

  /// Elements of a panel's column for `run` elements of the input.
  int64_t steps(int64_t run) const { return narrow ? NarrowProduct::steps(element, run) : run; }
  Type panelElement() const { return narrow ? narrow->panels.valueType : element; }

  /// Where one result position reads: its image and its first input position in each dimension.
  struct Position {
    Ix image;
    SmallVector<Ix, 3> first;
    Ix resultRow;
  };
  SmallVector<Position> positions(const TileAt &t, Ix outer);
  /// First channel of the input that a product reads.
  Ix firstChannel(const PanelAt &at) const { return shape.phases > 1 ? k.c(0) : at.outer * shape.inPerGroup; }

  SmallVector<Value> plain(const PanelAt &at, const TileAt &t, Accumulate inner, ValueRange acc);
  SmallVector<Value> byTaps(const PanelAt &at, ArrayRef<Position> positions, Accumulate inner, ValueRange acc);
  SmallVector<Value> byRuns(const PanelAt &at, ArrayRef<Position> positions, Accumulate inner, ValueRange acc);
  Value copyBorder(ArrayRef<Position> positions, int64_t run, int64_t rowsPerPosition);
};

SmallVector<ConvBuilder::Position> ConvBuilder::positions(const TileAt &t, Ix outer) {
  SmallVector<Ix> phase;
  for (size_t d = shape.dims.size(); d-- > 0;) {
    const ConvDim &dim = shape.dims[d];
    phase.insert(phase.begin(), shape.phases > 1 ? outer % dim.outStep : k.c(dim.outPhase));
    outer = shape.phases > 1 ? outer / dim.outStep : outer;
  }
  // The first position by division, the others by counting on.
  nn::Dims space{shape.batch};
  for (const ConvDim &d : shape.dims)
    space.push_back(d.count);
  SmallVector<Ix> at = k.delinearize(t.row, space);
  SmallVector<Position> result;
  for (int64_t i = 0; i < t.mr; ++i) {
    if (i) {
      Value carry;
      for (size_t d = space.size(); d-- > 0;) {
        Ix next = at[d] + 1;
        if (carry)
          next = k.selectIx(carry, next, at[d]);
        if (d == 0) {
          at[0] = next;
          break;
        }
        Value wraps = next == k.dim(space[d]);
        at[d] = k.selectIx(wraps, k.c(0), next);
        carry = wraps;
      }
    }
    Position p;
    p.image = at[0] * imageSize;
    Ix row = at[0];
    for (auto [d, dim] : llvm::enumerate(shape.dims)) {
      p.first.push_back(at[d + 1] * dim.inStep + dim.first);
      row = row * k.dim(dim.out) + (at[d + 1] * dim.outStep + phase[d]);
    }
    p.resultRow = row;
    result.push_back(p);
  }
  return result;
}

SmallVector<Value> ConvBuilder::plain(const PanelAt &at, const TileAt &t, Accumulate inner, ValueRange acc) {
  int64_t partChannels = shape.inPerGroup / parts;
  Ix channel = firstChannel(at) + at.depthBlock * partChannels;
  for (int64_t i = 0; i < t.mr; ++i)
    inner.rows.push_back(k.ptrAdd(x.ptr, (t.row + i) * shape.inChannels() + channel, element));
  inner.panel = k.ptrAdd(inner.panel, at.depthBlock * (partChannels * inner.nv * inner.lanes), panelElement());
  inner.depth = k.c(partChannels);
  return emitAccumulate(k, inner, acc);
}

SmallVector<Value> ConvBuilder::byTaps(const PanelAt &at, ArrayRef<Position> positions, Accumulate inner,
                                       ValueRange acc) {
  bool splitsChannels = parts > 1 && shape.taps() == 1;
  int64_t partChannels = splitsChannels ? shape.inPerGroup / parts : shape.inPerGroup;
  Ix channel = firstChannel(at);
  if (splitsChannels) {
    channel = channel + at.depthBlock * partChannels;
    inner.panel = k.ptrAdd(inner.panel, at.depthBlock * (partChannels * inner.nv * inner.lanes), panelElement());
  }
  struct RowState {
    Ix offset;
    Value valid; // null: always
  };
  inner.depth = k.c(partChannels);
  // One level per spatial dimension; what a level knows about a row is not computed again below it.
  std::function<SmallVector<Value>(size_t, ArrayRef<RowState>, Ix, ValueRange)> level =
      [&](size_t d, ArrayRef<RowState> rows, Ix tap, ValueRange in) -> SmallVector<Value> {
    if (d == shape.dims.size()) {
      Accumulate last = inner;
      Ix depthBefore = tap * steps(shape.inPerGroup);
      last.panel = k.ptrAdd(inner.panel, depthBefore * (inner.nv * inner.lanes), panelElement());
      if (inner.prefetch && !splitsChannels)
        last.prefetch = k.ptrAdd(inner.prefetch, depthBefore / (int64_t(1) << inner.prefetchShift) * inner.lanes, panelElement());
      for (const RowState &row : rows) {
        Value pointer = k.ptrAdd(x.ptr, row.offset, element);
        last.rows.push_back(row.valid ? k.select(row.valid, pointer, zeros) : pointer);
      }
      return emitAccumulate(k, last, in);
    }
    const ConvDim &dim = shape.dims[d];
    Ix size = k.dim(dim.in);
    Ix firstTap = k.c(0), lastTap = k.c(dim.taps);
    if (d == 0 && parts > 1 && !splitsChannels) {
      firstTap = at.depthBlock * (dim.taps / parts);
      lastTap = firstTap + dim.taps / parts;
    }
    return k.loop(firstTap, lastTap, 1, in, [&](Ix j, ValueRange values) {
      SmallVector<RowState> next;
      for (auto [row, position] : llvm::zip(rows, positions)) {
        Ix index = position.first[d] + j * dim.tapStep;
        RowState state{row.offset + index * inStrides[d], row.valid};
        if (dim.checked) {
          Value inside = index.inRange(size);
          state.valid = row.valid ? k.land(row.valid, inside) : inside;
        }
        next.push_back(state);
      }
      return level(d + 1, next, tap * dim.taps + j, values);
    });
  };
  SmallVector<RowState> rows;
  for (const Position &p : positions)
    rows.push_back({p.image + channel, Value()});
  return level(0, rows, k.c(0), acc);
}

/// Copies the windows of a border tile to scratch: for each position and kernel row a run of
/// elements, zero where it is outside. Returns the scratch pointer.
Value ConvBuilder::copyBorder(ArrayRef<Position> positions, int64_t run, int64_t rowsPerPosition) {
  const ConvDim &last = shape.dims.back();
  int64_t channels = shape.inChannels();
  for (size_t i = 0; i < positions.size(); ++i) {
    const Position &p = positions[i];
    // Elements of a run that are inside in the last dimension.
    Ix low = (k.c(0) - p.first.back()).max(k.c(0)) * channels;
    Ix high = (k.dim(last.in) - p.first.back()).max(k.c(0)).min(k.c(last.taps)) * channels;
    std::function<void(size_t, Ix, Value, Ix)> level = [&](size_t d, Ix offset, Value valid, Ix row) {
      if (d + 1 == shape.dims.size()) {
        Ix from = offset + p.first.back() * channels;
        Ix limit = valid ? k.selectIx(valid, high, k.c(0)) : high;
        Ix target = (row + int64_t(i) * rowsPerPosition) * run;
        for (int64_t at = 0; at < run; at += tile.lanes) {
          Value belowHigh = k.mask(limit - at, tile.lanes), belowLow = k.mask(low - at, tile.lanes);
          Value allOnes = k.constant(belowLow.getType(), -1);
          Value mask = k.land(belowHigh, arith::XOrIOp::create(k.b, k.loc, belowLow, allOnes));
          Value v = k.loadMasked(x, from + at, tile.lanes, mask);
          if (narrow)
            v = k.select(mask, v, k.splat(narrow->zeroElement(), tile.lanes));
          Buffer to = k.at(scratch, element);
          // Runs follow each other, so what is written too far is written again by the next one;
          // scratch has room for one vector more.
          k.store(to, target + at, v);
        }
        return;
      }
      const ConvDim &dim = shape.dims[d];
      k.loop(k.c(0), k.c(dim.taps), 1, [&](Ix j) {
        Ix at = p.first[d] + j * dim.tapStep;
        Value inside = at.inRange(k.dim(dim.in));
        level(d + 1, offset + at * inStrides[d], valid ? k.land(valid, inside) : inside, row * dim.taps + j);
      });
    };
    level(0, p.image, Value(), k.c(0));
  }
  return scratch;
}

SmallVector<Value> ConvBuilder::byRuns(const PanelAt &at, ArrayRef<Position> positions, Accumulate inner,
                                       ValueRange acc) {
  int64_t run = shape.dims.back().taps * shape.inChannels();
  int64_t rowsPerPosition = shape.taps() / shape.dims.back().taps;
  // Whether all windows lie inside: the smallest first position and the largest last one decide.
  Value interior;
  bool checked = false;
  for (auto [d, dim] : llvm::enumerate(shape.dims)) {
    if (!dim.checked)
      continue;
    checked = true;
    Ix low = positions[0].first[d], high = low;
    for (const Position &p : positions.drop_front()) {
      low = low.min(p.first[d]);
      high = high.max(p.first[d]);
    }
    Value inside = k.land(k.c(0) <= low, (high + (dim.taps - 1) * dim.tapStep) < k.dim(dim.in));
    interior = interior ? k.land(interior, inside) : inside;
  }
  // The same loop runs over the input itself or over the copy; only strides differ.
  SmallVector<Type> types(positions.size(), scratch ? scratch.getType() : x.ptr.getType());
  size_t leading = shape.dims.size() - 1;
  SmallVector<int64_t> copyStrides(leading);
  int64_t stride = run;
  for (size_t d = leading; d-- > 0;) {
    copyStrides[d] = stride;
    stride *= shape.dims[d].taps;
  }
  auto direct = [&] {
    SmallVector<Value> rows;
    for (const Position &p : positions) {
      Ix offset = p.image;
      for (size_t d = 0; d < shape.dims.size(); ++d)
        offset = offset + p.first[d] * inStrides[d];
      rows.push_back(k.ptrAdd(x.ptr, offset, element));
    }
    return rows;
  };
  auto copied = [&] {
    copyBorder(positions, run, rowsPerPosition);
    SmallVector<Value> rows;
    for (size_t i = 0; i < positions.size(); ++i)
      rows.push_back(k.ptrAdd(scratch, k.c(int64_t(i) * rowsPerPosition * run), element));
    return rows;
  };
  SmallVector<Value> rows = checked ? k.ifElse(interior, types, direct, copied) : direct();
  SmallVector<Ix> rowStrides;
  for (size_t d = 0; d < leading; ++d) {
    Ix inside = inStrides[d] * shape.dims[d].tapStep;
    rowStrides.push_back(checked ? k.selectIx(interior, inside, k.c(copyStrides[d])) : inside);
  }
  inner.depth = k.c(run);
  std::function<SmallVector<Value>(size_t, Ix, Ix, ValueRange)> level = [&](size_t d, Ix offset, Ix row,
                                                                           ValueRange in) -> SmallVector<Value> {
    if (d == leading) {
      Accumulate last = inner;
      last.panel = k.ptrAdd(inner.panel, row * (steps(run) * inner.nv * inner.lanes), panelElement());
      if (inner.prefetch)
        last.prefetch =
            k.ptrAdd(inner.prefetch, row * steps(run) / (int64_t(1) << inner.prefetchShift) * inner.lanes, panelElement());
      for (Value pointer : rows)
        last.rows.push_back(k.ptrAdd(pointer, offset, element));
      return emitAccumulate(k, last, in);
    }
    return k.loop(k.c(0), k.c(shape.dims[d].taps), 1, in, [&](Ix j, ValueRange values) {
      return level(d + 1, offset + j * rowStrides[d], row * shape.dims[d].taps + j, values);
    });
  };
  return level(0, k.c(0), k.c(0), acc);
}

/// Few channels and neighbouring taps: a kernel row is one run of the input.
bool readsRuns(const ConvShape &shape) {
  const ConvDim &last = shape.dims.back();
  if (shape.groups != 1 || shape.inPerGroup > maxRunChannels || shape.taps() == 0 || last.tapStep != 1)
    return false;
  // One tap and nothing outside: rows are pixels, which is simpler.
  if (shape.taps() == 1)
    return false;
  return last.taps > 1 || shape.dims.size() == 1;
}

} // namespace

/// Packs weights that are known at run time only as packPanels() packs constant ones: a launch of its own, a task for each
/// group.
static TempTensor packAtRunTime(nn::LinearOp op, Lowering &lowering, const PanelSource &source, const Tile &tile, Type element) {
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
  int64_t depth = shape.taps() / tapsPerRun * (isNarrow ? NarrowProduct::steps(element, runLength) : runLength);
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
  Tile tile = chooseTile(lowering, op, query);

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
    narrow.emplace(k, narrowOperands(cast<nn::ConvOp>(op.getOperation())), source, tapsPerRun, tile);
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
  builder.runs = runs;
  builder.parts = parts;
  bool checked = llvm::any_of(shape.dims, [](const ConvDim &d) { return d.checked; });
  if (builder.runs && checked)
    builder.scratch = k.scratch(lowering.c((tile.mr * shape.taps() * shape.inPerGroup + tile.lanes) * bytes));
  if (!builder.runs && checked && isNarrow) {
    builder.zeros = narrow->zeroRow(shape.inPerGroup);
  } else if (!builder.runs && checked) {
    std::vector<char> zeros(shape.inPerGroup * bytes);
    builder.zeros = k.weights(zeros, element, {shape.inPerGroup}).ptr;
  }

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
  bool prefetch = packedBytes >= (128 << 10);
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
        SmallVector<Value> acc = finish.startPart(at.depthBlock, parts, t.mr, rowOf, column, at.nv, tile.lanes, at.masks);
        if (narrow)
          narrow->start(acc, t.mr, column, at.nv, at.masks);
        if (plain)
          acc = builder.plain(at, t, inner, acc);
        else if (builder.runs)
          acc = builder.byRuns(at, positions, inner, acc);
        else
          acc = builder.byTaps(at, positions, inner, acc);
        if (narrow)
          narrow->finish(acc, t.mr, column, at.nv, at.masks);
        finish.storePart(at.depthBlock, parts, t.mr, rowOf, column, at.nv, tile.lanes, at.masks, acc);
      });

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

/// The same for weights of known shape that are no constant. Each run packs them.
static bool canPackAtRunTime(nn::ConvOp op, Lowering &lowering) {
  Type element = lowering.shapes.info(op.getX()).elementType;
  return op.getChannelsLast() && element.isF32() && lowering.dims(op.getX()).size() >= 3 &&
         !lowering.constant(op.getW()) && lowering.shapes.info(op.getW()).elementType == element &&
         (!op.getBias() || lowering.shapes.info(op.getBias()).elementType == element) && op.getGroup() == 1 &&
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
