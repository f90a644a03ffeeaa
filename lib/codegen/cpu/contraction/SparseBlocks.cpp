//===- SparseBlocks.cpp - contractions that skip blocks of zero weights -----===//

#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/contraction/SparseProduct.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

struct BlockBuilder {
  Kernel &k;
  const SparseRows &in;
  const SparsePlan &plan;
  Finish &finish;
  TransposedRows *transposed; // null: rows are read in place
  Value x;
  Buffer starts, steps, values;
  std::optional<Buffer> startTerm;
  bool bytes = false;
  Type element; // f32, or i32 of four bytes
  Value sums;   // memory of the thread: of several parts

  /// A panel of columns, in a part.
  struct Panel {
    Ix column, firstBlock, lastBlock;
    Value mask; // null: all lanes are columns
    Ix part, steps;
  };
  /// Rows whose products are in registers at once; `base` is the first one's first element in the part.
  struct Tile {
    Ix row;
    Value base, sums;
    int64_t count;
  };

  VectorType vector() { return k.vec(plan.lanes, element); }
  int64_t pitch() const { return plan.vectors * plan.lanes; }
  int64_t rowPitch() const { return transposed ? 1 : plan.steps; }
  Ix stepOf(Ix block) { return k.toIndex(k.loadAt(steps.ptr, block, k.b.getI16Type()), /*isUnsigned=*/true); }
  Value weightsOf(Ix block) { return k.loadAt(values.ptr, block * plan.lanes, vector(), plan.lanes * 4); }

  Value broadcast(const Tile &tile, Ix step, int64_t row);
  Value multiply(Value x, Value w, Value acc) { return bytes ? addByteProducts(k, acc, x, w) : multiplyAdd(k, x, w, acc); }
  SmallVector<Value> addBlocks(const Tile &tile, const Panel &panel, SmallVector<Value> acc);
  Value addBlocksAndZeros(const Tile &tile, const Panel &panel, Value acc);
  SmallVector<Value> start(const Tile &tile, const Panel &panel);
  void store(const Tile &tile, const Panel &panel, ValueRange acc);
  void product(const Tile &tile, const Panel &panel, bool withZeros);
  void rows(const Tile &first, Ix left, const Panel &panel, Value allFinite);
  void panels(Ix part, Ix steps, Ix firstRow, Ix groups, Ix firstPanel, Ix lastPanel, Value allFinite);
  Value isFinite(Ix firstRow);
  void block(Ix firstRow, Ix firstPanel, Ix lastPanel);
};

/// A step of a row in all lanes.
Value BlockBuilder::broadcast(const Tile &tile, Ix step, int64_t row) {
  Ix at = step * (transposed ? pitch() : 1) + row * rowPitch();
  Value v = bytes ? loadRowBytes(k, tile.base, at, 4, in.signedBytes && !transposed) : k.loadAt(tile.base, at, element);
  return k.splat(v, plan.lanes);
}

SmallVector<Value> BlockBuilder::addBlocks(const Tile &tile, const Panel &panel, SmallVector<Value> acc) {
  auto add = [&](Ix block, ValueRange sums) {
    Value w = weightsOf(block);
    Ix step = stepOf(block);
    SmallVector<Value> next;
    for (int64_t row = 0; row < tile.count; ++row)
      next.push_back(multiply(broadcast(tile, step, row), w, sums[row]));
    return next;
  };
  // Sums of few rows would wait for each other: several blocks at once, each with its own.
  int64_t chains = std::max<int64_t>(1, 8 / tile.count);
  Ix whole = panel.firstBlock;
  if (chains > 1) {
    whole = panel.firstBlock + (panel.lastBlock - panel.firstBlock) / chains * chains;
    SmallVector<Value> all(acc);
    all.append((chains - 1) * tile.count, k.constant(vector(), 0));
    all = k.loop(panel.firstBlock, whole, chains, all, [&](Ix block, ValueRange in) {
      SmallVector<Value> next;
      for (int64_t chain = 0; chain < chains; ++chain)
        next.append(add(block + chain, in.slice(chain * tile.count, tile.count)));
      return next;
    });
    for (int64_t half = chains / 2; half >= 1; half /= 2)
      for (int64_t i = 0; i < half * tile.count; ++i) {
        Value other = all[half * tile.count + i];
        all[i] = bytes ? arith::AddIOp::create(k.b, k.loc, all[i], other).getResult()
                       : arith::AddFOp::create(k.b, k.loc, all[i], other).getResult();
      }
    acc.assign(all.begin(), all.begin() + tile.count);
  }
  return k.loop(whole, panel.lastBlock, 1, acc, add);
}

