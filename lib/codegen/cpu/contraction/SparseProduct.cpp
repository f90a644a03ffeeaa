//===- SparseProduct.cpp - contractions that skip zero weights --------------===//

#include "lib/codegen/cpu/contraction/SparseProduct.h"
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/memory/TransposeTile.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

struct Builder {
  Kernel &k;
  const SparseRows &in;
  const SparseSource &source;
  const SparsePlan &plan;
  Finish &finish;
  Buffer x, starts, values, gaps;
  std::optional<Buffer> startTerm;
  bool bytes = false, hasBias = false;
  Type element; // of the transposed rows: f32, or i32 of four bytes
  Value rows, sums, pointers, parked,
      zeroRow;                   // memory of the thread, and what lies outside of an image
  SmallVector<Value> firsts;     // of windows: first position in each dimension of each row of a block
  SmallVector<int64_t> versions; // numbers of vectors that blocks have

  struct Part {
    Ix firstTap, lastTap, firstStep, lastStep, index;
  };

  VectorType vector() { return k.vec(plan.lanes, element); }
  Type rowElement() { return bytes ? Type(k.b.getI8Type()) : element; }
  Value pointerAt(Ix row) { return k.loadAt(pointers, row, pointers.getType(), 8); }
  Part part(Ix index) {
    int64_t ranges = plan.rangesOfTap();
    Ix tap = index / ranges * plan.partTaps, step = index % ranges * plan.partSteps;
    return {tap, (tap + plan.partTaps).min(k.c(plan.taps)), step, (step + plan.partSteps).min(k.c(plan.steps)), index};
  }

  void locateWindows(Ix firstRow, Ix vectors);
  void locateTap(Ix tap, Ix firstRow, Ix vectors);
  Value transposeRows(const Part &part, Ix firstRow, Ix vectors);
  SmallVector<Value> addColumn(Ix first, Ix last, SmallVector<Value> acc, int64_t vectors);
  SmallVector<Value> addColumnWithZeros(Ix first, Ix last, SmallVector<Value> acc, int64_t vectors, Ix steps);
  SmallVector<Value> addEntry(Ix entry, Ix offset, ValueRange acc);
  void addPanel(const Part &part, Ix panel, Ix slot, Ix vectors, Value allFinite);
  void storePanels(Ix firstPanel, Ix count, Ix firstRow, Ix vectors);
  void block(Ix firstRow, Ix vectors, Ix firstPanel, Ix lastPanel);
};

//===----------------------------------------------------------------------===//
// Rows into lanes
//===----------------------------------------------------------------------===//

/// Where the windows of a block begin, in each dimension; and, in `pointers`, where tap 0 lies if
/// it is inside.
void Builder::locateWindows(Ix firstRow, Ix vectors) {
  const ConvShape &shape = *in.windows;
  nn::Dims space{shape.batch};
  for (const ConvDim &d : shape.dims)
    space.push_back(d.count);
  SmallVector<nn::Dim> sizes;
  for (const ConvDim &d : shape.dims)
    sizes.push_back(d.in);
  sizes.push_back(k.lowering.c(shape.inChannels()));
  SmallVector<Ix> strides = k.strides(sizes);
  Ix image = k.dim(nn::product(k.lowering.dimContext(), sizes)), last = k.dim(in.rows) - 1;
  k.loop(k.c(0), vectors * plan.lanes, 1, [&](Ix i) {
    SmallVector<Ix> at = k.delinearize((firstRow + i).min(last), space);
    Ix offset = at[0] * image;
    for (auto [d, dim] : llvm::enumerate(shape.dims)) {
      Ix first = at[d + 1] * dim.inStep + dim.first;
      offset = offset + first * strides[d];
      if (dim.checked)
        k.storeAt(firsts[d], i, first);
    }
    k.storeAt(pointers, i, k.ptrAdd(x.ptr, offset, rowElement()), 8);
  });
}

