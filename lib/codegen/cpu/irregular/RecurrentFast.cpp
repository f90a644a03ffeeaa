//===- RecurrentFast.cpp - lstm, gru, rnn with packed constant weights ----===//
//
// Two launches. The first multiplies the inputs of all steps with W, as one matrix product with
// bias, because these products do not depend on the state. The second runs the recurrence: a task
// is a block of sequences in one direction, and each step multiplies the block's states with R
// and applies the cell. Both keep hidden units in vector lanes: W and R are packed as
// [direction][panel][K][NR], where a panel is NR neighbouring columns of [gate][hidden padded to
// whole vectors], so that the inner loops load weights by vectors and broadcast the other operand.
//
// With `bf16_products` the operands of both products are rounded to bf16, two of K to a 32-bit lane
// (NarrowProduct.h); sums, cells and states stay in f32.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Precision.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/irregular/Recurrent.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

class FastEmitter {
public:
  FastEmitter(Operation *op, Lowering &lowering)
      : op(op), info(op, lowering), lowering(lowering), lanes(lowering.target.lanes()),
        hidden(info.hidden.value()), input(info.input.value()),
        padded((hidden + lanes - 1) / lanes * lanes), columns(padded * info.gates),
        isNarrow(op->hasAttr(nn::kBf16Products) && lowering.target.bf16) {
    // With 32 registers 6 x 4 accumulators are best, with 16 registers 6 x 2.
    int64_t most = lowering.target.vectorRegisters >= 32 ? 4 : 2;
    panelVectors = 1;
    while (panelVectors * 2 <= most && padded % (panelVectors * 2 * lanes) == 0)
      panelVectors *= 2;
    panel = panelVectors * lanes;
  }

  void emit() {
    Type f32 = Float32Type::get(op->getContext());
    rows = info.sequence * info.batch;
    projected = lowering.temp(f32, {lowering.c(info.directions), rows, lowering.c(columns)});
    emitProjection();
    emitRecurrence();
  }

private:
  //--- packing ---------------------------------------------------------------

  /// Lanes of 32 bits that hold `depth` elements of an operand of a product.
  int64_t steps(int64_t depth) const { return isNarrow ? llvm::divideCeil(depth, 2) : depth; }

