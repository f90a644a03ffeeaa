//===- TopK.cpp - the k largest or smallest elements ----------------------===//
//
// One task finds the best k of a line with a heap of k elements in scratch memory whose root is
// the worst of them: O(n log k), and O(n) comparisons with the root when few elements improve it.
// Taking the root away k times gives the elements in order, worst first. Equal values rank by
// position, so the result does not depend on the way the heap was built.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// An element and its position.
struct Entry {
  Value value;
  Ix index;
};

class Heap {
public:
  Heap(Kernel &k, nn::TopKOp op, Buffer values, Buffer indices, bool isUnsigned)
      : k(k), largest(op.getLargest()), values(values), indices(indices), isUnsigned(isUnsigned) {}

  /// Whether `a` ranks before `b`.
  Value better(Entry a, Entry b) {
    Value gt = largest ? greater(k, a.value, b.value, isUnsigned) : greater(k, b.value, a.value, isUnsigned);
    return lor(k, gt, k.land(equal(k, a.value, b.value), a.index < b.index));
  }
  Entry get(Ix i) { return {k.load(values, i), Ix(&k, k.load(indices, i))}; }
  void set(Ix i, Entry e) {
    k.store(values, i, e.value);
    k.store(indices, i, e.index);
  }

  /// Puts `e` at `position` or below, where entries of [0, size) below `position` form heaps.
  void siftDown(Ix position, Ix size, Entry e) {
    Value go = k.constant(k.b.getI1Type(), 1);
    auto end = k.whileLoop(
        {position, go}, [&](ValueRange state) { return state[1]; },
        [&](ValueRange state) {
          Ix at(&k, state[0]);
          Ix left = at * 2 + 1;
          return k.ifElse(
              left < size, {k.b.getI64Type(), k.b.getI1Type()},
              [&] {
                // The worse of the two children; the right one may not exist.
                Ix right = k.selectIx(left + 1 < size, left + 1, left);
                Ix child = k.selectIx(better(get(left), get(right)), right, left);
                Entry c = get(child);
                Value up = better(e, c);
                k.ifThen(up, [&] { set(at, c); });
                return SmallVector<Value>{k.selectIx(up, child, at), up};
              },
              [&] { return SmallVector<Value>{at, k.constant(k.b.getI1Type(), 0)}; });
        });
    set(Ix(&k, end[0]), e);
  }

private:
  Kernel &k;
  bool largest;
  Buffer values, indices;
  bool isUnsigned;
};

/// Emits the kernel; with `lanes` > 0 whole vectors of a contiguous f32 line are compared with the
/// heap's root at once.
LogicalResult emit(nn::TopKOp op, Lowering &lowering, int64_t lanes) {
  nn::Dims dims = lowering.dims(op.getX()), resultDims = lowering.dims(op.getValues());
  unsigned rank = dims.size();
  int64_t axis = op.getAxis() < 0 ? op.getAxis() + rank : op.getAxis();
  nn::Dim count = resultDims[axis];
  if (!isResolved(lowering, op, count) && failed(defineSymbol(lowering, op, count, op.getK())))
    return failure();
  nn::Dim inner = lowering.product(dims, axis + 1, rank);

  Kernel k(lowering, op, "topk");
  Buffer x = k.read(op.getX()), outValues = k.write(op.getValues()), outIndices = k.write(op.getIndices());
  int64_t bytes = nn::elementBytes(lowering.shapes.info(op.getX()).elementType);
  nn::Dim indexBytes = count * 8;
  Value scratch = k.scratch(indexBytes + count * bytes);
  Buffer heapIndices = k.at(scratch, k.b.getI64Type());
  Buffer heapValues = k.at(k.ptrAdd(scratch, k.dim(indexBytes), k.b.getI8Type()), x.valueType);
  Heap heap(k, op, heapValues, heapIndices, x.isUnsigned);
  Ix size = k.dim(dims[axis]), stride = k.dim(inner), kept = k.dim(count);

  forTasks(k, [&](Ix task) {
    Ix base = task / stride * size * stride + task % stride;
    Ix outBase = task / stride * kept * stride + task % stride;
    auto element = [&](Ix i) { return Entry{k.load(x, base + i * stride), i}; };
    auto offer = [&](Ix i) {
      Entry e = element(i);
      k.ifThen(heap.better(e, heap.get(k.c(0))), [&] { heap.siftDown(k.c(0), kept, e); });
    };
    Ix first = kept.min(size);
    k.ifThen(k.c(0) < first, [&] {
      k.loop(k.c(0), first, 1, [&](Ix i) { heap.set(i, element(i)); });
      k.loop(k.c(0), first / 2, 1, [&](Ix i) {
        Ix at = first / 2 - 1 - i;
        heap.siftDown(at, first, heap.get(at));
      });
      Ix scalarFrom = first;
      if (lanes) {
        Ix blocks = (size - first) / lanes;
        k.loop(k.c(0), blocks, 1, [&](Ix block) {
          Ix at = first + block * lanes;
          Value v = k.load(x, base + at, lanes), root = k.splat(heap.get(k.c(0)).value, lanes);
          Value improves = op.getLargest() ? greater(k, v, root, false) : greater(k, root, v, false);
          Value any = vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::OR, improves);
          k.ifThen(any, [&] { k.loop(at, at + lanes, 1, offer); });
        });
        scalarFrom = first + blocks * lanes;
      }
      k.loop(scalarFrom, size, 1, offer);
      // The root is the worst that is left: it goes to the end of the free part of the result.
      k.loop(k.c(0), first, 1, [&](Ix i) {
        Ix last = first - 1 - i;
        Entry worst = heap.get(k.c(0));
        k.store(outValues, outBase + last * stride, worst.value);
        k.store(outIndices, outBase + last * stride, worst.index);
        heap.siftDown(k.c(0), last, heap.get(last));
      });
    });
  });
  lowering.launch(k, lowering.product(dims, 0, axis) * inner);
  return success();
}

LogicalResult emitTopK(Operation *op, Lowering &lowering) { return emit(cast<nn::TopKOp>(op), lowering, 0); }

bool matchVector(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::TopKOp>(operation);
  const nn::Dims &dims = lowering.dims(op.getX());
  int64_t axis = op.getAxis() < 0 ? op.getAxis() + dims.size() : op.getAxis();
  return lowering.shapes.info(op.getX()).elementType.isF32() &&
         lowering.product(dims, axis + 1, dims.size()).isConst(1);
}
LogicalResult emitVector(Operation *op, Lowering &lowering) {
  return emit(cast<nn::TopKOp>(op), lowering, lowering.target.lanes());
}

RegisterEmitter topK({"nn.topk", "topk-heap", 0, nullptr, emitTopK});
RegisterEmitter topKVector({"nn.topk", "topk-heap-vector", 10, matchVector, emitVector});

} // namespace
} // namespace nnopt::cpu
