//===- GroupedMatMul.cpp - rows times the matrices that are chosen for them ===//
//
// A task is a panel of results of one group: it lists the places that chose the group, then runs over them in tiles,
// so that a panel that is in cache serves all of its rows, and a panel that nobody chose is not read. Neighbouring tasks
// are of different groups: what few rows choose spreads over the threads. Constant weights are packed for register
// tiles; others are [groups, n, k]: a result is a product of two contiguous vectors.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/contraction/ExpertPanels.h"
#include "lib/codegen/cpu/contraction/Reference.h"
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// Results of a panel: its weights stay in the second level cache.
constexpr int64_t panelColumns = 64;

struct Grouped {
  Kernel &k;
  nn::GroupedMatMulOp op;
  nn::Dim places, choices, groups, columns, depth;
  Buffer x, group, out;
  Type accType;

  Grouped(Kernel &k, nn::GroupedMatMulOp op) : k(k), op(op) {
    Lowering &l = k.lowering;
    choices = l.dims(op.getGroup())[1];
    places = l.dims(op.getGroup())[0] * choices;
    groups = l.dims(op.getW())[0];
    columns = l.dims(op.getW())[1];
    depth = l.dims(op.getW())[2];
    x = k.read(op.getX());
    group = k.read(op.getGroup());
    out = k.write(op.getResult());
    accType = isa<FloatType>(x.valueType) && !x.valueType.isF64() ? Type(k.b.getF32Type()) : x.valueType;
    k.flops = places * columns * depth * 2;
  }

  Ix groupOf(Ix place) { return k.toIndex(k.load(group, place), group.isUnsigned); }
  /// Offset of the row of x that a place reads.
  Ix rowOf(Ix place) {
    bool perChoice = k.lowering.dims(op.getX()).size() == 3;
    return (perChoice ? place : place / k.dim(choices)) * k.dim(depth);
  }
};

LogicalResult emitReference(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::GroupedMatMulOp>(operation);
  Kernel k(lowering, op, "grouped_matmul_loops");
  Grouped g(k, op);
  Buffer w = k.read(op.getW());
  Ix columns = k.dim(g.columns), depth = k.dim(g.depth);
  forTasks(k, [&](Ix place) {
    Ix matrix = g.groupOf(place) * columns * depth, row = g.rowOf(place);
    k.loop(k.c(0), columns, 1, [&](Ix j) {
      Value sum = dotProduct(k, g.x, row, k.c(1), w, matrix + j * depth, k.c(1), depth, k.constant(g.accType, 0));
      k.store(g.out, place * columns + j, k.fromFloat(k.toFloat(sum), g.out.valueType));
    });
  });
  lowering.launch(k, g.places);
  return success();
}

bool matchFast(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::GroupedMatMulOp>(operation);
  Type type = lowering.shapes.info(op.getX()).elementType;
  return (type.isF32() || type.isF64()) && lowering.shapes.info(op.getW()).elementType == type;
}

/// Runs `panel(group, first column, end of the columns, list of places, how many)` for every task, and launches.
void launchPanels(Grouped &g, function_ref<void(Ix, Ix, Ix, const Buffer &, Ix)> panel) {
  Kernel &k = g.k;
  Buffer list = k.at(k.scratch(g.places * 8), k.b.getI64Type());
  Ix groups = k.dim(g.groups);
  forTasks(k, [&](Ix task) {
    Ix own = task % groups, first = task / groups * panelColumns;
    Value found = k.loop(k.c(0), k.dim(g.places), 1, {k.c(0)}, [&](Ix place, ValueRange in) {
      Ix count(&k, in[0]);
      k.store(list, count, place);
      return SmallVector<Value>{count + k.selectIx(g.groupOf(place) == own, k.c(1), k.c(0))};
    })[0];
    panel(own, first, (first + panelColumns).min(k.dim(g.columns)), list, Ix(&k, found));
  });
  double rows = double(constantDim(g.places).value_or(16)) / constantDim(g.groups).value_or(8);
  double depthSize = constantDim(g.depth).value_or(512);
  k.bytes = (k.lowering.numElements(g.op.getX()) + k.lowering.numElements(g.op.getResult())) *
            int64_t(g.accType.getIntOrFloatBitWidth() / 8);
  k.grain = taskGrain(2 * rows * panelColumns * depthSize, 4 * std::min(rows, 1.0) * panelColumns * depthSize);
  k.lowering.launch(k, g.groups * g.columns.ceilDiv(panelColumns));
}

