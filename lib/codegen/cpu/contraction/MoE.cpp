//===- MoE.cpp - mixtures of experts, both products of an expert at once --===//
//
// A task is a few rows. A thread takes its rows in blocks: for each expert it lists the rows of the
// block that have a score for it, and computes them in tiles, whose hidden layer stays in the first
// level cache between the two products. Rows are reached by pointers, so that nothing is gathered or
// scattered, and weights that are in the cache serve all rows of a block. No two threads add to the
// same row.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/contraction/ExpertPanels.h"
#include "lib/codegen/cpu/contraction/Reference.h"
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// Rows of a task, and of a block that is listed at once.
constexpr int64_t taskRows = 8, blockRows = 128;

struct Mixture {
  Kernel &k;
  nn::MoEOp op;
  nn::Dim rows, experts, hidden, in, out;
  Buffer x, score, result;
  std::optional<Buffer> bias1, bias3, bias;

  Mixture(Kernel &k, nn::MoEOp op) : k(k), op(op) {
    Lowering &l = k.lowering;
    const nn::Dims &dims = l.dims(op.getX()), &w2 = l.dims(op.getW2());
    rows = l.product(dims, 0, dims.size() - 1);
    in = dims.back();
    experts = w2[0];
    out = w2[1];
    hidden = w2[2];
    x = k.read(op.getX());
    score = k.read(op.getScore());
    auto readBias = [&](Value v) {
      return v ? std::optional<Buffer>(k.read(v)) : std::optional<Buffer>();
    };
    bias1 = readBias(op.getBias1());
    bias3 = readBias(op.getBias3());
    bias = readBias(op.getBias());
    result = k.write(op.getResult());
    int64_t products = op.getW3() ? 2 : 1;
    k.flops = rows * experts * hidden * (in * products + out) * 2;
    k.bytes = rows * (in + out) * nn::elementBytes(x.valueType);
  }

  /// Anything but zero, NaN too.
  Value isChosen(Value s) {
    return arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UNE, s,
                                 k.constant(s.getType(), 0));
  }
};

//===----------------------------------------------------------------------===//
// Plain loops
//===----------------------------------------------------------------------===//

LogicalResult emitReference(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MoEOp>(operation);
  Kernel k(lowering, op, "moe_loops");
  Mixture m(k, op);
  Buffer w1 = k.read(op.getW1()), w2 = k.read(op.getW2());
  std::optional<Buffer> w3;
  if (op.getW3())
    w3 = k.read(op.getW3());
  Type element = m.x.valueType, accType = element.isF64() ? element : Type(k.b.getF32Type());
  Buffer sums = k.at(k.scratch(m.out * nn::elementBytes(accType)), accType);
  Ix in = k.dim(m.in), out = k.dim(m.out), hidden = k.dim(m.hidden), experts = k.dim(m.experts);
  forTasks(k, [&](Ix row) {
    k.loop(k.c(0), out, 1, [&](Ix o) {
      k.store(sums, o, m.bias ? loadAs(k, *m.bias, o, accType) : k.constant(accType, 0));
    });
    k.loop(k.c(0), experts, 1, [&](Ix e) {
      Value score = loadAs(k, m.score, row * experts + e, accType);
      k.ifThen(m.isChosen(score), [&] {
        k.loop(k.c(0), hidden, 1, [&](Ix j) {
          Ix unit = e * hidden + j;
          auto product = [&](const Buffer &w, const std::optional<Buffer> &bias) {
            Value start = bias ? loadAs(k, *bias, unit, accType) : k.constant(accType, 0);
            Value sum = dotProduct(k, m.x, row * in, k.c(1), w, unit * in, k.c(1), in, start);
            return k.fromFloat(sum, element);
          };
          SmallVector<Value> args{product(w1, m.bias1)};
          if (w3)
            args.push_back(product(*w3, m.bias3));
          Value h = k.toFloat(k.inlineScalarRegion(op.getActivation(), args)[0]);
          h = arith::MulFOp::create(k.b, k.loc, h, score);
          k.loop(k.c(0), out, 1, [&](Ix o) {
            Value w = loadAs(k, w2, (e * out + o) * hidden + j, accType);
            k.store(sums, o, addProduct(k, h, w, k.load(sums, o)));
          });
        });
      });
    });
    k.loop(k.c(0), out, 1, [&](Ix o) {
      k.store(m.result, row * out + o, k.fromFloat(k.load(sums, o), element));
    });
  });
  lowering.launch(k, m.rows);
  return success();
}