/// The same of one row with the products of zeros.
Value BlockBuilder::addBlocksAndZeros(const Tile &tile, const Panel &panel, Value acc) {
  Value zero = k.constant(vector(), 0);
  auto addZeros = [&](Ix from, Ix to, Value sum) {
    return k.loop(from, to, 1, {sum}, [&](Ix step, ValueRange in) {
      return SmallVector<Value>{multiply(broadcast(tile, step, 0), zero, in[0])};
    })[0];
  };
  SmallVector<Value> result =
      k.loop(panel.firstBlock, panel.lastBlock, 1, {acc, k.c(0)}, [&](Ix block, ValueRange in) {
        Ix step = stepOf(block);
        Value sum = addZeros(Ix(&k, in[1]), step, in[0]);
        return SmallVector<Value>{multiply(broadcast(tile, step, 0), weightsOf(block), sum), step + 1};
      });
  return addZeros(Ix(&k, result[1]), panel.steps, result[0]);
}

/// What the sums of a tile begin with: bias, or the parts before.
SmallVector<Value> BlockBuilder::start(const Tile &tile, const Panel &panel) {
  auto begin = [&] {
    SmallVector<Value> acc = finish.start(tile.count, panel.column, 1, plan.lanes, {panel.mask});
    if (!startTerm)
      return acc;
    Value term = panel.mask ? k.loadMasked(*startTerm, panel.column, plan.lanes, panel.mask)
                            : k.load(*startTerm, panel.column, plan.lanes);
    for (Value &sum : acc)
      sum = arith::AddIOp::create(k.b, k.loc, sum, term);
    return acc;
  };
  if (plan.parts() == 1)
    return begin();
  return k.ifElse(panel.part == 0, SmallVector<Type>(tile.count, vector()), begin, [&] {
    SmallVector<Value> acc;
    for (int64_t row = 0; row < tile.count; ++row)
      acc.push_back(k.loadAt(tile.sums, k.c(row * plan.lanes), vector(), plan.lanes * 4));
    return acc;
  });
}

void BlockBuilder::store(const Tile &tile, const Panel &panel, ValueRange acc) {
  auto rowOf = [&](Ix i) { return tile.row + i; };
  auto result = [&] { finish.store(tile.count, rowOf, panel.column, 1, plan.lanes, {panel.mask}, acc); };
  if (plan.parts() == 1)
    return result();
  k.ifThen(panel.part == plan.parts() - 1, result, [&] {
    for (int64_t row = 0; row < tile.count; ++row)
      k.storeAt(tile.sums, k.c(row * plan.lanes), acc[row], plan.lanes * 4);
  });
}

void BlockBuilder::product(const Tile &tile, const Panel &panel, bool withZeros) {
  SmallVector<Value> acc = start(tile, panel);
  if (withZeros)
    acc = {addBlocksAndZeros(tile, panel, acc[0])};
  else
    acc = addBlocks(tile, panel, acc);
  store(tile, panel, acc);
}