/// Where the rows of a block lie for one tap.
void Builder::locateTap(Ix tap, Ix firstRow, Ix vectors) {
  const ConvShape &shape = *in.windows;
  Value now = k.ptrAdd(pointers, k.c(plan.vectors * plan.lanes), k.b.getI64Type());
  SmallVector<nn::Dim> counts, sizes;
  for (const ConvDim &d : shape.dims) {
    counts.push_back(k.lowering.c(d.taps));
    sizes.push_back(d.in);
  }
  sizes.push_back(k.lowering.c(shape.inChannels()));
  SmallVector<Ix> at = k.delinearize(tap, counts), strides = k.strides(sizes);
  Ix offset = k.c(0);
  for (auto [d, dim] : llvm::enumerate(shape.dims)) {
    at[d] = at[d] * dim.tapStep;
    offset = offset + at[d] * strides[d];
  }
  k.loop(k.c(0), vectors * plan.lanes, 1, [&](Ix i) {
    Value pointer = k.ptrAdd(pointerAt(i), offset, rowElement()), inside;
    for (auto [d, dim] : llvm::enumerate(shape.dims)) {
      if (!dim.checked)
        continue;
      Value here = (Ix(&k, k.loadAt(firsts[d], i, k.b.getI64Type())) + at[d]).inRange(k.dim(dim.in));
      inside = inside ? k.land(inside, here) : here;
    }
    k.storeAt(now, i, inside ? k.select(inside, pointer, zeroRow) : pointer, 8);
  });
}

/// Transposes a part of a block of rows into `rows`. Returns whether all of it is finite (null:
/// nobody asks).
Value Builder::transposeRows(const Part &p, Ix firstRow, Ix vectors) {
  int64_t lanes = plan.lanes, rest = plan.steps % lanes;
  Ix width = vectors * lanes, last = k.dim(in.rows) - 1;
  bool windows = in.windows;
  Value zero = k.constant(vector(), 0);
  auto load = [&](Value row, Ix step, Value mask) {
    Value at = k.ptrAdd(row, step * source.perStep, rowElement());
    Value v =
        mask ? k.loadMasked(k.at(at, element), k.c(0), lanes, mask) : k.loadAt(at, k.c(0), vector(), bytes ? 1 : 4);
    if (in.signedBytes)
      v = arith::XOrIOp::create(k.b, k.loc, v, k.splat(byteMask(k, 4, 0x80), lanes));
    return v;
  };
  // The sum of 0 x each element is 0 where all are finite, else NaN.
  auto tile = [&](ArrayRef<Value> pointers, Ix step, Ix to, int64_t count, Value sum) {
    SmallVector<Value> v;
    Value mask = count < lanes ? k.mask(k.c(count), lanes) : Value();
    for (Value pointer : pointers)
      v.push_back(load(pointer, step, mask));
    v = transposeVectors(k, v);
    for (int64_t i = 0; i < count; ++i) {
      k.storeAt(rows, to + width * i, v[i], lanes * 4);
      if (!bytes)
        sum = multiplyAdd(k, v[i], zero, sum);
    }
    return SmallVector<Value>{sum};
  };
  SmallVector<Value> sum = k.loop(p.firstTap, p.lastTap, 1, {zero}, [&](Ix tap, ValueRange tapSum) {
    if (windows)
      locateTap(tap, firstRow, vectors);
    Ix base = (tap - p.firstTap) * plan.partSteps;
    return k.loop(k.c(0), vectors, 1, tapSum, [&](Ix group, ValueRange groupSum) {
      SmallVector<Value> from;
      for (int64_t i = 0; i < lanes; ++i) {
        if (windows)
          from.push_back(pointerAt(group * lanes + (i + plan.vectors * lanes)));
        else
          from.push_back(
              k.ptrAdd(x.ptr, (firstRow + group * lanes + i).min(last) * (plan.steps * source.perStep), rowElement()));
      }
      Ix to = base * width + group * lanes;
      auto whole = [&](Ix step, ValueRange s) {
        return tile(from, step, to + (step - p.firstStep) * width, lanes, s[0]);
      };
      SmallVector<Value> s = k.loop(p.firstStep, p.lastStep.min(k.c(plan.steps - rest)), lanes, groupSum, whole);
      if (rest) {
        auto end = [&] {
          return tile(from, k.c(plan.steps - rest), to + (k.c(plan.steps - rest) - p.firstStep) * width, rest, s[0]);
        };
        s = k.ifElse(p.lastStep == plan.steps, {vector()}, end, [&] { return s; });
      }
      return s;
    });
  });
  if (bytes)
    return {};
  Value finite = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::ORD, sum[0], sum[0]);
  return vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::AND, finite);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

SmallVector<Value> Builder::addEntry(Ix entry, Ix offset, ValueRange acc) {
  Value w = k.splat(k.loadAt(values.ptr, entry, element), plan.lanes);
  SmallVector<Value> next;
  for (auto [j, a] : llvm::enumerate(acc)) {
    Value v = k.loadAt(rows, offset + int64_t(j) * plan.lanes, vector(), plan.lanes * 4);
    next.push_back(bytes ? addByteProducts(k, a, v, w) : multiplyAdd(k, w, v, a));
  }
  return next;
}

