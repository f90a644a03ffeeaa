//===- ConvBuilder.cpp - the inner loops of a direct convolution -------------===//

#include "lib/codegen/cpu/contraction/ConvBuilder.h"

using namespace mlir;

namespace nnopt::cpu {

/// Input channels (per tap) below which a kernel row is read as one run.
constexpr int64_t maxRunChannels = 24;

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

void ConvBuilder::prepareBorders() {
  if (llvm::none_of(shape.dims, [](const ConvDim &d) { return d.checked; }))
    return;
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  if (runs) {
    scratch = k.scratch(k.lowering.c((tile.mr * shape.taps() * shape.inPerGroup + tile.lanes) * bytes));
  } else if (narrow) {
    zeros = narrow->zeroRow(shape.inPerGroup);
  } else {
    std::vector<char> row(shape.inPerGroup * bytes);
    zeros = k.weights(row, element, {shape.inPerGroup}).ptr;
  }
}

SmallVector<ConvBuilder::Position> ConvBuilder::positionsInRow(Ix image, Ix row, Ix column, int64_t count) {
  SmallVector<Position> result;
  for (int64_t i = 0; i < count; ++i)
    result.push_back({image * imageSize, {row * shape.dims[0].inStep + shape.dims[0].first,
                                          (column + i) * shape.dims[1].inStep + shape.dims[1].first}, Ix()});
  return result;
}

SmallVector<Value> ConvBuilder::products(const PanelAt &at, const TileAt &t, ArrayRef<Position> positions, Accumulate inner,
                                         ValueRange acc) {
  if (shape.isPlain())
    return plain(at, t, inner, acc);
  return runs ? byRuns(at, positions, inner, acc) : byTaps(at, positions, inner, acc);
}

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
  inner.rowPitch = k.c(shape.inChannels() * (element.getIntOrFloatBitWidth() / 8));
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

} // namespace nnopt::cpu
