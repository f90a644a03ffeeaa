//===- NonMaxSuppression.cpp - boxes that overlap no better box -----------===//
//
// One task is a class of an image: candidates are taken from a heap, best first, until enough are
// selected. The heap shrinks from its end by one for each candidate, and at most one is selected, so the
// selected boxes are kept behind it, in reverse. How many there are is known then, and with it the size of
// the result, which a second kernel writes.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/IndexHeap.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// Corners of a box.
struct Box {
  Value low[2], high[2];
};

struct Suppression {
  Kernel &k;
  nn::NonMaxSuppressionOp op;
  Buffer boxes;

  Value add(Value a, Value b) { return arith::AddFOp::create(k.b, k.loc, a, b); }
  Value sub(Value a, Value b) { return arith::SubFOp::create(k.b, k.loc, a, b); }
  Value mul(Value a, Value b) { return arith::MulFOp::create(k.b, k.loc, a, b); }
  Value smaller(Value a, Value b) { return arith::MinimumFOp::create(k.b, k.loc, a, b); }
  Value larger(Value a, Value b) { return arith::MaximumFOp::create(k.b, k.loc, a, b); }
  Value above(Value a, Value b) { return greater(k, a, b, false); }

  Box box(Ix index) {
    Value v[4];
    for (int i = 0; i < 4; ++i)
      v[i] = k.load(boxes, index * 4 + i);
    Box result;
    for (int d = 0; d < 2; ++d) {
      if (op.getCenterPointBox()) {
        Value half = mul(v[2 + d], k.constant(v[0].getType(), 0.5));
        result.low[d] = sub(v[d], half);
        result.high[d] = add(v[d], half);
      } else {
        result.low[d] = smaller(v[d], v[2 + d]);
        result.high[d] = larger(v[d], v[2 + d]);
      }
    }
    return result;
  }
  Value area(const Box &b) { return mul(sub(b.high[0], b.low[0]), sub(b.high[1], b.low[1])); }

  /// Whether the intersection of two boxes over their union is above the threshold. Boxes without area, and
  /// boxes that do not meet, never overlap.
  Value overlaps(const Box &a, const Box &b, Value threshold) {
    Value zero = k.constant(threshold.getType(), 0), meet, intersection;
    for (int d = 0; d < 2; ++d) {
      Value side = sub(smaller(a.high[d], b.high[d]), larger(a.low[d], b.low[d]));
      meet = meet ? k.land(meet, above(side, zero)) : above(side, zero);
      intersection = intersection ? mul(intersection, side) : side;
    }
    Value areaA = area(a), areaB = area(b), both = sub(add(areaA, areaB), intersection);
    for (Value v : {areaA, areaB, both})
      meet = k.land(meet, above(v, zero));
    Value ratio = arith::DivFOp::create(k.b, k.loc, intersection, both);
    return k.land(meet, above(ratio, threshold));
  }
};

