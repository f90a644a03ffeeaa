//===- Rows.cpp - a block works on a row ------------------------------------===//

#include "lib/codegen/cuda/Rows.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cuda {

/// Elements of a row that a thread keeps in registers at most.
static constexpr int64_t maxKept = 16;

RowShape::RowShape(Lowering &l, nn::Dim n, ArrayRef<Value> rows, ArrayRef<Value> parameters) {
  int64_t widest = 1;
  bool aligned = llvm::all_of(parameters, [&](Value v) { return isAligned(l, v); });
  for (Value v : rows) {
    widest = std::max<int64_t>(widest, nn::elementBytes(l.shapes.info(v).elementType));
    aligned &= isAligned(l, v);
  }
  lanes = 1;
  for (int64_t wide = std::min<int64_t>(8, 16 / widest); wide > 1 && lanes == 1; wide /= 2)
    if (aligned && isMultiple(n, wide))
      lanes = wide;
  threads = 256;
  if (!n.isConst())
    return;
  int64_t vectors = llvm::divideCeil(std::max<int64_t>(1, n.value()), lanes);
  threads = std::clamp<int64_t>(llvm::alignTo(vectors, warpSize), warpSize, 256);
  steps = llvm::divideCeil(vectors, threads);
  if (steps * lanes > maxKept)
    steps = 0;
}

Row::Row(Kernel &k, const RowShape &shape, const Buffer &x, Ix base, Ix n, Type type)
    : k(k), shape(shape), x(x), base(base), n(n), type(type) {
  SmallVector<Type> types(shape.lanes, type);
  for (int64_t s = 0; s < shape.steps; ++s)
    kept.push_back(k.ifElse(
        column(s) < n, types, [&] { return load(column(s)); },
        [&] { return SmallVector<Value>(shape.lanes, k.constant(type, 0)); }));
}

Ix Row::column(int64_t step) { return (k.thread + step * shape.threads) * shape.lanes; }

SmallVector<Value> Row::load(Ix column) {
  SmallVector<Value> values = k.loadLanes(x, base + column, shape.lanes);
  for (Value &v : values)
    v = k.fromFloat(k.toFloat(v, x.isUnsigned), type);
  return values;
}

Value Row::reduce(Value identity, Term term, Kernel::Combine combine) {
  Value acc = identity;
  auto add = [&](Value acc, ArrayRef<Value> elements) {
    for (Value v : elements)
      acc = combine(acc, term(v));
    return acc;
  };
  for (auto [s, elements] : llvm::enumerate(kept))
    acc = k.select(column(s) < n, add(acc, elements), acc);
  if (kept.empty())
    acc = k.loop(k.thread * shape.lanes, n, shape.threads * shape.lanes, {acc}, [&](Ix c, ValueRange in) {
      return SmallVector<Value>{add(in[0], load(c))};
    })[0];
  return k.reduceBlock(acc, identity, combine);
}

void Row::forEach(function_ref<void(Ix, ArrayRef<Value>)> body) {
  for (auto [s, elements] : llvm::enumerate(kept)) {
    Ix c = column(s);
    k.ifThen(c < n, [&] { body(c, elements); });
  }
  if (kept.empty())
    k.loop(k.thread * shape.lanes, n, shape.threads * shape.lanes, [&](Ix c) { body(c, load(c)); });
}

} // namespace nnopt::cuda
