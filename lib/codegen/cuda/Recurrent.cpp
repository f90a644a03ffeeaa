//===- Recurrent.cpp - lstm, gru, rnn ---------------------------------------===//
//
// What the cells make of their inputs is one matrix product, before the recurrence (Appleyard et al. 2016, "Optimizing
// Performance of Recurrent Neural Networks on GPUs", section 3.3). The recurrence is one launch: a block has a few
// sequences in one direction, keeps their states in shared memory, and goes through the recurrent weights once a step
// for all of them. Neighbouring threads have neighbouring units; `slices` groups of threads share the depth.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/irregular/Recurrent.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Gemm.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

using cpu::Recurrent;

constexpr int64_t maxThreads = 512, maxRows = 4, stateBytes = 48 << 10;

bool match(Operation *op, Lowering &l) {
  Recurrent info(op, l);
  // The weights of a step are packed; h of three lines must fit into shared memory.
  return areFloats(l, info.x) && l.constant(info.r) && info.hidden.isConst() && info.hidden.value() > 0 &&
         info.hidden.value() <= 4096 &&
         llvm::all_of(info.activations, [](StringRef name) { return cpu::isKnownActivation(name); });
}

/// Whether the last gate's recurrent part is kept apart from the rest, to be multiplied by the reset gate.
bool keepsRecurrentPart(const Recurrent &info) { return info.kind == Recurrent::GRU && info.linearBeforeReset; }

/// x W and the biases of all gates, as [direction][position, sequence][gate, unit].
TempTensor projectInputs(const Recurrent &info, Operation *op, Lowering &l) {
  nn::Dim rows = info.sequence * info.batch, columns = info.hidden * int64_t(info.gates);
  nn::Dim directions = l.c(info.directions);
  TempTensor result = l.temp(Float32Type::get(op->getContext()), {directions, rows, columns});
  Tile tile = Tile::choose(rows, columns, directions);
  Kernel k(l, op, op->getName().stripDialect().str() + "_inputs", tile.threads());
  Buffer x = k.read(info.x), w = k.read(info.w), out = k.write(result), bias;
  if (info.bias)
    bias = k.read(info.bias);
  nn::Dim rowTiles = rows.ceilDiv(l.c(tile.rows)), columnTiles = columns.ceilDiv(l.c(tile.columns));
  Ix columnTile = k.block % k.dim(columnTiles), rest = k.block / k.dim(columnTiles);
  Ix rowTile = rest % k.dim(rowTiles), direction = rest / k.dim(rowTiles);
  Ix m = k.dim(rows), n = k.dim(columns);
  bool alignedWeights = isAligned(l, info.w) && isMultiple(info.hidden * int64_t(info.gates) * info.input, 4);
  TileOperand left = matrixOperand(k, x, isAligned(l, info.x), k.c(0), rows, info.input, /*along=*/true);
  TileOperand right =
      matrixOperand(k, w, alignedWeights, direction * k.dim(columns * info.input), columns, info.input, /*along=*/true);
  int64_t lanes = isMultiple(columns, 4) ? 4 : 1;
  emitTile(k, tile, info.input, left, right, rowTile * tile.rows, columnTile * tile.columns, m, n, lanes,
           [&](Ix row, Ix column, ArrayRef<Value> sums) {
             SmallVector<Value> values(sums);
             for (int64_t i = 0; info.bias && i < lanes; ++i) {
               Ix at = direction * (n * 2) + column + i;
               Value own = k.toFloat(k.load(bias, at)), recurrent = k.toFloat(k.load(bias, at + n));
               if (keepsRecurrentPart(info))
                 recurrent = k.select(column + i < k.dim(info.hidden * 2), recurrent, k.f32(0));
               values[i] = cpu::fadd(k, cpu::fadd(k, values[i], own), recurrent);
             }
             k.storeLanes(out, (direction * m + row) * n + column, values);
           });
  k.flops = directions * rows * columns * info.input * 2;
  k.launch(directions * rowTiles * columnTiles);
  return result;
}

/// How the threads of a block share a step.
struct Shape {
  int64_t hidden, units, slices, chunks, depth, padded, rows;

  Shape(const Recurrent &info) {
    hidden = info.hidden.value();
    units = std::min<int64_t>(llvm::alignTo(hidden, warpSize), maxThreads);
    slices = std::clamp<int64_t>(llvm::divideCeil(hidden, 16), 1, maxThreads / units);
    chunks = llvm::divideCeil(hidden, units);
    depth = llvm::alignTo(llvm::divideCeil(hidden, slices), 4);
    padded = depth * slices;
    rows = info.batch.isConst() ? std::clamp<int64_t>(info.batch.value(), 1, maxRows) : maxRows;
    while (rows > 1 && 3 * rows * padded * 4 > stateBytes)
      rows /= 2;
  }
  int64_t threads() const { return units * slices; }
};