SmallVector<Value> Builder::addColumn(Ix first, Ix last, SmallVector<Value> acc, int64_t vectors) {
  acc.push_back(k.c(0));
  SmallVector<Value> result = k.loop(first, last, 1, acc, [&](Ix entry, ValueRange in) {
    Ix gap = k.toIndex(k.loadAt(gaps.ptr, entry, k.b.getI8Type()), /*isUnsigned=*/true);
    Ix offset = Ix(&k, in.back()) + gap * (vectors * plan.lanes);
    SmallVector<Value> next = addEntry(entry, offset, in.drop_back());
    next.push_back(offset);
    return next;
  });
  result.pop_back();
  return result;
}

/// The same with the products of zeros.
SmallVector<Value> Builder::addColumnWithZeros(Ix first, Ix last, SmallVector<Value> acc, int64_t vectors, Ix steps) {
  int64_t width = vectors * plan.lanes;
  Value zero = k.constant(vector(), 0);
  auto addZeros = [&](Ix from, Ix to, ValueRange values) {
    return k.loop(from, to, 1, values, [&](Ix step, ValueRange in) {
      SmallVector<Value> next;
      for (auto [j, a] : llvm::enumerate(in))
        next.push_back(
            multiplyAdd(k, zero, k.loadAt(rows, step * width + int64_t(j) * plan.lanes, vector(), plan.lanes * 4), a));
      return next;
    });
  };
  // The step of the entry before, and the first one that was not multiplied yet.
  acc.append({k.c(0), k.c(0)});
  SmallVector<Value> result = k.loop(first, last, 1, acc, [&](Ix entry, ValueRange in) {
    Ix before(&k, in[vectors]), next(&k, in[vectors + 1]);
    Ix step = before + k.toIndex(k.loadAt(gaps.ptr, entry, k.b.getI8Type()), /*isUnsigned=*/true);
    SmallVector<Value> values = addEntry(entry, step * width, addZeros(next, step, in.drop_back(2)));
    values.append({step, step + 1});
    return values;
  });
  Ix next(&k, result.back());
  result.truncate(vectors);
  return addZeros(next, steps, result);
}