/// All of a vector of rows from `first` on, of which `left` are there.
void BlockBuilder::rows(const Tile &first, Ix left, const Panel &panel, Value allFinite) {
  int64_t lanes = plan.lanes;
  auto tile = [&](Ix row, int64_t count) {
    return Tile{first.row + row, k.ptrAdd(first.base, row * rowPitch(), element),
                first.sums ? k.ptrAdd(first.sums, row * lanes, element) : Value(), count};
  };
  std::optional<int64_t> known = constantDim(in.rows);
  auto rest = [&] {
    if (known)
      return product(tile(k.c(0), *known % lanes), panel, false);
    // The bits of the rest say which pieces there are; bits above say where each begins.
    for (int64_t piece = lanes / 2; piece >= 1; piece /= 2)
      k.ifThen(k.c(0) < left / piece % 2,
               [&] { product(tile(left / (2 * piece) * (2 * piece), piece), panel, false); });
  };
  auto all = [&] { product(tile(k.c(0), lanes), panel, false); };
  auto fast = [&] {
    if (known && *known % lanes == 0)
      return all();
    if (known && *known < lanes)
      return rest();
    k.ifThen(k.c(lanes) <= left, all, rest);
  };
  if (!allFinite)
    return fast();
  k.ifThen(allFinite, fast,
           [&] { k.loop(k.c(0), left.min(k.c(lanes)), 1, [&](Ix row) { product(tile(row, 1), panel, true); }); });
}

/// A range of panels of a part, for `groups` vectors of rows: the blocks of a panel stay in L1 meanwhile.
void BlockBuilder::panels(Ix part, Ix steps, Ix firstRow, Ix groups, Ix firstPanel, Ix lastPanel, Value allFinite) {
  int64_t lanes = plan.lanes, rest = plan.columns % lanes;
  k.loop(firstPanel, lastPanel, 1, [&](Ix number) {
    Ix at = part * plan.panels() + number;
    Ix firstBlock = k.toIndex(k.loadAt(starts.ptr, at, k.b.getI32Type()), true);
    Ix lastBlock = k.toIndex(k.loadAt(starts.ptr, at + 1, k.b.getI32Type()), true);
    auto multiplyRows = [&](Value mask) {
      Panel panel{number * lanes, firstBlock, lastBlock, mask, part, steps};
      k.loop(k.c(0), groups, 1, [&](Ix group) {
        Tile first{firstRow + group * lanes, {}, {}, 0};
        first.base = transposed ? k.ptrAdd(transposed->rows, group * lanes, element)
                                : k.ptrAdd(x, first.row * plan.steps, element);
        if (plan.parts() > 1)
          first.sums = k.ptrAdd(sums, ((number - firstPanel) * plan.vectors + group) * (lanes * lanes), element);
        rows(first, k.dim(in.rows) - first.row, panel, allFinite);
      });
    };
    auto last = [&] { multiplyRows(k.mask(k.c(rest), lanes)); };
    if (rest == 0)
      return multiplyRows(Value());
    if (plan.panels() == 1)
      return last();
    k.ifThen(number < k.c(plan.panels() - 1), [&] { multiplyRows(Value()); }, last);
  });
}

/// Whether the rows of a block, in place, have neither infinities nor NaNs; null: nobody asks.
Value BlockBuilder::isFinite(Ix firstRow) {
  if (bytes)
    return {};
  // Without the sign the bits of floats are ordered as they are.
  int64_t lanes = plan.lanes;
  VectorType bits = k.vec(lanes, k.b.getI32Type());
  Buffer from = k.at(k.ptrAdd(x, firstRow * plan.steps, element), k.b.getI32Type());
  auto larger = [&](Value most, Value v) -> Value {
    v = arith::AndIOp::create(k.b, k.loc, v, k.splat(k.constant(k.b.getI32Type(), 0x7fffffff), lanes));
    return arith::MaxUIOp::create(k.b, k.loc, most, v);
  };
  Ix count = (k.dim(in.rows) - firstRow).min(k.c(pitch())) * plan.steps, whole = count / lanes * lanes;
  Value most = k.loop(k.c(0), whole, lanes, {k.constant(bits, 0)}, [&](Ix i, ValueRange in) {
    return SmallVector<Value>{larger(in[0], k.load(from, i, lanes))};
  })[0];
  most = larger(most, k.loadMasked(from, whole, lanes, k.mask(count - whole, lanes)));
  most = vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::MAXUI, most);
  return arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::ult, most, k.constant(k.b.getI32Type(), 0x7f800000));
}

