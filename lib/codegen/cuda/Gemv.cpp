//===- Gemv.cpp - products with a vector, a warp a result -------------------===//

#include "lib/codegen/cuda/Gemv.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cuda {

int64_t rowLanes(Lowering &l, ArrayRef<Value> values, nn::Dim n) {
  int64_t widest = 1;
  bool aligned = true;
  for (Value v : values) {
    widest = std::max<int64_t>(widest, nn::elementBytes(l.shapes.info(v).elementType));
    aligned &= isAligned(l, v);
  }
  for (int64_t lanes = 16 / widest; aligned && lanes > 1; lanes /= 2)
    if (isMultiple(n, lanes))
      return lanes;
  return 1;
}

Value laneProduct(Kernel &k, const Buffer &a, Ix aRow, const Buffer &b, Ix bRow, nn::Dim n, int64_t lanes, Value acc) {
  Ix lane = k.thread % warpSize;
  return k.loop(lane * lanes, k.dim(n), warpSize * lanes, {acc}, [&](Ix i, ValueRange in) {
    Value sum = in[0];
    for (auto [x, y] : llvm::zip(k.loadLanes(a, aRow + i, lanes), k.loadLanes(b, bRow + i, lanes)))
      sum = k.fma(k.toFloat(x), k.toFloat(y), sum);
    return SmallVector<Value>{sum};
  })[0];
}

Value sumOfWarp(Kernel &k, Value v) {
  return k.reduceWarp(v, [&](Value a, Value b) { return cpu::fadd(k, a, b); });
}

} // namespace nnopt::cuda