/// Adds a part to the sums of a panel, which are at `slot`.
void Builder::addPanel(const Part &p, Ix panel, Ix slot, Ix vectors, Value allFinite) {
  Ix firstColumn = panel * plan.lanes, count = (k.c(plan.columns) - firstColumn).min(k.c(plan.lanes));
  auto columns = [&](int64_t version, bool withZeros) {
    k.loop(k.c(0), count, 1, [&](Ix column) {
      Ix at = p.index * plan.columns + firstColumn + column;
      Ix first = k.toIndex(k.loadAt(starts.ptr, at, k.b.getI32Type()), true);
      Ix last = k.toIndex(k.loadAt(starts.ptr, at + 1, k.b.getI32Type()), true);
      Value to = k.ptrAdd(sums, (slot * plan.lanes + column) * (version * plan.lanes), element);
      auto zeros = [&] { return SmallVector<Value>(version, k.constant(vector(), 0)); };
      auto sumsBefore = [&] {
        SmallVector<Value> acc;
        for (int64_t j = 0; j < version; ++j)
          acc.push_back(k.loadAt(to, k.c(j * plan.lanes), vector(), plan.lanes * 4));
        return acc;
      };
      SmallVector<Value> acc = k.ifElse(p.index == 0, SmallVector<Type>(version, vector()), zeros, sumsBefore);
      Ix steps = p.lastStep - p.firstStep + (p.lastTap - p.firstTap - 1) * plan.partSteps;
      acc = withZeros ? addColumnWithZeros(first, last, acc, version, steps) : addColumn(first, last, acc, version);
      for (int64_t j = 0; j < version; ++j)
        k.storeAt(to, k.c(j * plan.lanes), acc[j], plan.lanes * 4);
    });
  };
  auto choose = [&](bool withZeros) {
    std::function<void(size_t)> from = [&](size_t i) {
      if (i + 1 == versions.size())
        return columns(versions[i], withZeros);
      k.ifThen(
          vectors == versions[i], [&] { columns(versions[i], withZeros); }, [&] { from(i + 1); });
    };
    from(0);
  };
  if (!allFinite)
    return choose(false);
  k.ifThen(
      allFinite, [&] { choose(false); }, [&] { choose(true); });
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// Finishes `count` panels from `firstPanel`. Rows outside, panels inside: what a row has of the
/// panels is written together.
void Builder::storePanels(Ix firstPanel, Ix count, Ix firstRow, Ix vectors) {
  int64_t lanes = plan.lanes, rest = plan.columns % lanes;
  Ix total = k.dim(in.rows);
  auto tile = [&](Ix slot, Ix group, Value mask) {
    Ix column = (firstPanel + slot) * lanes, row = firstRow + group * lanes;
    SmallVector<Value> v, start;
    if (hasBias)
      start.push_back(finish.bias(column, 1, lanes, {mask})[0]);
    if (startTerm)
      start.push_back(mask ? k.loadMasked(*startTerm, column, lanes, mask) : k.load(*startTerm, column, lanes));
    for (int64_t c = 0; c < lanes; ++c)
      v.push_back(k.loadAt(sums, (slot * lanes + c) * (vectors * lanes) + group * lanes, vector(), lanes * 4));
    v = transposeVectors(k, v);
    for (Value term : start)
      for (Value &value : v)
        value = bytes ? arith::AddIOp::create(k.b, k.loc, value, term).getResult()
                      : arith::AddFOp::create(k.b, k.loc, value, term).getResult();
    auto all = [&] {
      finish.store(
          lanes, [&](Ix i) { return row + i; }, column, 1, lanes, {mask}, v);
    };
    auto some = [&] {
      for (int64_t i = 0; i < lanes; ++i)
        k.storeAt(parked, k.c(i * lanes), v[i], lanes * 4);
      k.loop(k.c(0), total - row, 1, [&](Ix i) {
        finish.storeOne(row + i, column, lanes, mask, k.loadAt(parked, i * lanes, vector(), lanes * 4));
      });
    };
    k.ifThen((row + lanes) <= total, all, some);
  };
  k.loop(k.c(0), vectors, 1, [&](Ix group) {
    k.loop(k.c(0), count, 1, [&](Ix slot) {
      if (rest == 0)
        return tile(slot, group, Value());
      auto tail = [&] { tile(slot, group, k.mask(k.c(rest), lanes)); };
      if (plan.panels() == 1)
        return tail();
      k.ifThen((firstPanel + slot) < k.c(plan.panels() - 1), [&] { tile(slot, group, Value()); }, tail);
    });
  });
}

/// The panels [firstPanel, lastPanel) of a block of rows.
void Builder::block(Ix firstRow, Ix vectors, Ix firstPanel, Ix lastPanel) {
  if (in.windows)
    locateWindows(firstRow, vectors);
  int64_t parts = plan.parts();
  // Sums of one part are stored as soon as a few panels have theirs; others wait for the last part.
  k.loop(k.c(0), k.c(parts), 1, [&](Ix index) {
    Part p = part(index);
    Value allFinite = transposeRows(p, firstRow, vectors);
    auto group = [&](Ix first, Ix last) {
      k.loop(first, last, 1, [&](Ix panel) { addPanel(p, panel, panel - first, vectors, allFinite); });
      k.ifThen(index == parts - 1, [&] { storePanels(first, last - first, firstRow, vectors); });
    };
    if (parts > 1)
      return group(firstPanel, lastPanel);
    k.loop(firstPanel, lastPanel, plan.groupPanels,
           [&](Ix first) { group(first, (first + plan.groupPanels).min(lastPanel)); });
  });
}

} // namespace

