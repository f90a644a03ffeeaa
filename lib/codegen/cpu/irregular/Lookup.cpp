//===- Lookup.cpp - nn.lookup: positions in a sorted table ----------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// a < b, or for floats also where b is NaN and a is not: the order of the table.
Value before(Kernel &k, Value a, Value b, bool isUnsigned) {
  Value less = greater(k, b, a, isUnsigned);
  if (!isa<FloatType>(a.getType()))
    return less;
  return lor(k, less, k.land(lnot(k, equal(k, b, b)), equal(k, a, a)));
}

/// Binary search: the first key that is not before the element is it, or there is none.
LogicalResult emitLookup(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::LookupOp>(operation);
  nn::Dim count = lowering.dims(op.getKeys())[0];
  Kernel k(lowering, op, "lookup");
  Buffer x = k.read(op.getX()), keys = k.read(op.getKeys()), y = k.write(op.getResult());
  Ix size = k.dim(count);
  forTasks(k, [&](Ix i) {
    Value element = k.load(x, i);
    auto range = k.whileLoop(
        {k.c(0), size}, [&](ValueRange state) { return Ix(&k, state[0]) < Ix(&k, state[1]); },
        [&](ValueRange state) {
          Ix low(&k, state[0]), high(&k, state[1]);
          Ix middle = (low + high) / 2;
          Value right = before(k, k.load(keys, middle), element, x.isUnsigned);
          return SmallVector<Value>{k.selectIx(right, middle + 1, low), k.selectIx(right, high, middle)};
        });
    Ix at(&k, range[0]);
    auto found = k.ifElse(
        at < size, k.b.getI64Type(),
        [&] {
          Value key = k.load(keys, at);
          Value same = equal(k, key, element);
          if (isa<FloatType>(key.getType()))
            same = lor(k, same, lnot(k, lor(k, equal(k, key, key), equal(k, element, element))));
          return SmallVector<Value>{k.selectIx(same, at, k.c(-1))};
        },
        [&] { return SmallVector<Value>{k.c(-1)}; });
    k.store(y, i, found[0]);
  });
  k.grain = 256;
  lowering.launch(k, lowering.numElements(op.getX()));
  return success();
}

RegisterEmitter lookup({"nn.lookup", "lookup", 0, nullptr, emitLookup});

} // namespace
} // namespace nnopt::cpu
