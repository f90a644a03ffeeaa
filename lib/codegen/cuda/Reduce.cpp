//===- Reduce.cpp - reductions of floats ------------------------------------===//
//
// What is reduced is contiguous: a block adds up a row. Or it lies outside of what is kept, as height and width
// of channels-last images do: neighbouring threads have neighbouring columns, and `slices` of them share one.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Reduction.h"
#include "lib/codegen/cuda/Device.h"
#include "lib/codegen/cuda/Rows.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

/// x seen as [outer, n, inner], of which n is reduced; nothing where it cannot be seen so.
struct Shape {
  nn::Dim outer, n, inner;
};
std::optional<Shape> shapeOf(nn::ReduceOp op, Lowering &l) {
  if (op.getDynamicAxes() && !l.shapes.constantContent(op.getDynamicAxes()))
    return std::nullopt;
  SmallVector<bool> reduced = cpu::reducedAxes(op, l);
  const nn::Dims &dims = l.dims(op.getX());
  size_t first = 0, last = dims.size();
  while (first < last && (!reduced[first] || dims[first].isConst(1)))
    ++first;
  while (last > first && (!reduced[last - 1] || dims[last - 1].isConst(1)))
    --last;
  for (size_t d = first; d < last; ++d)
    if (!reduced[d] && !dims[d].isConst(1))
      return std::nullopt;
  return Shape{l.product(dims, 0, first), l.product(dims, first, last), l.product(dims, last, dims.size())};
}

bool match(Operation *op, Lowering &l) {
  auto reduce = cast<nn::ReduceOp>(op);
  Type type = l.shapes.info(reduce.getX()).elementType;
  return isFloat(type) && reduce.getKind() != nn::ReduceKind::log_sum_exp &&
         shapeOf(reduce, l);
}

LogicalResult emitRows(nn::ReduceOp op, Lowering &l, const Shape &s) {
  RowShape shape(l, s.n, {op.getX()});
  Kernel k(l, op, cpu::kernelName(op), shape.threads);
  Buffer x = k.read(op.getX()), out = k.write(op.getResult());
  cpu::Reduction r(k, op.getKind(), x.valueType, x.isUnsigned, /*precise=*/false);
  Row row(k, shape, x, k.block * k.dim(s.n), k.dim(s.n), r.acc);
  Value acc = row.reduce(r.identity(r.kind), [&](Value v) { return r.term(v, {}); },
                         [&](Value a, Value b) { return r.combine(r.kind, a, b); });
  k.ifThen(k.thread == 0, [&] { k.store(out, k.block, r.finish(acc, k.dim(s.n), {})); });
  k.bytes = l.numElements(op.getX()) * cpu::storageBytes(x);
  k.launch(s.outer);
  return success();
}

LogicalResult emitColumns(nn::ReduceOp op, Lowering &l, const Shape &s) {
  constexpr int64_t columns = warpSize, slices = 8;
  Kernel k(l, op, cpu::kernelName(op), columns * slices);
  Buffer x = k.read(op.getX()), out = k.write(op.getResult());
  cpu::Reduction r(k, op.getKind(), x.valueType, x.isUnsigned, /*precise=*/false);
  Buffer parts = k.shared(r.acc, columns * slices);
  nn::Dim stripes = s.inner.ceilDiv(l.c(columns));
  Ix outer = k.block / k.dim(stripes), column = k.block % k.dim(stripes) * columns + k.thread % columns;
  Ix slice = k.thread / columns, n = k.dim(s.n), inner = k.dim(s.inner);
  auto combine = [&](Value a, Value b) { return r.combine(r.kind, a, b); };
  k.ifThen(column < inner, [&] {
    Value acc = k.loop(slice, n, slices, {r.identity(r.kind)}, [&](Ix i, ValueRange in) {
      Value v = r.lift(k.load(x, (outer * n + i) * inner + column));
      return SmallVector<Value>{combine(in[0], r.term(v, {}))};
    })[0];
    k.store(parts, k.thread, acc);
  });
  k.barrier();
  k.ifThen(k.land(slice == 0, column < inner), [&] {
    Value acc = k.load(parts, k.thread);
    for (int64_t i = 1; i < slices; ++i)
      acc = combine(acc, k.load(parts, k.thread + i * columns));
    k.store(out, outer * inner + column, r.finish(acc, n, {}));
  });
  k.bytes = l.numElements(op.getX()) * cpu::storageBytes(x);
  k.launch(s.outer * stripes);
  return success();
}

LogicalResult emit(Operation *op, Lowering &l) {
  auto reduce = cast<nn::ReduceOp>(op);
  Shape s = *shapeOf(reduce, l);
  return s.inner.isConst(1) ? emitRows(reduce, l, s) : emitColumns(reduce, l, s);
}

RegisterEmitter reduce({"nn.reduce", "cuda-reduce", 10, match, emit});

} // namespace
} // namespace nnopt::cuda