  /// [directions, gates * hidden, depth] as [directions][columns / panel][steps(depth)][panel], padded
  /// with zeros; elements are f32, or pairs of bf16 as i32.
  Buffer pack(Kernel &k, Value weights, int64_t depth) {
    std::vector<float> source = lowering.constant(weights)->asFloats();
    std::vector<uint32_t> packed(info.directions * columns * steps(depth));
    auto bitsOf = [&](float v) {
      APFloat f(v);
      bool loses;
      if (isNarrow)
        f.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &loses);
      return uint32_t(f.bitcastToAPInt().getZExtValue());
    };
    for (int64_t d = 0; d < info.directions; ++d)
      for (int64_t g = 0; g < info.gates; ++g)
        for (int64_t j = 0; j < hidden; ++j) {
          int64_t column = g * padded + j;
          const float *row = &source[((d * info.gates + g) * hidden + j) * depth];
          uint32_t *to = &packed[(d * columns + column / panel * panel) * steps(depth) + column % panel];
          for (int64_t i = 0; i < depth; ++i)
            to[isNarrow ? i / 2 * panel : i * panel] |= bitsOf(row[i]) << (isNarrow ? i % 2 * 16 : 0);
        }
    ArrayRef<char> bytes(reinterpret_cast<const char *>(packed.data()), packed.size() * 4);
    return k.weights(bytes, isNarrow ? Type(k.b.getI32Type()) : k.b.getF32Type(), {int64_t(packed.size())});
  }

  /// The bias that is added before the recurrence, [directions][columns]: Wb + Rb, but only Wb for
  /// the last gate of gru where the reset gate multiplies h R + Rb.
  std::vector<float> inputBias() {
    std::vector<float> bias(info.directions * columns);
    if (!info.bias)
      return bias;
    std::vector<float> source = lowering.constant(info.bias)->asFloats();
    int64_t half = info.gates * hidden;
    for (int64_t d = 0; d < info.directions; ++d)
      for (int64_t g = 0; g < info.gates; ++g)
        for (int64_t j = 0; j < hidden; ++j) {
          int64_t at = d * 2 * half + g * hidden + j;
          bool split = info.linearBeforeReset && g == 2;
          bias[d * columns + g * padded + j] = source[at] + (split ? 0.0f : source[at + half]);
        }
    return bias;
  }

  /// Rb of gru's last gate, [directions][padded].
  std::vector<float> resetBias() {
    std::vector<float> bias(info.directions * padded);
    if (!info.bias)
      return bias;
    std::vector<float> source = lowering.constant(info.bias)->asFloats();
    for (int64_t d = 0; d < info.directions; ++d)
      for (int64_t j = 0; j < hidden; ++j)
        bias[d * padded + j] = source[(d * 6 + 5) * hidden + j];
    return bias;
  }

  //--- the inner product ------------------------------------------------------

  /// Adds sum_k a[aBase[r] + k] * weights[wBase + k * panel + column] to `sums` ([row][vector]); k and all offsets count
  /// steps.
  SmallVector<Value> multiply(Kernel &k, ArrayRef<std::pair<Buffer, Ix>> a, const Buffer &weights, Ix wBase,
                              int64_t depth, SmallVector<Value> sums) {
    // Two steps at a time: with few rows the loop would otherwise be bound by its own overhead.
    int64_t unroll = steps(depth) % 2 == 0 ? 2 : 1;
    return k.loop(k.c(0), k.c(steps(depth)), unroll, sums, [&](Ix i, ValueRange state) {
      SmallVector<Value> next(state.begin(), state.end());
      for (int64_t u = 0; u < unroll; ++u) {
        SmallVector<Value, 4> w;
        for (int64_t v = 0; v < panelVectors; ++v)
          w.push_back(k.load(weights, wBase + i * panel + (u * panel + v * lanes), lanes));
        for (size_t r = 0; r < a.size(); ++r) {
          Value s = k.splat(k.load(a[r].first, a[r].second + i + u), lanes);
          for (int64_t v = 0; v < panelVectors; ++v) {
            Value &sum = next[r * panelVectors + v];
            sum = isNarrow ? addPairProducts(k, sum, s, w[v]) : k.fma(s, w[v], sum);
          }
        }
      }
      return next;
    });
  }

  /// Stores a vector of f32 as bf16, at `offset` elements.
  void storeNarrow(Kernel &k, Value to, Ix offset, Value v) {
    k.storeAt(to, offset, k.fromFloat(v, k.vec(lanes, k.b.getBF16Type())), 2);
  }

  //--- x W + b ------------------------------------------------------------------

  void emitProjection() {
    Kernel k(lowering, op, name() + "_input");
    Buffer x = k.read(info.x), w = pack(k, info.w, input), bias = k.weights(inputBias());
    Buffer out = k.write(projected);
    int64_t panels = columns / panel, tile = 6;
    // The rows of a tile in bf16, whole vectors each.
    int64_t pitch = llvm::alignTo(input, lanes);
    Value narrow = isNarrow ? k.scratch(lowering.c(tile * pitch * 2)) : Value();
    Ix count = k.dim(rows);
    forTasks(k, [&](Ix task) {
      Ix direction = task / panels, first = task % panels * panel;
      Ix wBase = task * (panel * steps(input));
      k.loop(k.c(0), count, tile, [&](Ix row) {
        // A last, shorter tile repeats its last row.
        SmallVector<Ix> tileRows;
        SmallVector<std::pair<Buffer, Ix>> a;
        SmallVector<Value> sums;
        for (int64_t r = 0; r < tile; ++r) {
          tileRows.push_back(r ? (row + r).min(count - 1) : row);
          if (isNarrow) {
            for (int64_t j = 0; j < input; j += lanes) {
              Ix at = tileRows[r] * input + j;
              Value v = j + lanes <= input ? k.load(x, at, lanes) : k.loadMasked(x, at, lanes, k.mask(k.c(input - j), lanes));
              storeNarrow(k, narrow, k.c(r * pitch + j), v);
            }
            a.push_back({k.at(narrow, k.b.getI32Type()), k.c(r * pitch / 2)});
          } else {
            a.push_back({x, tileRows[r] * input});
          }
          for (int64_t v = 0; v < panelVectors; ++v)
            sums.push_back(k.load(bias, task * panel + v * lanes, lanes));
        }
        sums = multiply(k, a, w, wBase, input, sums);
        for (int64_t r = 0; r < tile; ++r)
          for (int64_t v = 0; v < panelVectors; ++v)
            k.store(out, (direction * count + tileRows[r]) * columns + first + v * lanes,
                    sums[r * panelVectors + v]);
      });
    });
    k.flops = rows * (2 * info.directions * columns * input);
    lowering.launch(k, lowering.c(info.directions * panels));
  }

  //--- the recurrence -------------------------------------------------------------

  std::string name() { return op->getName().stripDialect().str(); }

  void emitRecurrence() {
    int64_t block = info.batch.isConst() ? std::max<int64_t>(1, std::min<int64_t>(4, info.batch.value())) : 4;
    Kernel k(lowering, op, name());
    in = k.read(projected), r = pack(k, info.r, hidden);
    if (info.linearBeforeReset)
      rBias = k.weights(resetBias());
    auto optional = [&](Value v) { return v ? std::optional<Buffer>(k.read(v)) : std::nullopt; };
    initialH = optional(info.initialH), initialC = optional(info.initialC), peephole = optional(info.peephole);
    y = k.write(info.y), yH = k.write(info.yH);
    if (info.yC)
      yC = k.write(info.yC);
    // For each sequence of the block: h, c (gru: r * h), sums of the gates.
    stride = 2 * padded + columns;
    scratch = k.at(k.scratch(lowering.c(block * stride * 4)), k.b.getF32Type());
    // h, and r * h, as operands of products.
    if (isNarrow)
      narrowStates = k.scratch(lowering.c(block * 2 * padded * 2));

    nn::Dim blocks = info.batch.ceilDiv(block);
    Ix batch = k.dim(info.batch), blockCount = k.dim(blocks);
    forTasks(k, [&](Ix task) {
      Ix direction = task / blockCount, first = task % blockCount * block;
      auto whole = [&] { runBlock(k, direction, first, block); };
      auto single = [&] { k.loop(first, batch, 1, [&](Ix n) { runBlock(k, direction, n, 1); }); };
      if (block == 1 || (info.batch.isConst() && info.batch.value() % block == 0))
        whole();
      else
        k.ifThen(first + block <= batch, whole, single);
    });
    k.flops = rows * (2 * info.directions * columns * hidden);
    lowering.launch(k, blocks * int64_t(info.directions));
  }

  Ix hAt(Kernel &k, int64_t row) { return k.c(row * stride); }
  Ix cAt(Kernel &k, int64_t row) { return k.c(row * stride + padded); }
  Ix gateAt(Kernel &k, int64_t row, int64_t gate) { return k.c(row * stride + 2 * padded + gate * padded); }

  /// Keeps h, or r * h (`reset`) in the place of c, of units j... of a sequence.
  void storeState(Kernel &k, int64_t row, bool reset, Ix j, Value v) {
    k.store(scratch, (reset ? cAt(k, row) : hAt(k, row)) + j, v);
    if (isNarrow)
      storeNarrow(k, narrowStates, j + (2 * row + reset) * padded, v);
  }
  /// The same as an operand of a product.
  std::pair<Buffer, Ix> state(Kernel &k, int64_t row, bool reset) {
    if (isNarrow)
      return {k.at(narrowStates, k.b.getI32Type()), k.c((2 * row + reset) * padded / 2)};
    return {scratch, reset ? cAt(k, row) : hAt(k, row)};
  }

  /// Runs body(j, mask) over the hidden units by vectors; `mask` is null for whole vectors.
  void units(Kernel &k, llvm::function_ref<void(Ix, Value)> body) {
    int64_t whole = hidden / lanes * lanes;
    k.loop(k.c(0), k.c(whole), lanes, [&](Ix j) { body(j, Value()); });
    if (whole != hidden)
      body(k.c(whole), k.mask(k.c(hidden - whole), lanes));
  }
  Value load(Kernel &k, const Buffer &buf, Ix at, Value mask) {
    return mask ? k.loadMasked(buf, at, lanes, mask) : k.load(buf, at, lanes);
  }
  void store(Kernel &k, const Buffer &buf, Ix at, Value v, Value mask) {
    mask ? k.storeMasked(buf, at, v, mask) : k.store(buf, at, v);
  }
  Value scratchVector(Kernel &k, Ix at) { return k.load(scratch, at, lanes); }

  /// All steps of `count` sequences from `first` on.
  void runBlock(Kernel &k, Ix direction, Ix first, int64_t count) {
    Cell cell(k, info, direction);
    Ix batch = k.dim(info.batch), steps = k.dim(info.sequence);
    auto stateAt = [&](int64_t row) { return (direction * batch + first + row) * hidden; };
    for (int64_t row = 0; row < count; ++row)
      units(k, [&](Ix j, Value mask) {
        Value zero = k.constant(k.vec(lanes, k.b.getF32Type()), 0);
        storeState(k, row, /*reset=*/false, j, initialH ? load(k, *initialH, stateAt(row) + j, mask) : zero);
        if (info.kind == Recurrent::LSTM)
          k.store(scratch, cAt(k, row) + j, initialC ? load(k, *initialC, stateAt(row) + j, mask) : zero);
      });
    k.loop(k.c(0), steps, 1, [&](Ix t) {
      Ix position = cell.position(t, steps);
      // Rows of the projected input and of y.
      Ix from = (direction * steps + position) * batch + first;
      Ix to = (position * int64_t(info.directions) + direction) * batch + first;
      step(k, cell, direction, from, to, t % 2 == 1, count);
    });
    for (int64_t row = 0; row < count; ++row)
      units(k, [&](Ix j, Value mask) {
        store(k, yH, stateAt(row) + j, scratchVector(k, hAt(k, row) + j), mask);
        if (yC)
          store(k, *yC, stateAt(row) + j, scratchVector(k, cAt(k, row) + j), mask);
      });
  }

  /// Sums of gates [low, high): projected input (Rb where `bias` is set) + a R, where a is h, or r * h. Every other step goes
  /// through the panels from the last to the first (`backwards`): where R exceeds L2, it begins with those that are there.
  void sums(Kernel &k, Ix direction, Ix from, Value backwards, int64_t count, int64_t low, int64_t high, bool reset, bool bias) {
    int64_t perGate = padded / panel;
    k.loop(k.c(low * perGate), k.c(high * perGate), 1, [&](Ix position) {
      Ix p = k.selectIx(backwards, k.c((low + high) * perGate - 1) - position, position);
      SmallVector<std::pair<Buffer, Ix>> a;
      SmallVector<Value> sum;
      for (int64_t row = 0; row < count; ++row) {
        a.push_back(state(k, row, reset));
        for (int64_t v = 0; v < panelVectors; ++v)
          sum.push_back(bias ? k.load(rBias, direction * padded + (p - low * perGate) * panel + v * lanes, lanes)
                             : k.load(in, (from + row) * columns + p * panel + v * lanes, lanes));
      }
      Ix wBase = (direction * (columns / panel) + p) * (panel * steps(hidden));
      sum = multiply(k, a, r, wBase, hidden, sum);
      for (int64_t row = 0; row < count; ++row)
        for (int64_t v = 0; v < panelVectors; ++v)
          k.store(scratch, gateAt(k, row, 0) + p * panel + v * lanes, sum[row * panelVectors + v]);
    });
  }

  void step(Kernel &k, Cell &cell, Ix direction, Ix from, Ix to, Value backwards, int64_t count) {
    bool gru = info.kind == Recurrent::GRU;
    sums(k, direction, from, backwards, count, 0, gru ? 2 : info.gates, /*reset=*/false, /*bias=*/false);
    if (gru && !info.linearBeforeReset)
      for (int64_t row = 0; row < count; ++row)
        units(k, [&](Ix j, Value) {
          Value reset = cell.activate(0, scratchVector(k, gateAt(k, row, 1) + j));
          storeState(k, row, /*reset=*/true, j, cell.mul(reset, scratchVector(k, hAt(k, row) + j)));
        });
    if (gru)
      sums(k, direction, from, backwards, count, 2, 3, /*reset=*/!info.linearBeforeReset, /*bias=*/info.linearBeforeReset);
    for (int64_t row = 0; row < count; ++row)
      units(k, [&](Ix j, Value mask) {
        Value next = update(k, cell, direction, from + row, row, j, mask);
        storeState(k, row, /*reset=*/false, j, next);
        store(k, y, (to + row) * hidden + j, next, mask);
      });
  }

  /// The new h of hidden units j...; keeps c.
  Value update(Kernel &k, Cell &cell, Ix direction, Ix from, int64_t row, Ix j, Value mask) {
    auto gate = [&](int64_t g) { return scratchVector(k, gateAt(k, row, g) + j); };
    switch (info.kind) {
    case Recurrent::LSTM: {
      Value p[3] = {};
      for (int64_t g = 0; peephole && g < 3; ++g)
        p[g] = load(k, *peephole, (direction * 3 + g) * hidden + j, mask);
      auto [c, h] = cell.lstm(gate(0), gate(1), gate(2), gate(3), scratchVector(k, cAt(k, row) + j), p[0], p[1], p[2]);
      k.store(scratch, cAt(k, row) + j, c);
      return h;
    }
    case Recurrent::GRU: {
      Value sum = gate(2);
      if (info.linearBeforeReset)
        sum = cell.add(k.load(in, from * columns + j + 2 * padded, lanes), cell.mul(cell.activate(0, gate(1)), sum));
      return cell.gru(cell.activate(0, gate(0)), cell.activate(1, sum), scratchVector(k, hAt(k, row) + j));
    }
    case Recurrent::RNN:
      return cell.activate(0, gate(0));
    }
    llvm_unreachable("all cells are handled");
  }

  Operation *op;
  Recurrent info;
  Lowering &lowering;
  int64_t lanes, hidden, input, padded, columns, panelVectors, panel, stride = 0;
  bool isNarrow;
  nn::Dim rows;
  TempTensor projected;
  Buffer in, r, rBias, y, yH, scratch;
  Value narrowStates;
  std::optional<Buffer> initialH, initialC, peephole, yC;
};

bool match(Operation *op, Lowering &lowering) {
  Recurrent info(op, lowering);
  return lowering.shapes.info(info.x).elementType.isF32() && lowering.constant(info.w) && lowering.constant(info.r) &&
         (!info.bias || lowering.constant(info.bias)) && !info.lengths && info.hidden.isConst() &&
         info.input.isConst() && info.hidden.value() > 0 && info.input.value() > 0 &&
         llvm::all_of(info.activations, [](StringRef name) { return isKnownActivation(name); });
}

LogicalResult emit(Operation *op, Lowering &lowering) {
  FastEmitter(op, lowering).emit();
  return success();
}

RegisterEmitter lstm({"nn.lstm", "lstm-packed", 10, match, emit});
RegisterEmitter gru({"nn.gru", "gru-packed", 10, match, emit});
RegisterEmitter rnn({"nn.rnn", "rnn-packed", 10, match, emit});

} // namespace
} // namespace nnopt::cpu
