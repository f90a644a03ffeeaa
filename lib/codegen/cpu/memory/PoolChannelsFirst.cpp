//===- PoolChannelsFirst.cpp - pooling with lanes along a row ---------------===//
//
// Windows are separable: first the rows of a window are combined into one row (in scratch memory,
// between padding that holds the neutral element), then its elements along the row.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Pool.h"
#include "lib/codegen/cpu/memory/Statistics.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

struct RowPool {
  Pool &p;
  Kernel &k;
  Lowering &l;
  unsigned last;
  int64_t stride, dilation, kernelWidth, padding;
  VectorShape vertical, horizontal;
  Buffer row, inverse; // combined row; 1 / (window elements along the row that count)
  SmallVector<Ix> pitches;

  explicit RowPool(Pool &p)
      : p(p), k(p.k), l(p.l), last(p.spatial - 1), stride(p.strides[last]), dilation(p.dilations[last]),
        kernelWidth(p.kernel[last]), padding(p.pads[last]) {}

  /// Lanes at i * stride + offset of the row. What lies behind the row is never stored.
  Value load(Ix i, Ix offset, int64_t lanes) {
    Ix at = i * stride + offset;
    if (lanes == 1)
      return k.load(row, at);
    Value v = k.load(row, at, lanes);
    if (stride == 1)
      return v;
    Value next = k.load(row, at + lanes, lanes);
    SmallVector<int64_t> even;
    for (int64_t lane = 0; lane < lanes; ++lane)
      even.push_back(2 * lane);
    return vector::ShuffleOp::create(k.b, k.loc, v, next, even);
  }

  /// Combines the rows of a window, each beginning at `base` plus multiples of the pitches.
  void combineRows(Ix base, ArrayRef<Ix> low, ArrayRef<Ix> high) {
    nn::Dim width = p.size(last);
    vectorLoop(k, k.c(0), k.dim(width), vertical, isMultipleOf(width, vertical.lanes), [&](const Step &step) {
      std::function<SmallVector<Value>(unsigned, Ix, ValueRange)> visit = [&](unsigned s, Ix offset,
                                                                              ValueRange accs) -> SmallVector<Value> {
        if (s == last) {
          SmallVector<Value> values;
          for (Ix i : step.at)
            values.push_back(p.lift(loadStep(k, p.x, offset + i, step)));
          return p.add(accs, values);
        }
        return k.loop(low[s], high[s], 1, accs, [&](Ix w, ValueRange inner) {
          return visit(s + 1, offset + w * (pitches[s] * p.dilations[s]), inner);
        });
      };
      for (auto [i, v] : llvm::zip(step.at, p.finish(visit(0, base, p.begin(step)))))
        storeStep(k, row, i + padding, v, step);
    });
  }

  /// Combines the elements of each window along the row.
  void combineAlong(Ix to, Value factor) {
    nn::Dim width = p.outSize(last);
    vectorLoop(k, k.c(0), k.dim(width), horizontal, isMultipleOf(width, horizontal.lanes), [&](const Step &step) {
      for (Ix i : step.at) {
        SmallVector<Value> accs = p.begin({{i}, step.lanes, step.mask});
        if (kernelWidth <= 16)
          for (int64_t w = 0; w < kernelWidth; ++w)
            accs = p.add(accs, {load(i, k.c(w * dilation), step.lanes)});
        else
          accs = k.loop(k.c(0), k.c(kernelWidth), 1, accs, [&](Ix w, ValueRange a) {
            return p.add(a, {load(i, w * dilation, step.lanes)});
          });
        Value acc = p.finish(accs)[0];
        if (factor)
          acc = fmul(k, fmul(k, acc, like(k, factor, step)), loadStep(k, inverse, i, step));
        storeStep(k, p.out, to + i, p.lower(acc), step);
      }
    });
  }

  LogicalResult emit() {
    int64_t bytes = p.type.getIntOrFloatBitWidth() / 8;
    int64_t lanes = l.target.lanes(bytes);
    nn::Dim width = p.size(last), outWidth = p.outSize(last);
    bool masked = canMask(l.target, {p.x.storageType, p.out.storageType});
    vertical = {lanes, width.isConst() ? std::clamp<int64_t>(width.value() / lanes, 1, 4) : 2, masked};
    horizontal = {stride <= 2 ? lanes : 1, 1, masked};

    nn::Dim length = width + outWidth * stride + (padding + kernelWidth * dilation + 4 * lanes);
    row = k.at(k.scratch(length * bytes), p.type);
    fillRow(k, row, k.c(0), p.identity(), k.dim(length));
    if (p.isMean()) {
      inverse = k.at(k.scratch(outWidth * bytes), p.type);
      k.loop(k.c(0), k.dim(outWidth), 1, [&](Ix o) {
        Ix from = p.start(last, o);
        auto [low, high] = p.valid(last, from);
        k.store(inverse, o, reciprocal(p.counted(last, from, low, high)));
      });
    }
    for (unsigned s = 0; s < p.spatial; ++s)
      pitches.push_back(k.dim(l.product(p.x.dims, p.axisOf(s) + 1, p.x.rank())));
    Ix plane = k.dim(l.product(p.x.dims, 2, p.x.rank()));

    nn::Dims rows = {p.x.dims[0] * p.channels()};
    for (unsigned s = 0; s < last; ++s)
      rows.push_back(p.outSize(s));
    k.loop(k.begin, k.end, 1, [&](Ix task) {
      SmallVector<Ix> index = k.delinearize(task, rows), low(last), high(last);
      Ix base = index[0] * plane, count = k.c(1);
      for (unsigned s = 0; s < last; ++s) {
        Ix from = p.start(s, index[s + 1]);
        std::tie(low[s], high[s]) = p.valid(s, from);
        base = base + from * pitches[s];
        count = count * p.counted(s, from, low[s], high[s]);
      }
      combineRows(base, low, high);
      combineAlong(task * k.dim(outWidth), p.isMean() ? reciprocal(count) : Value());
    });
    int64_t window = 1;
    for (unsigned s = 0; s < last; ++s)
      window *= p.kernel[s];
    nn::Dim work = width * window + outWidth * kernelWidth;
    k.grain = work.isConst() ? std::max<int64_t>(1, 8192 / std::max<int64_t>(1, work.value())) : 8;
    l.launch(k, nn::product(l.dimContext(), rows));
    return success();
  }

  Value reciprocal(Ix count) { return fdiv(k, floatConstant(k, p.type, 1), asFloat(k, count, p.type)); }
};

} // namespace

LogicalResult Pool::emitChannelsFirst() { return RowPool(*this).emit(); }

} // namespace nnopt::cpu
