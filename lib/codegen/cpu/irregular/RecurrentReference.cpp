//===- RecurrentReference.cpp - lstm, gru, rnn by plain loops -------------===//
//
// One task is one sequence in one direction. Sums and states are kept in f32 (f64 for f64).
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/Recurrent.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

class ReferenceEmitter {
public:
  ReferenceEmitter(Operation *op, Lowering &lowering)
      : info(op, lowering), lowering(lowering), k(lowering, op, op->getName().stripDialect().str() + "_reference") {}

  void emit() {
    x = k.read(info.x), w = k.read(info.w), r = k.read(info.r);
    auto optional = [&](Value v) { return v ? std::optional<Buffer>(k.read(v)) : std::nullopt; };
    bias = optional(info.bias), lengths = optional(info.lengths), initialH = optional(info.initialH);
    initialC = optional(info.initialC), peephole = optional(info.peephole);
    y = k.write(info.y), yH = k.write(info.yH);
    if (info.yC)
      yC = k.write(info.yC);

    type = x.valueType.isF64() ? x.valueType : Type(k.b.getF32Type());
    H = k.dim(info.hidden), I = k.dim(info.input), batch = k.dim(info.batch);
    // h, c, one line for each gate, and one for gru's recurrent part of the last gate.
    nn::Dim lines = info.hidden * int64_t(info.gates + 3) * int64_t(type.getIntOrFloatBitWidth() / 8);
    h = k.at(k.scratch(lines), type);
    c = line(1), gates = line(2), extra = line(2 + info.gates);
    forTasks(k, [&](Ix task) { sequence(task / batch, task % batch); });
    lowering.launch(k, info.batch * int64_t(info.directions));
  }

private:
  Buffer line(int64_t n) { return k.at(k.ptrAdd(h.ptr, H * n, type), type); }
  Value load(const Buffer &buf, Ix at) {
    Value v = k.toFloat(k.load(buf, at));
    return v;
  }
  Value zero() { return k.constant(type, 0); }

  /// sum + a[aBase + i] * b[bBase + i] over i < n.
  Value dot(Value sum, const Buffer &a, Ix aBase, const Buffer &b, Ix bBase, Ix n) {
    return k.loop(k.c(0), n, 1, {sum}, [&](Ix i, ValueRange state) {
      return SmallVector<Value>{k.fma(load(a, aBase + i), load(b, bBase + i), state[0])};
    })[0];
  }

  void sequence(Ix direction, Ix n) {
    Cell cell(k, info, direction);
    Ix steps = k.dim(info.sequence), length = steps;
    if (lengths)
      length = k.toIndex(k.load(*lengths, n)).min(steps).max(k.c(0));
    Ix state = (direction * batch + n) * H;
    k.loop(k.c(0), H, 1, [&](Ix j) {
      k.store(h, j, initialH ? load(*initialH, state + j) : zero());
      k.store(c, j, initialC ? load(*initialC, state + j) : zero());
    });
    auto output = [&](Ix position, Ix j) { return ((position * int64_t(info.directions) + direction) * batch + n) * H + j; };
    k.loop(k.c(0), length, 1, [&](Ix t) {
      Ix position = cell.position(t, length);
      sums(direction, (position * batch + n) * I);
      step(cell, direction);
      k.loop(k.c(0), H, 1, [&](Ix j) {
        k.store(y, output(position, j), k.fromFloat(k.load(h, j), x.valueType));
      });
    });
    // Steps behind the end of a sequence give zeros.
    k.loop(length, steps, 1, [&](Ix t) {
      k.loop(k.c(0), H, 1, [&](Ix j) { k.store(y, output(t, j), k.constant(x.valueType, 0)); });
    });
    k.loop(k.c(0), H, 1, [&](Ix j) {
      k.store(yH, state + j, k.fromFloat(k.load(h, j), x.valueType));
      if (yC)
        k.store(*yC, state + j, k.fromFloat(k.load(c, j), x.valueType));
    });
  }