class Recurrence {
public:
  Recurrence(const Recurrent &info, Operation *op, Lowering &l, const TempTensor &inputs)
      : info(info), shape(info), l(l), k(l, op, op->getName().stripDialect(), shape.threads()) {
    projected = k.read(inputs);
    weights = packWeights();
    auto optional = [&](Value v) { return v ? k.read(v) : Buffer(); };
    bias = optional(info.bias), lengths = optional(info.lengths), initialH = optional(info.initialH);
    initialC = optional(info.initialC), peephole = optional(info.peephole);
    y = k.write(info.y), yH = k.write(info.yH);
    if (info.yC)
      yC = k.write(info.yC);
    Type f32 = k.b.getF32Type();
    h = k.shared(f32, 2 * shape.rows * shape.padded);
    if (info.kind == Recurrent::LSTM)
      c = k.shared(f32, shape.rows * shape.hidden);
    if (hasTwoPasses()) {
      update = k.shared(f32, shape.rows * shape.hidden);
      resetH = k.shared(f32, shape.rows * shape.padded);
    }
    if (shape.slices > 1)
      parts = k.shared(f32, info.gates * shape.rows * shape.threads());
  }

  void emit() {
    nn::Dim groups = info.batch.ceilDiv(l.c(shape.rows));
    direction = k.block / k.dim(groups);
    slice = k.thread / shape.units;
    steps = k.dim(info.sequence), batch = k.dim(info.batch);
    Ix first = k.block % k.dim(groups) * shape.rows;
    for (int64_t r = 0; r < shape.rows; ++r) {
      Ix n = first + r;
      Ix safe = shape.rows == 1 ? n : n.min(batch - 1);
      Ix length = steps;
      if (info.lengths)
        length = k.toIndex(k.load(lengths, safe)).min(steps).max(k.c(0));
      rows.push_back({n, safe, length});
    }
    start();
    k.loop(k.c(0), steps, 1, [&](Ix t) { step(t); });
    k.barrier();
    finish();
    nn::Dim weightCount = l.c(shape.hidden * shape.hidden * info.gates * info.directions);
    k.flops = info.sequence * info.batch * weightCount * 2;
    k.bytes = info.sequence * groups * weightCount * cpu::storageBytes(weights);
    k.launch(groups * int64_t(info.directions));
  }

private:
  struct Row {
    Ix n, safe, length; // number of the sequence, the same or the last one, its length
  };

  /// A gru that multiplies h by the reset gate before the product needs all of that first.
  bool hasTwoPasses() const { return info.kind == Recurrent::GRU && !info.linearBeforeReset; }

  /// The recurrent weights as [direction][gate][depth, padded with zeros][unit].
  Buffer packWeights() {
    nn::ConstantData data = *l.constant(info.r);
    Type type = l.shapes.info(info.r).elementType;
    int64_t bytes = nn::elementBytes(type), H = shape.hidden;
    std::vector<char> packed(info.directions * info.gates * shape.padded * H * bytes);
    for (int64_t matrix = 0; matrix < int64_t(info.directions * info.gates); ++matrix)
      for (int64_t unit = 0; unit < H; ++unit)
        for (int64_t d = 0; d < H; ++d)
          std::memcpy(&packed[((matrix * shape.padded + d) * H + unit) * bytes],
                      data.bytes().data() + ((matrix * H + unit) * H + d) * bytes, bytes);
    return k.weights(packed, type, {int64_t(packed.size()) / bytes});
  }

  Value load(const Buffer &buf, Ix at) { return k.toFloat(k.load(buf, at)); }
  Value inBatch(const Row &row) { return row.n < batch; }
  Ix stateOf(const Row &row, Ix unit) { return (direction * batch + row.safe) * shape.hidden + unit; }
  /// h of row r before (or after) step t, which are in the two halves by turns.
  Ix hiddenAt(Ix t, int64_t r) { return t % 2 * (shape.rows * shape.padded) + r * shape.padded; }

  /// Visits the elements of all rows, all threads together.
  void forStates(function_ref<void(int64_t r, Ix unit)> body) {
    for (int64_t r = 0; r < shape.rows; ++r)
      k.loop(k.thread, k.c(shape.hidden), shape.threads(), [&](Ix unit) { body(r, unit); });
  }

