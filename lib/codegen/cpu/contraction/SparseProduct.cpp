//===- SparseProduct.cpp - contractions that skip zero weights --------------===//

#include "lib/codegen/cpu/contraction/SparseProduct.h"
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/memory/TransposeTile.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

struct Builder {
  using Part = TransposedRows::Part;

  Kernel &k;
  const SparseRows &in;
  const SparsePlan &plan;
  Finish &finish;
  TransposedRows &transposed;
  Buffer starts, values, gaps;
  std::optional<Buffer> startTerm;
  bool bytes = false, hasBias = false;
  Type element;                  // of the transposed rows: f32, or i32 of four bytes
  Value sums, parked;            // memory of the thread
  SmallVector<int64_t> versions; // numbers of vectors that blocks have

  VectorType vector() { return k.vec(plan.lanes, element); }
  SmallVector<Value> addColumn(Ix first, Ix last, SmallVector<Value> acc, int64_t vectors);
  SmallVector<Value> addColumnWithZeros(Ix first, Ix last, SmallVector<Value> acc, int64_t vectors, Ix steps);
  SmallVector<Value> addEntry(Ix entry, Ix offset, ValueRange acc);
  void addPanel(const Part &part, Ix panel, Ix slot, Ix vectors, Value allFinite);
  void storePanels(Ix firstPanel, Ix count, Ix firstRow, Ix vectors);
  void block(Ix firstRow, Ix vectors, Ix firstPanel, Ix lastPanel);
};

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

SmallVector<Value> Builder::addEntry(Ix entry, Ix offset, ValueRange acc) {
  Value w = k.splat(k.loadAt(values.ptr, entry, element), plan.lanes);
  SmallVector<Value> next;
  for (auto [j, a] : llvm::enumerate(acc)) {
    Value v = k.loadAt(transposed.rows, offset + int64_t(j) * plan.lanes, vector(), plan.lanes * 4);
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
            multiplyAdd(k, zero, k.loadAt(transposed.rows, step * width + int64_t(j) * plan.lanes, vector(), plan.lanes * 4), a));
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
      acc = withZeros ? addColumnWithZeros(first, last, acc, version, transposed.steps(p))
                      : addColumn(first, last, acc, version);
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
  transposed.beginBlock(firstRow, vectors);
  int64_t parts = plan.parts();
  // Sums of one part are stored as soon as a few panels have theirs; others wait for the last part.
  k.loop(k.c(0), k.c(parts), 1, [&](Ix index) {
    Part p = transposed.part(index);
    Value allFinite = transposed.transpose(p, firstRow, vectors, vectors * plan.lanes);
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

std::optional<Buffer> zeroPointTerm(Kernel &k, const SparseRows &in, std::vector<int32_t> sums) {
  // sum (x - zero) w of rows that moved by 128: minus the moved zero times the sum of the column.
  int64_t zero = in.zero + (in.signedBytes ? 128 : 0);
  for (int32_t &sum : sums)
    sum = int32_t(uint32_t(sum) * uint32_t(-zero));
  if (llvm::all_of(sums, [](int32_t v) { return v == 0; }))
    return std::nullopt;
  return streamOf(k, sums, k.b.getI32Type());
}

void runPanels(Kernel &k, const SparsePlan &plan, ArrayRef<uint32_t> balanced, function_ref<void(Ix, Ix, Ix)> body) {
  int64_t panels = plan.panels();
  std::optional<Buffer> table;
  for (int64_t i = 0; i <= panels && !table; ++i)
    if (balanced[i] != i)
      table = streamOf(k, balanced.vec(), k.b.getI32Type());
  auto panelAt = [&](Ix share) {
    return table ? k.toIndex(k.loadAt(table->ptr, share, k.b.getI32Type()), /*isUnsigned=*/true) : share;
  };
  k.loop(k.begin / panels, (k.end - 1).max(k.begin) / panels + 1, 1, [&](Ix block) {
    Ix low = (k.begin - block * panels).max(k.c(0)), high = (k.end - block * panels).min(k.c(panels));
    Ix first = panelAt(low), last = panelAt(high), firstRow = block * (plan.vectors * plan.lanes);
    if (plan.parts() == 1 || panels <= plan.groupPanels)
      return body(firstRow, first, last);
    k.loop(first, last, plan.groupPanels, [&](Ix panel) { body(firstRow, panel, (panel + plan.groupPanels).min(last)); });
  });
}

LogicalResult emitSparseProduct(nn::LinearOp op, Lowering &lowering, const SparseRows &in, const SparseSource &source,
                                const SparsePlan &plan, StringRef name) {
  SparseStreams streams = encodeSparse(source, plan);
  Kernel k(lowering, op, name.str() + "_sparse");
  bool bytes = source.perStep > 1;
  Type i32 = k.b.getI32Type(), f32 = k.b.getF32Type(), element = bytes ? i32 : f32;
  int64_t lanes = plan.lanes, width = plan.vectors * lanes;

  Buffer x = k.read(in.x);
  Buffer starts = streamOf(k, streams.starts, i32), values = streamOf(k, streams.values, element);
  Buffer gaps = streamOf(k, streams.gaps, k.b.getI8Type());
  Finish finish(k, op, op.getBias(), element);
  finish.allowInPlace();
  TransposedRows transposed(k, in, plan, x.ptr, source.perStep);
  Builder b{k, in, plan, finish, transposed, starts, values, gaps, {}, bytes, bool(op.getBias()), element, {}, {}, {}};
  if (bytes)
    b.startTerm = zeroPointTerm(k, in, streams.sums);

  // Memory of a thread.
  int64_t slots = std::min(plan.panels(), plan.groupPanels), sumsBytes = slots * lanes * width * 4;
  Value memory = k.scratch(lowering.c(transposed.bytes() + sumsBytes + lanes * lanes * 4));
  transposed.setMemory(memory);
  b.sums = k.ptrAdd(memory, k.c(transposed.bytes()), k.b.getI8Type());
  b.parked = k.ptrAdd(b.sums, k.c(sumsBytes), k.b.getI8Type());

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
  runPanels(k, plan, streams.balanced,
            [&](Ix firstRow, Ix first, Ix last) { b.block(firstRow, vectorsFrom(firstRow), first, last); });

  int64_t entries = streams.values.size();
  k.flops = in.rows * (2 * entries * source.perStep);
  nn::Dim sizes = lowering.numElements(in.x) + lowering.numElements(op->getResult(0));
  k.bytes = sizes * (bytes ? 1 : 4) + (int64_t(streams.starts.size()) * 4 + entries * 5);
  k.grain = taskGrain(2.0 * 2 * entries / plan.panels() * width, 0);
  lowering.launch(k, in.rows.ceilDiv(width) * plan.panels());
  return success();
}

} // namespace nnopt::cpu