LogicalResult emitSuppression(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::NonMaxSuppressionOp>(operation);
  nn::Dims scoreDims = lowering.dims(op.getScores());
  nn::Dim images = scoreDims[0], classes = scoreDims[1], boxCount = scoreDims[2], rows = images * classes;
  nn::Dim found = lowering.dims(op.getResult())[0];
  Type i64 = IntegerType::get(op.getContext(), 64);
  TempTensor candidates = lowering.temp(i64, {rows, boxCount}), counts = lowering.temp(i64, {rows});
  {
    Kernel k(lowering, op, "non_max_suppression");
    Suppression rule{k, op, k.read(op.getBoxes())};
    Buffer scores = k.read(op.getScores());
    Type type = scores.valueType;
    auto number = [&](Value v) { return v ? k.load(k.read(v), k.c(0)) : Value(); };
    Ix most = k.c(0);
    if (op.getMaxBoxes()) {
      Buffer in = k.read(op.getMaxBoxes());
      most = k.toIndex(k.load(in, k.c(0)), in.isUnsigned);
    }
    Value iou = number(op.getIouThreshold()), least = number(op.getScoreThreshold());
    if (!iou)
      iou = k.constant(type, 0);
    Buffer memory = k.write(candidates), selectedCounts = k.write(counts);
    Ix n = k.dim(boxCount);
    forTasks(k, [&](Ix row) {
      Ix base = row * n, firstBox = row / k.dim(classes) * n;
      auto score = [&](Ix box) { return k.load(scores, base + box); };
      IndexHeap heap(k, memory, base, [&](Ix a, Ix b) -> Value {
        Value x = score(a), y = score(b);
        return lor(k, rule.above(x, y), k.land(equal(k, x, y), a < b));
      });
      auto size = k.loop(k.c(0), n, 1, {k.c(0)}, [&](Ix box, ValueRange state) {
        Ix next(&k, state[0]);
        // NaN is no candidate: it has no place in the order.
        Value x = score(box), good = least ? rule.above(x, least) : equal(k, x, x);
        k.ifThen(good, [&] { heap.set(next, box); });
        return SmallVector<Value>{next + k.selectIx(good, k.c(1), k.c(0))};
      })[0];
      heap.build(Ix(&k, size));
      auto end = k.whileLoop(
          {size, k.c(0)},
          [&](ValueRange state) { return k.land(k.c(0) < Ix(&k, state[0]), Ix(&k, state[1]) < most); },
          [&](ValueRange state) {
            Ix left(&k, state[0]), selected(&k, state[1]);
            Ix candidate = heap.pop(left);
            Box box = rule.box(firstBox + candidate);
            auto checked = k.whileLoop(
                {k.c(0), k.constant(k.b.getI1Type(), 1)},
                [&](ValueRange s) { return k.land(Ix(&k, s[0]) < selected, s[1]); },
                [&](ValueRange s) {
                  Ix i(&k, s[0]);
                  Box other = rule.box(firstBox + heap.get(n - 1 - i));
                  return SmallVector<Value>{i + 1, lnot(k, rule.overlaps(box, other, iou))};
                });
            k.ifThen(checked[1], [&] { heap.set(n - 1 - selected, candidate); });
            return SmallVector<Value>{left - 1, selected + k.selectIx(checked[1], k.c(1), k.c(0))};
          });
      k.store(selectedCounts, row, end[1]);
    });
    lowering.launch(k, rows);
  }
  if (!isResolved(lowering, op, found) && failed(defineSymbol(lowering, op, found, [&](Kernel &k) {
        Buffer in = k.read(counts);
        auto sum = k.loop(k.c(0), k.dim(rows), 1, {k.c(0)}, [&](Ix row, ValueRange state) {
          return SmallVector<Value>{Ix(&k, state[0]) + Ix(&k, k.load(in, row))};
        });
        return Ix(&k, sum[0]);
      })))
    return failure();

  Kernel k(lowering, op, "selected_boxes");
  Buffer memory = k.read(candidates), selected = k.read(counts), out = k.write(op.getResult());
  Ix n = k.dim(boxCount);
  k.loop(k.c(0), k.dim(rows), 1, {k.c(0)}, [&](Ix row, ValueRange state) {
    Ix at(&k, state[0]), count(&k, k.load(selected, row));
    k.loop(k.c(0), count, 1, [&](Ix i) {
      Ix to = (at + i) * 3;
      k.store(out, to, row / k.dim(classes));
      k.store(out, to + 1, row % k.dim(classes));
      k.store(out, to + 2, k.load(memory, row * n + n - 1 - i));
    });
    return SmallVector<Value>{at + count};
  });
  lowering.launch(k, lowering.c(1));
  return success();
}

RegisterEmitter suppression({"nn.non_max_suppression", "non-max-suppression", 0, nullptr, emitSuppression});

} // namespace
} // namespace nnopt::cpu
