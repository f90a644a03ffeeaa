//===- Pairs.cpp - rows of f32 as bf16 for products of pairs ----------------===//

#include "lib/codegen/cpu/contraction/Pairs.h"

using namespace mlir;

namespace nnopt::cpu {

static Value narrow(Kernel &k, Value v) {
  auto type = cast<VectorType>(v.getType());
  return k.fromFloat(v, k.vec(type.getNumElements(), k.b.getBF16Type()));
}

Value pairLanes(Kernel &k, Value even, Value odd) {
  int64_t lanes = cast<VectorType>(even.getType()).getNumElements();
  VectorType words = k.vec(lanes, k.b.getI16Type()), pairs = k.vec(lanes, k.b.getI32Type());
  auto bits = [&](Value v) -> Value {
    return arith::ExtUIOp::create(k.b, k.loc, pairs, vector::BitCastOp::create(k.b, k.loc, words, narrow(k, v)));
  };
  Value high = arith::ShLIOp::create(k.b, k.loc, bits(odd), k.constant(pairs, 16));
  return arith::OrIOp::create(k.b, k.loc, bits(even), high);
}

void narrowRow(Kernel &k, Value from, Value to, Ix count, int64_t lanes) {
  k.loop(k.c(0), count, lanes, [&](Ix i) {
    Value v = k.loadAt(from, i, k.vec(lanes, k.b.getF32Type()), 4);
    k.storeAt(to, i, narrow(k, v), 2);
  });
}

void pairRows(Kernel &k, Value from, Ix pitch, Ix rows, int64_t width, Value to, int64_t lanes) {
  VectorType floats = k.vec(lanes, k.b.getF32Type());
  auto pair = [&](Ix i, bool both) {
    for (int64_t d = 0; d < width; d += lanes) {
      Value even = k.loadAt(from, i * 2 * pitch + d, floats, 4);
      Value odd = both ? k.loadAt(from, (i * 2 + 1) * pitch + d, floats, 4) : k.constant(floats, 0);
      k.storeAt(to, i * width + d, pairLanes(k, even, odd), 4);
    }
  };
  k.loop(k.c(0), rows / 2, 1, [&](Ix i) { pair(i, true); });
  if (std::optional<int64_t> known = rows.constant(); known && *known % 2 == 0)
    return;
  k.ifThen(k.c(0) < rows % 2, [&] { pair(rows / 2, false); });
}

} // namespace nnopt::cpu