void BlockBuilder::block(Ix firstRow, Ix firstPanel, Ix lastPanel) {
  Ix groups = ((k.dim(in.rows) - firstRow + (plan.lanes - 1)) / plan.lanes).min(k.c(plan.vectors));
  if (!transposed)
    return panels(k.c(0), k.c(plan.steps), firstRow, groups, firstPanel, lastPanel, isFinite(firstRow));
  transposed->beginBlock(firstRow, groups);
  k.loop(k.c(0), k.c(plan.parts()), 1, [&](Ix index) {
    TransposedRows::Part part = transposed->part(index);
    Value allFinite = transposed->transpose(part, firstRow, groups, k.c(pitch()));
    panels(index, transposed->steps(part), firstRow, groups, firstPanel, lastPanel, allFinite);
  });
}

} // namespace

LogicalResult emitSparseBlocks(nn::LinearOp op, Lowering &lowering, const SparseRows &in, const SparseSource &source,
                               const SparsePlan &plan, StringRef name) {
  BlockStreams streams = encodeBlocks(source, plan);
  Kernel k(lowering, op, name.str() + "_sparse_blocks");
  bool bytes = source.perStep > 1;
  Type i32 = k.b.getI32Type(), element = bytes ? i32 : Type(k.b.getF32Type());
  int64_t lanes = plan.lanes, blocks = streams.steps.size();

  Buffer x = k.read(in.x);
  Buffer starts = streamOf(k, streams.starts, i32), steps = streamOf(k, streams.steps, k.b.getI16Type());
  Buffer values = streamOf(k, streams.values, element);
  Finish finish(k, op, op.getBias(), element);
  finish.allowInPlace();
  std::optional<TransposedRows> transposed;
  if (!plan.inPlace)
    transposed.emplace(k, in, plan, x.ptr, source.perStep);
  BlockBuilder b{k,      in,     plan, finish, transposed ? &*transposed : nullptr, x.ptr, starts, steps,
                 values, {}, bytes, element, {}};
  if (bytes)
    b.startTerm = zeroPointTerm(k, in, streams.sums);

  if (transposed) {
    int64_t slots = plan.parts() > 1 ? std::min(plan.panels(), plan.groupPanels) : 0;
    Value memory = k.scratch(lowering.c(transposed->bytes() + slots * plan.vectors * lanes * lanes * 4));
    transposed->setMemory(memory);
    b.sums = k.ptrAdd(memory, k.c(transposed->bytes()), k.b.getI8Type());
  }
  runPanels(k, plan, streams.balanced,
            [&](Ix firstRow, Ix first, Ix last) { b.block(firstRow, first, last); });

  int64_t width = plan.vectors * lanes;
  k.flops = in.rows * (2 * blocks * lanes * source.perStep);
  nn::Dim sizes = lowering.numElements(in.x) + lowering.numElements(op->getResult(0));
  k.bytes = sizes * (bytes ? 1 : 4) + (int64_t(streams.starts.size()) * 4 + blocks * (lanes * 4 + 2));
  double perPanel = double(blocks) / plan.panels();
  k.grain = taskGrain(2.0 * perPanel * lanes * std::min<int64_t>(width, constantDim(in.rows).value_or(width)),
                      perPanel * lanes * 4 / 8);
  lowering.launch(k, in.rows.ceilDiv(width) * plan.panels());
  return success();
}

} // namespace nnopt::cpu