  void start() {
    // What pads the depth is 0 in both halves.
    k.loop(k.thread, k.c(2 * shape.rows * shape.padded), shape.threads(), [&](Ix i) { k.store(h, i, k.f32(0)); });
    if (hasTwoPasses())
      k.loop(k.thread, k.c(shape.rows * shape.padded), shape.threads(), [&](Ix i) { k.store(resetH, i, k.f32(0)); });
    k.barrier();
    forStates([&](int64_t r, Ix unit) {
      if (info.initialH)
        k.store(h, hiddenAt(k.c(0), r) + unit, load(initialH, stateOf(rows[r], unit)));
      if (info.kind == Recurrent::LSTM)
        k.store(c, unit + r * shape.hidden, info.initialC ? load(initialC, stateOf(rows[r], unit)) : k.f32(0));
    });
    k.barrier();
  }

  /// Calls finish(row, unit, sums of the gates) with the products of the recurrent weights of `gates` and lines of
  /// `source` that begin at `at`, in one thread for each unit.
  void product(ArrayRef<int64_t> gates, const Buffer &source, Ix at,
               function_ref<void(int64_t r, Ix unit, ArrayRef<Value> sums)> finish) {
    int64_t count = gates.size();
    for (int64_t chunk = 0; chunk < shape.chunks; ++chunk) {
      Ix unit = k.thread % shape.units + chunk * shape.units;
      bool whole = (chunk + 1) * shape.units <= shape.hidden;
      Ix safe = whole ? unit : unit.min(k.c(shape.hidden - 1));
      Ix low = slice * shape.depth;
      SmallVector<Value> zeros(count * shape.rows, k.f32(0));
      SmallVector<Value> sums = k.loop(low, low + shape.depth, 4, zeros, [&](Ix d, ValueRange in) {
        SmallVector<Value> acc(in);
        SmallVector<SmallVector<Value>> lines;
        for (int64_t r = 0; r < shape.rows; ++r)
          lines.push_back(k.loadLanes(source, at + r * shape.padded + d, 4));
        for (auto [g, gate] : llvm::enumerate(gates))
          for (int64_t i = 0; i < 4; ++i) {
            Ix row = (direction * int64_t(info.gates) + gate) * shape.padded + d + i;
            Value w = load(weights, row * shape.hidden + safe);
            for (int64_t r = 0; r < shape.rows; ++r)
              acc[g * shape.rows + r] = k.fma(w, lines[r][i], acc[g * shape.rows + r]);
          }
        return acc;
      });
      auto part = [&](int64_t i, int64_t s) { return k.thread + (i * shape.threads() + s * shape.units); };
      if (shape.slices > 1) {
        for (int64_t i = 0; i < count * shape.rows; ++i)
          k.store(parts, part(i, 0), sums[i]);
        k.barrier();
      }
      k.ifThen(k.land(slice == 0, unit < k.c(shape.hidden)), [&] {
        for (int64_t r = 0; r < shape.rows; ++r) {
          SmallVector<Value> total;
          for (int64_t g = 0; g < count; ++g) {
            Value sum = sums[g * shape.rows + r];
            for (int64_t s = 1; s < shape.slices; ++s)
              sum = cpu::fadd(k, sum, k.load(parts, part(g * shape.rows + r, s)));
            total.push_back(sum);
          }
          finish(r, unit, total);
        }
      });
      if (shape.slices > 1)
        k.barrier(); // before the parts of the next product
    }
  }

