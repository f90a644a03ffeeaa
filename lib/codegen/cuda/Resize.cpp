//===- Resize.cpp - interpolation, and padding ------------------------------===//
//
// A thread has some neighbouring elements of the result behind the axes that change, as channels that are last, or one where
// there are none: neighbours of the result are then neighbours of the input, or the same.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/irregular/ResizeTaps.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Kernel.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t threads = 256;

/// Crops and stretched filters are plain loops.
bool match(Operation *operation, Lowering &l) {
  auto op = cast<nn::ResizeOp>(operation);
  Type type = l.shapes.info(op.getX()).elementType;
  return (!op.getAntialias() || op.getMode() == nn::ResizeMode::nearest) && !op.getRoi() &&
         (type.isF32() || type.isF16() || type.isBF16()) && !cpu::ResizeTaps(op, l).axes().empty();
}

LogicalResult emit(Operation *operation, Lowering &l) {
  auto op = cast<nn::ResizeOp>(operation);
  cpu::ResizeTaps rule(op, l);
  if (failed(rule.defineSizes()))
    return failure();
  Kernel k(l, op, "resize", threads);
  Buffer x = k.read(op.getX()), y = k.write(op.getResult());
  rule.prepare(k);
  int64_t lanes = 1;
  nn::Dim inner = l.product(y.dims, rule.axes().back() + 1, y.rank());
  if (isAligned(l, op.getX()) && isAligned(l, op.getResult()))
    for (lanes = 16 / cpu::storageBytes(x); lanes > 1 && !isMultiple(inner, lanes);)
      lanes /= 2;
  nn::Dim vectors = l.numElements(op.getResult()).floorDiv(lanes);
  Ix i = k.block * threads + k.thread;
  k.ifThen(i < k.dim(vectors), [&] {
    SmallVector<Ix> position = k.delinearize(i * lanes, y.dims), strides = k.strides(x.dims), axisStrides;
    SmallVector<SmallVector<cpu::Tap, 4>> taps;
    Ix base = k.c(0);
    for (unsigned d = 0; d < y.rank(); ++d) {
      if (llvm::is_contained(rule.axes(), d)) {
        taps.push_back(rule.taps(k, d, position[d]));
        axisStrides.push_back(strides[d]);
      } else {
        base = base + position[d] * strides[d];
      }
    }
    SmallVector<Value> sums;
    cpu::forCombinations(k, taps, axisStrides, base, Value(), [&](Ix offset, Value weight) {
      SmallVector<Value> values = k.loadLanes(x, offset, lanes);
      if (!weight) { // the only one
        sums = values;
        return;
      }
      for (Value &v : values)
        v = k.toFloat(v);
      for (auto [n, v] : llvm::enumerate(values))
        v = sums.empty() ? cpu::fmul(k, v, weight) : k.fma(v, weight, sums[n]);
      sums = values;
    });
    for (Value &v : sums)
      if (v.getType() != y.valueType)
        v = k.fromFloat(v, y.valueType);
    k.storeLanes(y, i * lanes, sums);
  });
  k.bytes = (l.numElements(op.getX()) + l.numElements(op.getResult())) * cpu::storageBytes(x);
  k.launch(vectors.ceilDiv(l.c(threads)));
  return success();
}

/// Of what the CPU has for padding, the reference is a task an element, so that neighbouring threads have neighbours.
LogicalResult emitPad(Operation *op, Lowering &l) {
  for (const cpu::Emitter &emitter : cpu::emittersOf("nn.pad"))
    if (emitter.priority == 0)
      return emitter.emit(op, l);
  llvm_unreachable("every operation has a reference");
}

RegisterEmitter resize({"nn.resize", "cuda-resize", 10, match, emit});
RegisterEmitter pad({"nn.pad", "cuda-pad", 10, nullptr, emitPad});

} // namespace
} // namespace nnopt::cuda
