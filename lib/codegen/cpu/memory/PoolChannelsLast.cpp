//===- PoolChannelsLast.cpp - pooling with lanes along channels -------------===//

#include "lib/codegen/cpu/memory/Pool.h"

using namespace mlir;

namespace nnopt::cpu {

/// One vector (or several) of channels of one output position: x[base + window] combined.
static void outputVector(Pool &p, Ix base, ArrayRef<Ix> low, ArrayRef<Ix> high, ArrayRef<Ix> sourceStrides, Ix to,
                         Value divisor, const Step &step, bool full) {
  Kernel &k = p.k;
  std::function<SmallVector<Value>(unsigned, Ix, ValueRange)> visit = [&](unsigned s, Ix offset,
                                                                          ValueRange accs) -> SmallVector<Value> {
    if (s == p.spatial) {
      SmallVector<Value> values;
      for (Ix i : step.at)
        values.push_back(p.lift(loadStep(k, p.x, offset + i, step)));
      return p.add(accs, values);
    }
    Ix pitch = sourceStrides[s] * p.dilations[s];
    if (full) {
      SmallVector<Value> values(accs);
      for (int64_t w = 0; w < p.kernel[s]; ++w)
        values = visit(s + 1, offset + pitch * w, values);
      return values;
    }
    return k.loop(low[s], high[s], 1, accs,
                  [&](Ix w, ValueRange inner) { return visit(s + 1, offset + w * pitch, inner); });
  };
  for (auto [i, v] : llvm::zip(step.at, p.finish(visit(0, base, p.begin(step)))))
    storeStep(k, p.out, to + i, p.lower(divisor ? fmul(k, v, like(k, divisor, step)) : v), step);
}

// A task is one output row. For each position the part of the window inside of x is known before
// its elements are visited; where it is the whole window the visit is unrolled.
LogicalResult Pool::emitChannelsLast() {
  nn::Dim c = channels();
  int64_t bytes = isFloat() ? type.getIntOrFloatBitWidth() / 8 : storageBytes(x);
  VectorShape shape{l.target.lanes(bytes), 4, canMask(l.target, {x.storageType, out.storageType})};
  if (c.isConst())
    shape.unroll = std::clamp<int64_t>(c.value() / shape.lanes, 1, 4);
  if (c.isConst() && c.value() < shape.lanes && !shape.masked)
    shape.lanes = llvm::bit_floor(uint64_t(std::max<int64_t>(1, c.value())));
  bool multiple = isMultipleOf(c, shape.lanes);
  int64_t windowSize = 1;
  for (int64_t n : kernel)
    windowSize *= n;
  unsigned last = spatial - 1;

  nn::Dims rowDims = {x.dims[0]};
  for (unsigned s = 0; s < last; ++s)
    rowDims.push_back(outSize(s));
  SmallVector<Ix> pitches;
  for (unsigned s = 0; s < spatial; ++s)
    pitches.push_back(k.dim(l.product(x.dims, axisOf(s) + 1, x.rank())));
  Ix imagePitch = k.dim(l.product(x.dims, 1, x.rank())), width = k.dim(outSize(last)), channelCount = k.dim(c);

  k.loop(k.begin, k.end, 1, [&](Ix task) {
    SmallVector<Ix> index = k.delinearize(task, rowDims);
    Ix rowBase = index[0] * imagePitch, rowCount = k.c(1);
    SmallVector<Ix> low(spatial), high(spatial);
    Value rowFull = arith::ConstantIntOp::create(k.b, k.loc, 1, 1);
    auto isFull = [&](unsigned s) { return k.land(low[s] == 0, high[s] == k.c(kernel[s])); };
    for (unsigned s = 0; s < last; ++s) {
      Ix from = start(s, index[s + 1]);
      std::tie(low[s], high[s]) = valid(s, from);
      rowCount = rowCount * counted(s, from, low[s], high[s]);
      rowBase = rowBase + from * pitches[s];
      rowFull = k.land(rowFull, isFull(s));
    }
    k.loop(k.c(0), width, 1, [&](Ix o) {
      Ix from = start(last, o);
      std::tie(low[last], high[last]) = valid(last, from);
      Ix base = rowBase + from * pitches[last], to = (task * width + o) * channelCount;
      Value divisor;
      if (isMean()) {
        Ix count = rowCount * counted(last, from, low[last], high[last]);
        divisor = fdiv(k, floatConstant(k, type, 1), arith::SIToFPOp::create(k.b, k.loc, type, count));
      }
      auto emit = [&](bool full) {
        vectorLoop(k, k.c(0), channelCount, shape, multiple, [&](const Step &step) {
          outputVector(*this, base, low, high, pitches, to, divisor, step, full);
        });
      };
      if (windowSize > 16)
        emit(false);
      else
        k.ifThen(k.land(rowFull, isFull(last)), [&] { emit(true); }, [&] { emit(false); });
    });
  });
  nn::Dim work = outSize(last) * c * windowSize;
  k.grain = work.isConst() ? std::max<int64_t>(1, 8192 / std::max<int64_t>(1, work.value())) : 1;
  l.launch(k, nn::product(l.dimContext(), rowDims));
  return success();
}

} // namespace nnopt::cpu