  void step(Ix t) {
    cpu::Cell cell(k, info, direction);
    Ix now = hiddenAt(t, 0), gateCount = k.c(int64_t(info.gates));
    /// The input's part of a gate.
    auto input = [&](int64_t r, Ix unit, int64_t gate) {
      Ix position = cell.position(t, rows[r].length).max(k.c(0));
      Ix row = (direction * steps + position) * batch + rows[r].safe;
      return k.load(projected, (row * gateCount + gate) * shape.hidden + unit);
    };
    auto old = [&](int64_t r, Ix unit) { return k.load(h, now + r * shape.padded + unit); };
    auto store = [&](int64_t r, Ix unit, Value next, Value nextC) {
      const Row &row = rows[r];
      Value takesPart = info.lengths ? Value(t < row.length) : Value();
      auto kept = [&](Value fresh, Value before) { return takesPart ? k.select(takesPart, fresh, before) : fresh; };
      k.store(h, hiddenAt(t + 1, r) + unit, kept(next, old(r, unit)));
      if (nextC) {
        Ix at = unit + r * shape.hidden;
        k.store(c, at, kept(nextC, k.load(c, at)));
      }
      // Steps behind the end of a sequence give zeros.
      Ix position = cell.position(t, row.length);
      if (takesPart)
        position = k.selectIx(takesPart, position, t);
      k.ifThen(inBatch(row), [&] {
        k.store(y, ((position * int64_t(info.directions) + direction) * batch + row.n) * shape.hidden + unit,
                k.fromFloat(kept(next, k.f32(0)), y.valueType));
      });
    };
    auto add = [&](Value a, Value b) { return cell.add(a, b); };

    switch (info.kind) {
    case Recurrent::LSTM:
      product({0, 1, 2, 3}, h, now, [&](int64_t r, Ix unit, ArrayRef<Value> sums) {
        Value gates[4], p[3] = {};
        for (int64_t g = 0; g < 4; ++g)
          gates[g] = add(input(r, unit, g), sums[g]);
        for (int64_t g = 0; info.peephole && g < 3; ++g)
          p[g] = load(peephole, (direction * 3 + g) * shape.hidden + unit);
        Value before = k.load(c, unit + r * shape.hidden);
        auto [nextC, nextH] = cell.lstm(gates[0], gates[1], gates[2], gates[3], before, p[0], p[1], p[2]);
        store(r, unit, nextH, nextC);
      });
      break;
    case Recurrent::GRU:
      if (hasTwoPasses()) {
        product({0, 1}, h, now, [&](int64_t r, Ix unit, ArrayRef<Value> sums) {
          k.store(update, unit + r * shape.hidden, cell.activate(0, add(input(r, unit, 0), sums[0])));
          Value reset = cell.activate(0, add(input(r, unit, 1), sums[1]));
          k.store(resetH, unit + r * shape.padded, cell.mul(reset, old(r, unit)));
        });
        k.barrier();
        product({2}, resetH, k.c(0), [&](int64_t r, Ix unit, ArrayRef<Value> sums) {
          Value n = cell.activate(1, add(input(r, unit, 2), sums[0]));
          store(r, unit, cell.gru(k.load(update, unit + r * shape.hidden), n, old(r, unit)), {});
        });
        break;
      }
      product({0, 1, 2}, h, now, [&](int64_t r, Ix unit, ArrayRef<Value> sums) {
        Value z = cell.activate(0, add(input(r, unit, 0), sums[0]));
        Value reset = cell.activate(0, add(input(r, unit, 1), sums[1])), recurrent = sums[2];
        if (info.bias)
          recurrent = add(recurrent, load(bias, (direction * 6 + 5) * shape.hidden + unit));
        Value n = cell.activate(1, add(input(r, unit, 2), cell.mul(reset, recurrent)));
        store(r, unit, cell.gru(z, n, old(r, unit)), {});
      });
      break;
    case Recurrent::RNN:
      product({0}, h, now, [&](int64_t r, Ix unit, ArrayRef<Value> sums) {
        store(r, unit, cell.activate(0, add(input(r, unit, 0), sums[0])), {});
      });
      break;
    }
    k.barrier(); // h of the step is there
  }

  void finish() {
    forStates([&](int64_t r, Ix unit) {
      k.ifThen(inBatch(rows[r]), [&] {
        k.store(yH, stateOf(rows[r], unit), k.fromFloat(k.load(h, hiddenAt(steps, r) + unit), yH.valueType));
        if (info.yC)
          k.store(yC, stateOf(rows[r], unit), k.fromFloat(k.load(c, unit + r * shape.hidden), yC.valueType));
      });
    });
  }

  const Recurrent &info;
  Shape shape;
  Lowering &l;
  Kernel k;
  Buffer projected, weights, bias, lengths, initialH, initialC, peephole, y, yH, yC;
  Buffer h, c, update, resetH, parts; // shared
  Ix direction, slice, steps, batch;
  SmallVector<Row> rows;
};

LogicalResult emit(Operation *op, Lowering &l) {
  Recurrent info(op, l);
  TempTensor inputs = projectInputs(info, op, l);
  Recurrence(info, op, l, inputs).emit();
  return success();
}

RegisterEmitter lstm({"nn.lstm", "cuda-lstm", 10, match, emit});
RegisterEmitter gru({"nn.gru", "cuda-gru", 10, match, emit});
RegisterEmitter rnn({"nn.rnn", "cuda-rnn", 10, match, emit});

} // namespace
} // namespace nnopt::cuda
