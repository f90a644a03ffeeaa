//===- Pooling.cpp - max, average and Lp pooling ----------------------------===//
//
// A thread has one position of the result: of some neighbouring channels where these are last, so that a warp reads and writes whole
// lines in either layout. Elements of small windows are all loaded at once, those outside from the nearest place inside.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Pool.h"
#include "lib/codegen/cuda/Device.h"
#include "lib/codegen/cuda/Kernel.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t threads = 256, maxUnrolled = 16;

/// Positions of maxima are left to plain loops, and so are powers that GPUs lack.
bool match(Operation *op, Lowering &l) {
  auto max = dyn_cast<nn::MaxPoolOp>(op);
  Type type = l.shapes.info(op->getOperand(0)).elementType;
  bool isFloat = type.isF32() || type.isF16() || type.isBF16();
  return l.dims(op->getOperand(0)).size() >= 3 && (max ? !max.getIndices() && (isFloat || isa<IntegerType>(type)) : isFloat);
}

LogicalResult emit(Operation *op, Lowering &l) {
  Kernel k(l, op, op->getName().stripDialect(), threads);
  cpu::Pool p(op, l, k);
  int64_t lanes = 1, window = 1;
  if (p.channelsLast && isAligned(l, op->getOperand(0)) && isAligned(l, op->getResult(0)))
    for (lanes = std::min<int64_t>(8, 16 / cpu::storageBytes(p.x)); lanes > 1 && !isMultiple(p.channels(), lanes);)
      lanes /= 2;
  for (int64_t n : p.kernel)
    window *= n;
  nn::Dim vectors = l.numElements(op->getResult(0)).floorDiv(lanes);
  Ix i = k.block * threads + k.thread;
  k.ifThen(i < k.dim(vectors), [&] {
    SmallVector<Ix> index = k.delinearize(i * lanes, p.out.dims), strides = k.strides(p.x.dims), starts, low, high;
    unsigned channelAxis = p.channelsLast ? p.x.rank() - 1 : 1;
    Ix base = index[0] * strides[0] + index[channelAxis] * strides[channelAxis], count = k.c(1);
    for (unsigned s = 0; s < p.spatial; ++s) {
      starts.push_back(p.start(s, index[p.axisOf(s)]));
      auto [first, end] = p.valid(s, starts[s]);
      low.push_back(first);
      high.push_back(end);
      count = count * p.counted(s, starts[s], first, end);
    }
    SmallVector<Ix> lane(lanes, k.c(0));
    cpu::Step step{lane, 1, Value()};
    auto lifted = [&](Ix offset) {
      SmallVector<Value> values = k.loadLanes(p.x, offset, lanes);
      for (Value &v : values)
        v = p.lift(v);
      return values;
    };
    // Element `at` of the window of axis s and those behind it.
    std::function<SmallVector<Value>(unsigned, Ix, Value, ValueRange)> visit = [&](unsigned s, Ix offset, Value inside,
                                                                                  ValueRange accs) -> SmallVector<Value> {
      if (s == p.spatial) {
        SmallVector<Value> values = lifted(offset);
        for (Value &v : values)
          v = inside ? k.select(inside, v, p.identity()) : v;
        return p.add(accs, values);
      }
      Ix stride = strides[p.axisOf(s)];
      if (window > maxUnrolled)
        return k.loop(low[s], high[s], 1, accs, [&](Ix at, ValueRange inner) {
          return visit(s + 1, offset + (starts[s] + at * p.dilations[s]) * stride, inside, inner);
        });
      SmallVector<Value> values(accs);
      for (int64_t at = 0; at < p.kernel[s]; ++at) {
        Ix position = starts[s] + at * p.dilations[s], size = k.dim(p.size(s));
        Value here = position.inRange(size);
        Ix safe = position.max(k.c(0)).min(size - 1);
        values = visit(s + 1, offset + safe * stride, inside ? k.land(inside, here) : here, values);
      }
      return values;
    };
    SmallVector<Value> results = p.finish(visit(0, base, Value(), p.begin(step)));
    for (Value &v : results) {
      if (p.isMean())
        v = cpu::fdiv(k, v, arith::SIToFPOp::create(k.b, k.loc, p.type, count));
      v = p.lower(v);
    }
    k.storeLanes(p.out, i * lanes, results);
  });
  k.launch(vectors.ceilDiv(l.c(threads)));
  return success();
}

RegisterEmitter max({"nn.max_pool", "cuda-max-pool", 10, match, emit});
RegisterEmitter avg({"nn.avg_pool", "cuda-avg-pool", 10, match, emit});
RegisterEmitter lp({"nn.lp_pool", "cuda-lp-pool", 10, match, emit});

} // namespace
} // namespace nnopt::cuda
