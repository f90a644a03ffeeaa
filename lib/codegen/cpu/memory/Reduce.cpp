//===- Reduce.cpp - reductions ----------------------------------------------===//

#include "lib/codegen/cpu/memory/Reduction.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

using Kind = nn::ReduceKind;

/// For axes that are known only at run time: whether each axis of x is reduced.
SmallVector<Value> dynamicReducedAxes(nn::ReduceOp op, Kernel &k) {
  int64_t rank = k.lowering.dims(op.getX()).size();
  Buffer axes = k.read(op.getDynamicAxes());
  Ix count = k.dim(k.lowering.numElements(op.getDynamicAxes()));
  // No axes at all: everything is reduced.
  SmallVector<Value> init(rank, count == 0);
  return k.loop(k.c(0), count, 1, init, [&](Ix i, ValueRange flags) {
    Ix axis = k.toIndex(k.load(axes, i), axes.isUnsigned);
    axis = k.selectIx(axis < 0, axis + rank, axis);
    SmallVector<Value> next;
    for (auto [d, flag] : llvm::enumerate(flags))
      next.push_back(arith::OrIOp::create(k.b, k.loc, flag, axis == int64_t(d)));
    return next;
  });
}

/// Axes known only at run time: every axis is in both loops, with size 1 in one of them.
LogicalResult emitDynamic(nn::ReduceOp op, Lowering &l) {
  Kernel k(l, op, kernelName(op));
  Buffer x = k.read(op.getX()), out = k.write(op.getResult());
  Reduction r(k, op.getKind(), x.valueType, x.isUnsigned, /*precise=*/true);
  SmallVector<Value> reduced = dynamicReducedAxes(op, k);
  SmallVector<Ix> strides = k.strides(x.dims), keptSizes, goneSizes;
  Ix count = k.c(1);
  for (auto [d, flag] : llvm::enumerate(reduced)) {
    Ix size = k.dim(x.dims[d]), one = k.c(1);
    keptSizes.push_back(k.selectIx(flag, one, size));
    goneSizes.push_back(k.selectIx(flag, size, one));
    count = count * goneSizes.back();
  }
  auto offsetOf = [&](Ix i, ArrayRef<Ix> sizes) {
    Ix offset = k.c(0);
    for (unsigned d = sizes.size(); d-- > 0;) {
      offset = offset + (i % sizes[d]) * strides[d];
      i = i / sizes[d];
    }
    return offset;
  };
  auto pass = [&](Ix from, Kind kind, function_ref<Value(Value)> term) {
    return k.loop(k.c(0), count, 1, ValueRange{r.identity(kind)}, [&](Ix i, ValueRange acc) {
      Value v = r.lift(k.load(x, from + offsetOf(i, goneSizes)));
      return SmallVector<Value>{r.combine(kind, acc[0], term(v))};
    })[0];
  };
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    Ix from = offsetOf(i, keptSizes);
    Value max;
    if (r.needsMax())
      max = r.usableMax(pass(from, Kind::max, [](Value v) { return v; }));
    Value acc = pass(from, r.kind, [&](Value v) { return r.term(v, max); });
    k.store(out, i, r.finish(acc, count, max));
  });
  k.grain = 16;
  l.launch(k, l.numElements(op.getResult()));
  return success();
}

bool hasDynamicAxes(nn::ReduceOp op, Lowering &l) {
  return op.getDynamicAxes() && !l.shapes.constantContent(op.getDynamicAxes());
}

LogicalResult emitReference(Operation *op, Lowering &l) {
  auto reduce = cast<nn::ReduceOp>(op);
  if (hasDynamicAxes(reduce, l))
    return emitDynamic(reduce, l);
  SmallVector<bool> reduced = reducedAxes(reduce, l);
  Kernel k(l, op, kernelName(reduce));
  Buffer x = k.read(reduce.getX()), out = k.write(reduce.getResult());
  Reduction r(k, reduce.getKind(), x.valueType, x.isUnsigned, /*precise=*/true);
  Space space = reductionSpace(l, x.dims, reduced);
  ReductionPart kept, gone;
  for (unsigned axis = 0; axis < space.rank(); ++axis)
    (reduced[axis] ? gone : kept).add(space, axis);
  nn::Dim count = nn::product(l.dimContext(), gone.sizes);

  auto offsetOf = [&](Ix i, const ReductionPart &part) {
    Ix offset = k.c(0);
    for (auto [at, s] : llvm::zip(k.delinearize(i, part.sizes), part.strides[0]))
      offset = offset + at * k.dim(s);
    return offset;
  };
  auto pass = [&](Ix from, Kind kind, function_ref<Value(Value)> term) {
    return k.loop(k.c(0), k.dim(count), 1, ValueRange{r.identity(kind)}, [&](Ix i, ValueRange acc) {
      Value v = r.lift(k.load(x, from + offsetOf(i, gone)));
      return SmallVector<Value>{r.combine(kind, acc[0], term(v))};
    })[0];
  };
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    Ix from = offsetOf(i, kept);
    Value max;
    if (r.needsMax())
      max = r.usableMax(pass(from, Kind::max, [](Value v) { return v; }));
    Value acc = pass(from, r.kind, [&](Value v) { return r.term(v, max); });
    k.store(out, i, r.finish(acc, k.dim(count), max));
  });
  k.grain = count.isConst() ? std::max<int64_t>(1, 4096 / std::max<int64_t>(1, count.value())) : 16;
  l.launch(k, nn::product(l.dimContext(), kept.sizes));
  return success();
}

LogicalResult emitFast(Operation *op, Lowering &l) { return emitFastReduce(cast<nn::ReduceOp>(op), l); }

/// A result without elements would have strides of 0, which mean "reduced" above.
bool matchFast(Operation *op, Lowering &l) {
  return !l.numElements(op->getResult(0)).isConst(0) && !hasDynamicAxes(cast<nn::ReduceOp>(op), l);
}

RegisterEmitter reference({"nn.reduce", "reduce-reference", 0, nullptr, emitReference});
RegisterEmitter fast({"nn.reduce", "reduce", 10, matchFast, emitFast});

} // namespace
} // namespace nnopt::cpu