LogicalResult emitSparseProduct(nn::LinearOp op, Lowering &lowering, const SparseRows &in, const SparseSource &source,
                                const SparsePlan &plan, StringRef name) {
  SparseStreams streams = encodeSparse(source, plan);
  Kernel k(lowering, op, name.str() + "_sparse");
  bool bytes = source.perStep > 1;
  Type i32 = k.b.getI32Type(), f32 = k.b.getF32Type(), element = bytes ? i32 : f32;
  int64_t lanes = plan.lanes, width = plan.vectors * lanes;

  Buffer x = k.read(in.x);
  if (bytes)
    x = k.at(x.ptr, k.b.getI8Type());
  auto constants = [&](auto &list, Type type) {
    int64_t size = list.size();
    list.resize(std::max<size_t>(size, 64 / sizeof(list[0])));
    return k.weights(ArrayRef(reinterpret_cast<const char *>(list.data()), list.size() * sizeof(list[0])), type,
                     {size});
  };
  int64_t streamBytes = streams.starts.size() * 4 + streams.values.size() * 4 + streams.gaps.size();
  int64_t entries = streams.values.size();
  Buffer starts = constants(streams.starts, i32), values = constants(streams.values, element);
  Buffer gaps = constants(streams.gaps, k.b.getI8Type());
  Finish finish(k, op, op.getBias(), element);
  finish.allowInPlace();
  Builder b{k,       in, source, plan, finish, x,  starts, values, gaps, {}, bytes, bool(op.getBias()),
            element, {}, {},     {},   {},     {}, {},     {}};
  if (bytes) {
    // sum (x - zero) w of rows that moved by 128: minus the moved zero times the sum of the column.
    int64_t zero = in.zero + (in.signedBytes ? 128 : 0);
    for (int32_t &sum : streams.sums)
      sum = int32_t(uint32_t(sum) * uint32_t(-zero));
    if (llvm::any_of(streams.sums, [](int32_t v) { return v != 0; }))
      b.startTerm = constants(streams.sums, i32);
  }

  // Memory of a thread.
  int64_t slots = std::min(plan.panels(), plan.groupPanels);
  int64_t rowsBytes = plan.partElements() * 4, sumsBytes = slots * lanes * width * 4, tableBytes = width * 8;
  int64_t tables = in.windows ? 2 + int64_t(in.windows->dims.size()) : 0;
  Value memory = k.scratch(lowering.c(rowsBytes + sumsBytes + lanes * lanes * 4 + tables * tableBytes));
  auto carve = [&](int64_t size) {
    Value here = memory;
    memory = k.ptrAdd(memory, k.c(size), k.b.getI8Type());
    return here;
  };
  b.rows = carve(rowsBytes);
  b.sums = carve(sumsBytes);
  b.parked = carve(lanes * lanes * 4);
  if (in.windows) {
    b.pointers = carve(2 * tableBytes);
    for (size_t d = 0; d < in.windows->dims.size(); ++d)
      b.firsts.push_back(carve(tableBytes));
    if (llvm::any_of(in.windows->dims, [](const ConvDim &d) { return d.checked; })) {
      std::vector<char> outside(plan.steps * 4, bytes ? char(in.zero) : 0);
      b.zeroRow = k.weights(outside, k.b.getI8Type(), {int64_t(outside.size())}).ptr;
    }
  }

  // Blocks of `vectors` vectors; the last one may have fewer.
  std::optional<int64_t> known = constantDim(in.rows);
  int64_t lastVectors = known ? llvm::divideCeil(*known % width, lanes) : 0;
  if (!known || *known >= width)
    b.versions.push_back(plan.vectors);
  if (known && lastVectors)
    b.versions.push_back(lastVectors);
  for (int64_t piece = llvm::bit_floor(uint64_t(plan.vectors - 1)); !known && piece >= 1; piece /= 2)
    b.versions.push_back(piece);
  auto vectorsFrom = [&](Ix firstRow) {
    if (b.versions.size() == 1)
      return k.c(b.versions[0]);
    Ix left = (k.dim(in.rows) - firstRow + (lanes - 1)) / lanes, vectors = k.c(b.versions[0]);
    for (int64_t version : ArrayRef(b.versions).drop_front())
      vectors = k.selectIx(left <= k.c(version), k.c(version), vectors);
    return vectors;
  };

  nn::Dim blocks = in.rows.ceilDiv(width);
  int64_t panels = plan.panels();
  std::optional<Buffer> balanced;
  for (int64_t i = 0; i <= panels && !balanced; ++i)
    if (streams.balanced[i] != i)
      balanced = constants(streams.balanced, i32);
  auto panelAt = [&](Ix share) { return balanced ? k.toIndex(k.loadAt(balanced->ptr, share, i32), true) : share; };
  k.loop(k.begin / panels, (k.end - 1).max(k.begin) / panels + 1, 1, [&](Ix at) {
    Ix low = (k.begin - at * panels).max(k.c(0)), high = (k.end - at * panels).min(k.c(panels));
    Ix firstRow = at * width, vectors = vectorsFrom(firstRow), first = panelAt(low), last = panelAt(high);
    if (plan.parts() == 1 || plan.panels() <= plan.groupPanels)
      return b.block(firstRow, vectors, first, last);
    k.loop(first, last, plan.groupPanels,
           [&](Ix panel) { b.block(firstRow, vectors, panel, (panel + plan.groupPanels).min(last)); });
  });

  k.flops = in.rows * (2 * entries * source.perStep);
  nn::Dim sizes = lowering.numElements(in.x) + lowering.numElements(op->getResult(0));
  k.bytes = sizes * (bytes ? 1 : 4) + streamBytes;
  k.grain = taskGrain(2.0 * 2 * entries / panels * width, 0);
  lowering.launch(k, blocks * panels);
  return success();
}

} // namespace nnopt::cpu