//===----------------------------------------------------------------------===//
// Register tiles
//===----------------------------------------------------------------------===//

bool matchFast(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MoEOp>(operation);
  Type type = lowering.shapes.info(op.getX()).elementType;
  auto isKnown = [&](Value w) { return !w || ExpertPanels::fits(w, lowering); };
  return (type.isF32() || type.isF64()) && isKnown(op.getW1()) && isKnown(op.getW2()) &&
         isKnown(op.getW3());
}

class FastMixture : Mixture {
public:
  FastMixture(Kernel &k, nn::MoEOp op, Tile tile)
      : Mixture(k, op), tile(tile), element(x.valueType), bytes(nn::elementBytes(element)),
        w1(k, op.getW1(), tile), w2(k, op.getW2(), tile) {
    if (op.getW3())
      w3.emplace(k, op.getW3(), tile);
    middle = k.scratch(k.lowering.c(tile.mr * w1.padded() * bytes));
    if (w3)
      other = k.scratch(k.lowering.c(tile.mr * w1.padded() * bytes));
    list = k.at(k.scratch(k.lowering.c(blockRows * 8)), k.b.getI64Type());
  }

  void emit() {
    Ix last = (k.end * taskRows).min(k.dim(rows));
    k.loop(k.begin * taskRows, last, blockRows, [&](Ix low) {
      Ix high = (low + blockRows).min(last);
      k.loop(low, high, 1, [&](Ix row) { startRow(row); });
      k.loop(k.c(0), k.dim(experts), 1, [&](Ix expert) { addExpert(expert, low, high); });
    });
    k.grain = taskGrain(double(taskRows) * w1.columns * (w1.depth + w2.columns) *
                            double(constantDim(experts).value_or(8)),
                        0);
    k.lowering.launch(k, rows.ceilDiv(taskRows));
  }

private:
  Value load(const Buffer &buffer, Ix at, Value mask) {
    return mask ? k.loadMasked(buffer, at, tile.lanes, mask) : k.load(buffer, at, tile.lanes);
  }

  void startRow(Ix row) {
    w2.forEach(k, [&](Ix column, int64_t vectors) {
      for (int64_t v = 0; v < vectors; ++v) {
        Value mask = w2.mask(k, column, v, vectors);
        Ix at = column + v * tile.lanes;
        Value value = bias ? load(*bias, at, mask) : k.constant(k.vec(tile.lanes, element), 0);
        store(row * w2.columns + at, value, mask);
      }
    });
  }
  void store(Ix at, Value value, Value mask) {
    if (mask)
      k.storeMasked(result, at, value, mask);
    else
      k.store(result, at, value);
  }

  void addExpert(Ix expert, Ix low, Ix high) {
    Ix all = k.dim(experts);
    Value found = k.loop(low, high, 1, {k.c(0)}, [&](Ix row, ValueRange in) {
      Ix count(&k, in[0]);
      k.store(list, count, row);
      Value chosen = isChosen(k.load(score, row * all + expert));
      return SmallVector<Value>{count + k.selectIx(chosen, k.c(1), k.c(0))};
    })[0];
    forPieces(k, Ix(&k, found), tile.mr, [&](Ix i, int64_t height) { addTile(expert, i, height); });
  }

