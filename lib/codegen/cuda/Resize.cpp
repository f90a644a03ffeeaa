//===- Resize.cpp - interpolation, and padding ------------------------------===//
//
// A thread has some neighbouring elements of the result, as many as an access holds. Behind the axes that change, as channels that
// are last, these are neighbours of the input, too. Along the last axis that changes, each has its own samples; where elements are
// repeated, they are read once.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/irregular/ResizeTaps.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Kernel.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t threads = 256, maxSamples = 32; // of a thread, that are loaded one by one

/// Crops and stretched filters are plain loops.
bool match(Operation *operation, Lowering &l) {
  auto op = cast<nn::ResizeOp>(operation);
  Type type = l.shapes.info(op.getX()).elementType;
  return (!op.getAntialias() || op.getMode() == nn::ResizeMode::nearest) && !op.getRoi() &&
         isFloat(type) && !cpu::ResizeTaps(op, l).axes().empty();
}

class ResizeKernel {
public:
  ResizeKernel(nn::ResizeOp op, Lowering &l, cpu::ResizeTaps &rule)
      : op(op), l(l), rule(rule), k(l, op, "resize", threads), x(k.read(op.getX())), y(k.write(op.getResult())) {}

  LogicalResult emit() {
    rule.prepare(k);
    last = y.rank() - 1;
    alongLast = rule.axes().back() == last;
    chooseLanes();
    nn::Dim vectors = l.numElements(op.getResult()).floorDiv(lanes);
    Ix i = k.block * threads + k.thread;
    k.ifThen(i < k.dim(vectors), [&] {
      SmallVector<Ix> position = k.delinearize(i * lanes, y.dims), strides = k.strides(x.dims), axisStrides;
      SmallVector<SmallVector<cpu::Tap, 4>> taps;
      Ix base = k.c(0);
      for (unsigned d = 0; d < y.rank(); ++d) {
        if (alongLast && d == last)
          continue;
        if (!llvm::is_contained(rule.axes(), d)) {
          base = base + position[d] * strides[d];
          continue;
        }
        taps.push_back(tapsOf(d, position[d]));
        axisStrides.push_back(strides[d]);
      }
      if (alongLast)
        planLast(position[last]);
      SmallVector<Value> sums;
      cpu::forCombinations(k, taps, axisStrides, base, Value(), [&](Ix offset, Value weight) {
        SmallVector<Value> values;
        if (!alongLast)
          values = weighted(k.loadLanes(x, offset, lanes), weight);
        else if (repeats)
          values = repeated(offset);
        else
          for (ArrayRef<cpu::Tap> own : lastTaps)
            values.push_back(sampled(offset, own, weight));
        for (auto [n, v] : llvm::enumerate(values))
          if (!sums.empty())
            v = cpu::fadd(k, sums[n], v);
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

private:
  void chooseLanes() {
    if (!isAligned(l, op.getX()) || !isAligned(l, op.getResult()))
      return;
    lanes = 16 / cpu::storageBytes(x);
    nn::Dim inner = l.product(y.dims, alongLast ? last : rule.axes().back() + 1, y.rank());
    while (lanes > 1 && !isMultiple(inner, lanes))
      lanes /= 2;
    if (!alongLast)
      return;
    // Either all elements of an access are repeated in the result's, or it is one element.
    repeats = rule.repeats(last);
    if (repeats && (repeats % lanes == 0 || lanes % repeats == 0))
      return;
    repeats = 0;
    int64_t samples = 1;
    for (size_t n = 0; n < rule.axes().size(); ++n)
      samples *= rule.count();
    while (lanes > 1 && lanes * samples > maxSamples)
      lanes /= 2;
  }

  SmallVector<cpu::Tap, 4> tapsOf(unsigned axis, Ix position) {
    if (int64_t n = rule.repeats(axis))
      return {{position / n, Value()}};
    return rule.taps(k, axis, position);
  }

  /// Where the input is read for results from `position` on.
  void planLast(Ix position) {
    if (repeats) {
      first = position / repeats;
      return;
    }
    for (int64_t lane = 0; lane < lanes; ++lane)
      lastTaps.push_back(tapsOf(last, position + lane));
  }

  SmallVector<Value> repeated(Ix offset) {
    SmallVector<Value> read = k.loadLanes(x, offset + first, std::max<int64_t>(1, lanes / repeats)), values;
    for (int64_t lane = 0; lane < lanes; ++lane)
      values.push_back(read[lane / repeats]);
    return values;
  }

  Value sampled(Ix offset, ArrayRef<cpu::Tap> taps, Value weight) {
    Value sum;
    for (const cpu::Tap &tap : taps) {
      Value v = k.load(x, offset + tap.index);
      if (!tap.weight) // nearest along all axes
        return v;
      v = k.toFloat(v);
      sum = sum ? k.fma(v, tap.weight, sum) : cpu::fmul(k, v, tap.weight);
    }
    return weight ? cpu::fmul(k, sum, weight) : sum;
  }

  SmallVector<Value> weighted(SmallVector<Value> values, Value weight) {
    if (weight)
      for (Value &v : values)
        v = cpu::fmul(k, k.toFloat(v), weight);
    return values;
  }

  nn::ResizeOp op;
  Lowering &l;
  cpu::ResizeTaps &rule;
  Kernel k;
  Buffer x, y;
  unsigned last = 0;
  bool alongLast = false; // the last axis changes
  int64_t lanes = 1, repeats = 0;
  Ix first;
  SmallVector<SmallVector<cpu::Tap, 4>> lastTaps; // of each lane
};

LogicalResult emit(Operation *operation, Lowering &l) {
  auto op = cast<nn::ResizeOp>(operation);
  cpu::ResizeTaps rule(op, l);
  if (failed(rule.defineSizes()))
    return failure();
  return ResizeKernel(op, l, rule).emit();
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
