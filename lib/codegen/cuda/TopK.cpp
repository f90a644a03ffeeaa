//===- TopK.cpp - the k largest or smallest elements ------------------------===//
//
// Elements are compared as integers in the same order, then by position: a total order, in which NaN is beyond infinity.
// Few of a line are picked one after the other, by a warp where lines are short, else by a block. Where many are wanted
// (sorting), each element counts those before it, which is its place in the result.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cuda/Kernel.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

/// Up to this many elements are picked one by one; lines of up to this many are a warp's work.
constexpr int64_t maxPicked = 64, maxWarpLine = 256, blockThreads = 256;

bool match(Operation *op, Lowering &l) {
  Type t = l.shapes.info(cast<nn::TopKOp>(op).getX()).elementType;
  return isFloat(t) || (t.isInteger() && t.getIntOrFloatBitWidth() <= 32);
}

struct Entry {
  Value key;
  Ix index; // -1: none
};

class TopK {
public:
  TopK(nn::TopKOp op, Lowering &l, StringRef name, int64_t threads) : op(op), k(l, op, name, threads) {
    const nn::Dims &dims = l.dims(op.getX());
    int64_t rank = dims.size(), axis = op.getAxis() < 0 ? op.getAxis() + rank : op.getAxis();
    x = k.read(op.getX()), values = k.write(op.getValues()), indices = k.write(op.getIndices());
    inner = l.product(dims, axis + 1, rank);
    lines = l.product(dims, 0, axis) * inner;
    sizeDim = dims[axis];
    size = k.dim(sizeDim), stride = k.dim(inner), count = k.dim(l.dims(op.getValues())[axis]);
    k.bytes = lines * sizeDim * nn::elementBytes(l.shapes.info(op.getX()).elementType);
  }

  /// Picks by `groupThreads` threads a line: a warp or all of the block.
  void pick(int64_t groupThreads) {
    int64_t groups = k.threads / groupThreads;
    Ix lane = k.thread % groupThreads, line = k.block * groups + k.thread / groupThreads;
    Value inRange = line < k.dim(lines);
    begin(line.min(k.dim(lines) - 1));
    Value none = integer(0), noIndex = k.c(-1);
    k.loop(k.c(0), count, 1, {none, noIndex}, [&](Ix round, ValueRange last) {
      Entry before{last[0], Ix(&k, last[1])};
      Value isFirst = round == 0;
      Entry best = entry(k.loop(lane, size, groupThreads, {none, noIndex}, [&](Ix i, ValueRange in) {
        Entry e = element(i), old = entry(in);
        Value after = cpu::lor(k, isFirst, better(before, e));
        return either(k.land(after, cpu::lor(k, old.index < 0, better(e, old))), e, old);
      }));
      best = reduce(best, groupThreads);
      k.ifThen(k.land(inRange, lane == 0), [&] { put(round, best.index.max(k.c(0))); });
      return SmallVector<Value>{best.key, best.index};
    });
    k.launch(lines.ceilDiv(k.lowering.c(groups)));
  }

  /// Places every element of a line behind those that are better.
  void sort() {
    nn::Dim parts = sizeDim.ceilDiv(k.lowering.c(blockThreads));
    begin(k.block / k.dim(parts));
    Ix i = k.block % k.dim(parts) * blockThreads + k.thread;
    Buffer tile = k.shared(k.b.getI32Type(), blockThreads);
    Entry own = element(i.min(size - 1));
    own.index = i;
    Ix place(&k, k.loop(k.c(0), size, blockThreads, {k.c(0)}, [&](Ix first, ValueRange in) {
      k.store(tile, k.thread, element((first + k.thread).min(size - 1)).key);
      k.barrier();
      Ix high = (size - first).min(k.c(blockThreads));
      Value next = k.loop(k.c(0), high, 1, in, [&](Ix j, ValueRange found) {
        Value isBetter = better({k.load(tile, j), first + j}, own);
        return SmallVector<Value>{Ix(&k, found[0]) + k.selectIx(isBetter, k.c(1), k.c(0))};
      })[0];
      k.barrier();
      return SmallVector<Value>{next};
    })[0]);
    k.ifThen(k.land(i < size, place < count), [&] { put(place, i); });
    k.launch(lines * parts);
  }

private:
  Value integer(int64_t v) { return arith::ConstantIntOp::create(k.b, k.loc, v, 32); }
  Entry entry(ValueRange v) { return {v[0], Ix(&k, v[1])}; }

  void begin(Ix line) {
    base = line / stride * (size * stride) + line % stride;
    outBase = line / stride * (count * stride) + line % stride;
  }
  void put(Ix place, Ix index) {
    k.store(values, outBase + place * stride, k.load(x, base + index * stride));
    k.store(indices, outBase + place * stride, index);
  }