  /// Adds an expert's results to `height` rows of the list.
  void addTile(Ix expert, Ix first, int64_t height) {
    SmallVector<Ix> places;
    SmallVector<Value> inputs, middles;
    for (int64_t i = 0; i < height; ++i) {
      places.push_back(Ix(&k, k.load(list, first + i)));
      inputs.push_back(k.ptrAdd(x.ptr, places[i] * w1.depth, element));
      middles.push_back(k.ptrAdd(middle, k.c(i * w1.padded()), element));
    }
    Buffer hidden = k.at(middle, element);
    auto hiddenLayer = [&](const ExpertPanels &w, const std::optional<Buffer> &biases, bool isLast) {
      w.forEach(k, [&](Ix column, int64_t vectors) {
        SmallVector<Value> start;
        for (int64_t v = 0; v < vectors; ++v)
          start.push_back(biases ? load(*biases, expert * w.columns + column + v * tile.lanes,
                                        w.mask(k, column, v, vectors))
                                 : k.constant(k.vec(tile.lanes, element), 0));
        SmallVector<Value> tileStart;
        for (int64_t i = 0; i < height; ++i)
          tileStart.append(start);
        SmallVector<Value> sums = w.accumulate(k, expert, column, vectors, inputs, tileStart);
        // The first of two layers waits in `hidden` for the second one. In a loop, since activations
        // may be long.
        Buffer second = isLast && w3 ? k.at(other, element) : hidden;
        for (int64_t i = 0; i < height; ++i)
          for (int64_t v = 0; v < vectors; ++v)
            k.store(second, column + (i * w.padded() + v * tile.lanes), sums[i * vectors + v]);
        if (!isLast)
          return;
        k.loop(k.c(0), k.c(height), 1, [&](Ix i) {
          Ix place(&k, k.load(list, first + i));
          Value factor = k.splat(k.load(score, place * k.dim(experts) + expert), tile.lanes);
          for (int64_t v = 0; v < vectors; ++v) {
            Ix at = column + i * w.padded() + v * tile.lanes;
            SmallVector<Value> args{k.load(hidden, at, tile.lanes)};
            if (w3)
              args.push_back(k.load(second, at, tile.lanes));
            Value unit = k.inlineScalarRegion(op.getActivation(), args)[0];
            k.store(hidden, at, arith::MulFOp::create(k.b, k.loc, unit, factor));
          }
        });
      });
    };
    hiddenLayer(w1, bias1, !w3);
    if (w3)
      hiddenLayer(*w3, bias3, true);
    w2.forEach(k, [&](Ix column, int64_t vectors) {
      SmallVector<Value> masks, sums;
      for (int64_t v = 0; v < vectors; ++v)
        masks.push_back(w2.mask(k, column, v, vectors));
      auto at = [&](int64_t i, int64_t v) {
        return places[i] * w2.columns + column + v * tile.lanes;
      };
      for (int64_t i = 0; i < height; ++i)
        for (int64_t v = 0; v < vectors; ++v)
          sums.push_back(load(result, at(i, v), masks[v]));
      sums = w2.accumulate(k, expert, column, vectors, middles, sums);
      for (int64_t i = 0; i < height; ++i)
        for (int64_t v = 0; v < vectors; ++v)
          store(at(i, v), sums[i * vectors + v], masks[v]);
    });
  }

  Tile tile;
  Type element;
  int64_t bytes;
  ExpertPanels w1, w2;
  std::optional<ExpertPanels> w3;
  Value middle, other; // the hidden layer of a tile, and what w3 makes
  Buffer list;  // rows that chose an expert
};

LogicalResult emitFast(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MoEOp>(operation);
  const nn::Dims &w1 = lowering.dims(op.getW1());
  Kernel k(lowering, op,
           "moe_" + dimText(w1[0]) + "x" + dimText(w1[1]) + "x" + dimText(w1[2]) + "x" +
               dimText(lowering.dims(op.getResult()).back()));
  Type element = lowering.shapes.info(op.getX()).elementType;
  Tile tile = expertTile(lowering.target, w1[1].value(), nn::elementBytes(element));
  FastMixture(k, op, tile).emit();
  return success();
}

RegisterEmitter reference({"nn.moe", "moe-loops", 0, nullptr, emitReference});
RegisterEmitter fast({"nn.moe", "moe", 10, matchFast, emitFast});

} // namespace
} // namespace nnopt::cpu
