//===- Unique.cpp - unique elements and slices ----------------------------===//
//
// The positions of all slices are sorted by content, equal ones by position; neighbours that are equal
// form a group, which is numbered in this order or by its first slice. Then the number of groups is known,
// and with it the size of the results.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/IndexHeap.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// x as slices along an axis: slice i is made of the elements (o, i, r) of [outer, size, inner].
struct Slices {
  nn::Dim outer, size, inner;

  Slices(nn::UniqueOp op, Lowering &lowering) {
    nn::Dims dims = lowering.dims(op.getX());
    if (!op.getAxis()) {
      outer = inner = lowering.c(1);
      size = lowering.numElements(op.getX());
      return;
    }
    unsigned axis = *op.getAxis();
    outer = lowering.product(dims, 0, axis);
    size = dims[axis];
    inner = lowering.product(dims, axis + 1, dims.size());
  }
  nn::Dim length() const { return outer * inner; }
  /// Offset of element i of a slice in a tensor of `count` slices.
  Ix offset(Kernel &k, Ix slice, Ix i, Ix count) const {
    Ix step = k.dim(inner);
    return (i / step * count + slice) * step + i % step;
  }
};

/// The order of elements: -1, 0 or 1. NaN comes last and equals itself.
Ix compareElements(Kernel &k, Value a, Value b, bool isUnsigned) {
  Value above = greater(k, a, b, isUnsigned), below = greater(k, b, a, isUnsigned);
  if (isa<FloatType>(a.getType())) {
    Value aNumber = equal(k, a, a), bNumber = equal(k, b, b);
    above = lor(k, above, k.land(lnot(k, aNumber), bNumber));
    below = lor(k, below, k.land(aNumber, lnot(k, bNumber)));
  }
  return k.selectIx(above, k.c(1), k.selectIx(below, k.c(-1), k.c(0)));
}

/// The order of two slices by their first elements that differ.
Ix compareSlices(Kernel &k, const Slices &slices, const Buffer &x, Ix a, Ix b) {
  Ix size = k.dim(slices.size), length = k.dim(slices.length());
  auto compareAt = [&](Ix i) {
    return compareElements(k, k.load(x, slices.offset(k, a, i, size)), k.load(x, slices.offset(k, b, i, size)),
                           x.isUnsigned);
  };
  if (length.constant() == 1)
    return compareAt(k.c(0));
  auto end = k.whileLoop(
      {k.c(0), k.c(0)},
      [&](ValueRange state) { return k.land(Ix(&k, state[0]) < length, Ix(&k, state[1]) == 0); },
      [&](ValueRange state) {
        Ix i(&k, state[0]);
        return SmallVector<Value>{i + 1, compareAt(i)};
      });
  return Ix(&k, end[1]);
}

/// Gives every slice the number of its group; writes how many there are.
void emitGroups(nn::UniqueOp op, Lowering &lowering, const Slices &slices, const TempTensor &groups,
                const TempTensor &total) {
  Type i64 = IntegerType::get(op.getContext(), 64);
  TempTensor order = lowering.temp(i64, {slices.size});
  Kernel k(lowering, op, "unique_groups");
  Buffer x = k.read(op.getX()), sorted = k.write(order), group = k.write(groups), count = k.write(total);
  Ix size = k.dim(slices.size);
  auto compare = [&](Ix a, Ix b) { return compareSlices(k, slices, x, a, b); };
  IndexHeap heap(k, sorted, k.c(0), [&](Ix a, Ix b) -> Value {
    Ix c = compare(a, b);
    return lor(k, k.c(0) < c, k.land(c == 0, b < a));
  });
  k.loop(k.c(0), size, 1, [&](Ix i) { heap.set(i, i); });
  heap.sort(size);
  auto number = k.loop(k.c(0), size, 1, {k.c(0)}, [&](Ix i, ValueRange state) {
    Ix slice = heap.get(i), before = heap.get((i - 1).max(k.c(0)));
    Value starts = lor(k, i == 0, lnot(k, compare(before, slice) == 0));
    Ix next = Ix(&k, state[0]) + k.selectIx(starts, k.c(1), k.c(0));
    k.store(group, slice, next - 1);
    return SmallVector<Value>{next};
  })[0];
  k.store(count, k.c(0), number);
  if (!op.getSorted()) {
    // Numbered again by first slices; the memory of the order holds the new numbers.
    k.loop(k.c(0), size, 1, [&](Ix i) { k.store(sorted, i, k.c(-1)); });
    k.loop(k.c(0), size, 1, {k.c(0)}, [&](Ix slice, ValueRange state) {
      Ix old(&k, k.load(group, slice)), next(&k, state[0]);
      Value isNew = Ix(&k, k.load(sorted, old)) < 0;
      k.ifThen(isNew, [&] { k.store(sorted, old, next); });
      k.store(group, slice, k.load(sorted, old));
      return SmallVector<Value>{next + k.selectIx(isNew, k.c(1), k.c(0))};
    });
  }
  lowering.launch(k, lowering.c(1));
}

LogicalResult emitUnique(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::UniqueOp>(operation);
  Slices slices(op, lowering);
  nn::Dim count = lowering.dims(op.getCounts())[0];
  Type i64 = IntegerType::get(op.getContext(), 64);
  TempTensor groups = lowering.temp(i64, {slices.size}), total = lowering.temp(i64, {lowering.c(1)});
  emitGroups(op, lowering, slices, groups, total);
  if (!isResolved(lowering, op, count) && failed(defineSymbol(lowering, op, count, [&](Kernel &k) {
        return Ix(&k, k.load(k.read(total), k.c(0)));
      })))
    return failure();

  Kernel k(lowering, op, "unique");
  Buffer x = k.read(op.getX()), group = k.read(groups);
  Buffer y = k.write(op.getY()), indices = k.write(op.getIndices()), inverse = k.write(op.getInverse()),
         counts = k.write(op.getCounts());
  Ix size = k.dim(slices.size), found = k.dim(count), length = k.dim(slices.length());
  k.loop(k.c(0), found, 1, [&](Ix i) { k.store(counts, i, k.c(0)); });
  k.loop(k.c(0), size, 1, [&](Ix slice) {
    Ix g(&k, k.load(group, slice)), seen(&k, k.load(counts, g));
    k.store(inverse, slice, g);
    k.store(counts, g, seen + 1);
    k.ifThen(seen == 0, [&] {
      k.store(indices, g, slice);
      k.loop(k.c(0), length, 1, [&](Ix i) {
        k.store(y, slices.offset(k, g, i, found), k.load(x, slices.offset(k, slice, i, size)));
      });
    });
  });
  lowering.launch(k, lowering.c(1));
  return success();
}

RegisterEmitter unique({"nn.unique", "unique", 0, nullptr, emitUnique});

} // namespace
} // namespace nnopt::cpu