  /// Sums of all gates before activation; the last gate of gru without its recurrent part.
  void sums(Ix direction, Ix xBase) {
    for (unsigned g = 0; g < info.gates; ++g)
      k.loop(k.c(0), H, 1, [&](Ix j) {
        Ix row = direction * int64_t(info.gates) * H + H * int64_t(g) + j;
        Value wBias = zero(), rBias = zero();
        if (bias) {
          Ix at = direction * int64_t(2 * info.gates) * H + H * int64_t(g) + j;
          wBias = load(*bias, at), rBias = load(*bias, at + H * int64_t(info.gates));
        }
        Value sum = dot(wBias, x, xBase, w, row * I, I);
        bool lastOfGru = info.kind == Recurrent::GRU && g == 2;
        if (lastOfGru && !info.linearBeforeReset) {
          k.store(gates, H * int64_t(g) + j, arith::AddFOp::create(k.b, k.loc, sum, rBias));
          return;
        }
        Value recurrent = dot(rBias, h, k.c(0), r, row * H, H);
        if (lastOfGru) {
          k.store(gates, H * int64_t(g) + j, sum);
          k.store(extra, j, recurrent);
          return;
        }
        k.store(gates, H * int64_t(g) + j, arith::AddFOp::create(k.b, k.loc, sum, recurrent));
      });
  }

  void step(Cell &cell, Ix direction) {
    auto gate = [&](int64_t g, Ix j) { return k.load(gates, H * g + j); };
    switch (info.kind) {
    case Recurrent::LSTM:
      k.loop(k.c(0), H, 1, [&](Ix j) {
        Value p[3] = {};
        for (int64_t g = 0; peephole && g < 3; ++g)
          p[g] = load(*peephole, (direction * 3 + g) * H + j);
        auto [nextC, nextH] = cell.lstm(gate(0, j), gate(1, j), gate(2, j), gate(3, j), k.load(c, j), p[0], p[1], p[2]);
        k.store(c, j, nextC);
        k.store(h, j, nextH);
      });
      return;
    case Recurrent::GRU:
      if (!info.linearBeforeReset) {
        k.loop(k.c(0), H, 1, [&](Ix j) { k.store(extra, j, cell.mul(cell.activate(0, gate(1, j)), k.load(h, j))); });
        k.loop(k.c(0), H, 1, [&](Ix j) {
          Ix row = (direction * 3 + 2) * H + j;
          k.store(gates, H * 2 + j, dot(gate(2, j), extra, k.c(0), r, row * H, H));
        });
      }
      k.loop(k.c(0), H, 1, [&](Ix j) {
        Value sum = gate(2, j);
        if (info.linearBeforeReset)
          sum = cell.add(sum, cell.mul(cell.activate(0, gate(1, j)), k.load(extra, j)));
        k.store(h, j, cell.gru(cell.activate(0, gate(0, j)), cell.activate(1, sum), k.load(h, j)));
      });
      return;
    case Recurrent::RNN:
      k.loop(k.c(0), H, 1, [&](Ix j) { k.store(h, j, cell.activate(0, gate(0, j))); });
      return;
    }
  }

  Recurrent info;
  Lowering &lowering;
  Kernel k;
  Buffer x, w, r, y, yH;
  std::optional<Buffer> bias, lengths, initialH, initialC, peephole, yC;
  Buffer h, c, gates, extra;
  Type type;
  Ix H, I, batch;
};

bool match(Operation *op, Lowering &lowering) {
  return llvm::all_of(Recurrent(op, lowering).activations, [](StringRef name) { return isKnownActivation(name); });
}

LogicalResult emit(Operation *op, Lowering &lowering) {
  ReferenceEmitter(op, lowering).emit();
  return success();
}

RegisterEmitter lstm({"nn.lstm", "lstm-reference", 0, match, emit});
RegisterEmitter gru({"nn.gru", "gru-reference", 0, match, emit});
RegisterEmitter rnn({"nn.rnn", "rnn-reference", 0, match, emit});

} // namespace
} // namespace nnopt::cpu
