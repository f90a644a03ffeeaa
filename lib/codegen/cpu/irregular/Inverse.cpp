//===- Inverse.cpp - inverses of matrices ------------------------------------===//
//
// Gauss-Jordan elimination with partial pivoting on [A | I]; a task is a matrix.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

LogicalResult emitInverse(Operation *op, Lowering &l) {
  auto inverse = cast<nn::InverseOp>(op);
  Kernel k(l, op, "inverse");
  Buffer x = k.read(inverse.getX()), out = k.write(inverse.getResult());
  Type type = computeType(x.valueType);
  nn::Dim size = x.dims.back(), elements = size * size;
  int64_t bytes = type.getIntOrFloatBitWidth() / 8;
  Buffer left = k.at(k.scratch(elements * bytes), type), right = k.at(k.scratch(elements * bytes), type);
  Ix n = k.dim(size), count = k.dim(elements);
  auto forRow = [&](function_ref<void(Ix)> body) { k.loop(k.c(0), n, 1, body); };
  Value one = k.constant(type, 1), zero = k.constant(type, 0);
  k.loop(k.begin, k.end, 1, [&](Ix task) {
    k.loop(k.c(0), count, 1, [&](Ix i) {
      k.store(left, i, k.toFloat(k.load(x, task * count + i)));
      k.store(right, i, k.select(i / n == i % n, one, zero));
    });
    forRow([&](Ix c) {
      // The largest element of the column, on or below the diagonal.
      auto best = k.loop(c, n, 1, {c, k.constant(type, -1)}, [&](Ix r, ValueRange state) {
        Value magnitude = math::AbsFOp::create(k.b, k.loc, k.load(left, r * n + c));
        Value larger = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, magnitude, state[1]);
        return SmallVector<Value>{k.select(larger, r, state[0]), k.select(larger, magnitude, state[1])};
      });
      Ix pivot(&k, best[0]);
      for (const Buffer &half : {left, right})
        forRow([&](Ix j) {
          Value a = k.load(half, c * n + j), b = k.load(half, pivot * n + j);
          k.store(half, c * n + j, b);
          k.store(half, pivot * n + j, a);
        });
      Value factor = fdiv(k, one, k.load(left, c * n + c));
      for (const Buffer &half : {left, right})
        forRow([&](Ix j) { k.store(half, c * n + j, fmul(k, k.load(half, c * n + j), factor)); });
      forRow([&](Ix r) {
        Value own = k.load(left, r * n + c);
        Value f = k.select(r == c, zero, own);
        for (const Buffer &half : {left, right})
          forRow([&](Ix j) {
            Value product = fmul(k, f, k.load(half, c * n + j));
            k.store(half, r * n + j, fsub(k, k.load(half, r * n + j), product));
          });
      });
    });
    k.loop(k.c(0), count, 1, [&](Ix i) { k.store(out, task * count + i, k.fromFloat(k.load(right, i), out.valueType)); });
  });
  k.flops = l.numElements(inverse.getResult()) * size * 4;
  l.launch(k, l.product(x.dims, 0, x.rank() - 2) * (size.isConst(0) ? 0 : 1));
  return success();
}

RegisterEmitter inverse({"nn.inverse", "inverse", 0, nullptr, emitInverse});

} // namespace
} // namespace nnopt::cpu