  /// The element as an i32 that is greater the better it is.
  Entry element(Ix i) {
    Value v = k.load(x, base + i * stride), key;
    if (isa<FloatType>(v.getType())) {
      // -0 and 0 are equal. Negative numbers ascend with their bits the other way round.
      v = arith::AddFOp::create(k.b, k.loc, k.toFloat(v), k.f32(0));
      key = arith::BitcastOp::create(k.b, k.loc, k.b.getI32Type(), v);
      Value isNegative = arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::slt, key, integer(0));
      key = k.select(isNegative, arith::XOrIOp::create(k.b, k.loc, key, integer(0x7fffffff)), key);
    } else if (v.getType().isInteger(32)) {
      key = x.isUnsigned ? Value(arith::XOrIOp::create(k.b, k.loc, v, integer(INT32_MIN))) : v;
    } else if (x.isUnsigned || v.getType().isInteger(1)) {
      key = arith::ExtUIOp::create(k.b, k.loc, k.b.getI32Type(), v);
    } else {
      key = arith::ExtSIOp::create(k.b, k.loc, k.b.getI32Type(), v);
    }
    if (!op.getLargest())
      key = arith::XOrIOp::create(k.b, k.loc, key, integer(-1));
    return {key, i};
  }

  Value better(const Entry &a, const Entry &b) {
    Value greater = arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::sgt, a.key, b.key);
    Value equal = arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::eq, a.key, b.key);
    return cpu::lor(k, greater, k.land(equal, a.index < b.index));
  }
  SmallVector<Value> either(Value first, const Entry &a, const Entry &b) {
    return {k.select(first, a.key, b.key), k.selectIx(first, a.index, b.index)};
  }
  /// The better one that exists.
  Entry best(const Entry &a, const Entry &b) {
    Value exists = k.land(k.c(0) <= a.index, cpu::lor(k, b.index < 0, better(a, b)));
    return entry(either(exists, a, b));
  }

  /// The best of all threads of a group, in all of them.
  Entry reduce(Entry e, int64_t groupThreads) {
    Type i32 = k.b.getI32Type();
    auto reduceWarp = [&](Entry e) {
      for (int64_t mask = warpSize / 2; mask; mask /= 2) {
        Value index = k.shuffleXor(arith::TruncIOp::create(k.b, k.loc, i32, e.index), mask);
        Entry other{k.shuffleXor(e.key, mask), Ix(&k, arith::ExtSIOp::create(k.b, k.loc, k.b.getI64Type(), index))};
        e = best(e, other);
      }
      return e;
    };
    e = reduceWarp(e);
    if (groupThreads == warpSize)
      return e;
    int64_t warps = groupThreads / warpSize;
    if (!keys) {
      keys = k.shared(i32, warps);
      places = k.shared(k.b.getI64Type(), warps);
    }
    Ix lane = k.thread % warpSize, warp = k.thread / warpSize;
    k.barrier(); // the last ones have been read
    k.ifThen(lane == 0, [&] {
      k.store(*keys, warp, e.key);
      k.store(*places, warp, e.index);
    });
    k.barrier();
    Ix mine = lane.min(k.c(warps - 1));
    return reduceWarp({k.load(*keys, mine), Ix(&k, k.load(*places, mine))});
  }

  nn::TopKOp op;
  Kernel k;
  Buffer x, values, indices;
  nn::Dim inner, lines, sizeDim;
  Ix size, stride, count, base, outBase;
  std::optional<Buffer> keys, places; // of warps
};

LogicalResult emit(Operation *operation, Lowering &l) {
  auto op = cast<nn::TopKOp>(operation);
  const nn::Dims &dims = l.dims(op.getX()), &resultDims = l.dims(op.getValues());
  int64_t axis = op.getAxis() < 0 ? op.getAxis() + dims.size() : op.getAxis();
  nn::Dim size = dims[axis], count = resultDims[axis];
  if (!cpu::isResolved(l, op, count) && failed(cpu::defineSymbol(l, op, count, op.getK())))
    return failure();
  if (!count.isConst() || count.value() > maxPicked)
    TopK(op, l, "sort", blockThreads).sort();
  else if (size.isConst() && size.value() <= maxWarpLine)
    TopK(op, l, "topk_warp", 4 * warpSize).pick(warpSize);
  else
    TopK(op, l, "topk", blockThreads).pick(blockThreads);
  return success();
}

RegisterEmitter topK({"nn.topk", "cuda-topk", 10, match, emit});

} // namespace
} // namespace nnopt::cuda