/// Products of `rows` rows of x (offsets) and `columns` rows of w from `wRow` on, stored at out[i] + column + j.
void emitTile(Grouped &g, const Buffer &w, ArrayRef<Ix> rows, ArrayRef<Ix> outs, Ix wRow, Ix column, int64_t columns) {
  Kernel &k = g.k;
  int64_t lanes = k.target().lanes(g.accType.getIntOrFloatBitWidth() / 8), count = int64_t(rows.size()) * columns;
  Ix depth = k.dim(g.depth), whole = depth / lanes * lanes;
  auto step = [&](Ix at, int64_t width, ValueRange in) {
    auto load = [&](const Buffer &buffer, Ix offset) { return width ? k.load(buffer, offset, width) : k.load(buffer, offset); };
    SmallVector<Value> a, next;
    for (Ix row : rows)
      a.push_back(load(g.x, row + at));
    for (int64_t j = 0; j < columns; ++j) {
      Value b = load(w, wRow + depth * j + at);
      for (size_t i = 0; i < rows.size(); ++i)
        next.push_back(k.fma(a[i], b, in[next.size()]));
    }
    return next;
  };
  SmallVector<Value> zeros(count, k.constant(k.vec(lanes, g.accType), 0));
  SmallVector<Value> sums = k.loop(k.c(0), whole, lanes, zeros, [&](Ix t, ValueRange in) { return step(t, lanes, in); });
  for (Value &v : sums)
    v = vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::ADD, v, arith::FastMathFlags::reassoc);
  sums = k.loop(whole, depth, 1, sums, [&](Ix t, ValueRange in) { return step(t, 0, in); });
  for (int64_t j = 0; j < columns; ++j)
    for (size_t i = 0; i < rows.size(); ++i)
      k.store(g.out, outs[i] + column + j, sums[j * rows.size() + i]);
}

LogicalResult emitFast(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::GroupedMatMulOp>(operation);
  Kernel k(lowering, op, "grouped_matmul");
  Grouped g(k, op);
  Buffer w = k.read(op.getW());
  Ix columns = k.dim(g.columns), depth = k.dim(g.depth);
  launchPanels(g, [&](Ix own, Ix first, Ix end, const Buffer &list, Ix count) {
    auto tiles = [&](Ix low, Ix high, int64_t height, int64_t width) {
      k.loop(low, high, height, [&](Ix i) {
        SmallVector<Ix> rows, outs;
        for (int64_t r = 0; r < height; ++r) {
          Ix place(&k, k.load(list, i + r));
          rows.push_back(g.rowOf(place));
          outs.push_back(place * columns);
        }
        Ix wide = first + (end - first) / width * width;
        auto column = [&](Ix j, int64_t count) { emitTile(g, w, rows, outs, (own * columns + j) * depth, j, count); };
        k.loop(first, wide, width, [&](Ix j) { column(j, width); });
        k.loop(wide, end, 1, [&](Ix j) { column(j, 1); });
      });
    };
    // 16 or 8 sums at a time hide the latency of multiply-adds; a row by itself is bound by memory.
    Ix whole = count / 4 * 4;
    tiles(k.c(0), whole, 4, 4);
    tiles(whole, count, 1, 8);
  });
  return success();
}

bool matchPacked(Operation *operation, Lowering &lowering) {
  return matchFast(operation, lowering) && ExpertPanels::fits(cast<nn::GroupedMatMulOp>(operation).getW(), lowering);
}

LogicalResult emitPacked(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::GroupedMatMulOp>(operation);
  Kernel k(lowering, op, "grouped_matmul_packed");
  Grouped g(k, op);
  int64_t bytes = nn::elementBytes(g.x.valueType);
  ExpertPanels w(k, op.getW(), expertTile(lowering.target, g.columns.value(), bytes));
  int64_t lanes = w.tile.lanes;
  Value zero = k.constant(k.vec(lanes, g.x.valueType), 0);
  launchPanels(g, [&](Ix own, Ix first, Ix end, const Buffer &list, Ix count) {
    w.forEach(k, first, end, [&](Ix column, int64_t vectors) {
      forPieces(k, count, w.tile.mr, [&](Ix i, int64_t height) {
        SmallVector<Value> rows;
        SmallVector<Ix> outs;
        for (int64_t r = 0; r < height; ++r) {
          Ix place(&k, k.load(list, i + r));
          rows.push_back(k.ptrAdd(g.x.ptr, g.rowOf(place), g.x.valueType));
          outs.push_back(place * w.columns + column);
        }
        SmallVector<Value> sums =
            w.accumulate(k, own, column, vectors, rows, SmallVector<Value>(height * vectors, zero));
        for (int64_t r = 0; r < height; ++r)
          for (int64_t v = 0; v < vectors; ++v) {
            Ix at = outs[r] + v * lanes;
            Value mask = w.mask(k, column, v, vectors);
            if (mask)
              k.storeMasked(g.out, at, sums[r * vectors + v], mask);
            else
              k.store(g.out, at, sums[r * vectors + v]);
          }
      });
    });
  });
  return success();
}

RegisterEmitter reference({"nn.grouped_matmul", "grouped-matmul-loops", 0, nullptr, emitReference});
RegisterEmitter fast({"nn.grouped_matmul", "grouped-matmul", 10, matchFast, emitFast});
RegisterEmitter packed({"nn.grouped_matmul", "grouped-matmul-packed", 20, matchPacked, emitPacked});

} // namespace
} // namespace nnopt::cpu
