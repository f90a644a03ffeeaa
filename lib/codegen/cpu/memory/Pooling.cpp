//===- Pooling.cpp - max and average pooling --------------------------------===//

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// Both operations seen alike.
struct Pool {
  Operation *op;
  Lowering &l;
  Kernel k;
  bool isMax = false, includePad = false, columnMajor = false, channelsLast = false;
  ArrayRef<int64_t> kernel, strides, pads, dilations;
  Buffer x, out;
  Value indices;
  Type type; // of the accumulator
  unsigned spatial;

  Pool(Operation *op, Lowering &l) : op(op), l(l), k(l, op, op->getName().stripDialect()) {
    auto take = [&](auto pool) {
      kernel = pool.getKernel(), strides = pool.getStrides(), pads = pool.getPads(), dilations = pool.getDilations();
      channelsLast = pool.getChannelsLast();
    };
    if (auto pool = dyn_cast<nn::MaxPoolOp>(op)) {
      take(pool);
      isMax = true, columnMajor = pool.getColumnMajor(), indices = pool.getIndices();
    } else {
      auto avg = cast<nn::AvgPoolOp>(op);
      take(avg);
      includePad = avg.getCountIncludePad();
    }
    x = k.read(op->getOperand(0));
    out = k.write(op->getResult(0));
    type = isa<FloatType>(x.valueType) ? computeType(x.valueType) : x.valueType;
    spatial = x.rank() - 2;
    nn::Dim window = l.c(1);
    for (int64_t size : kernel)
      window = window * size;
    k.flops = l.numElements(op->getResult(0)) * window;
    k.bytes = (l.numElements(op->getOperand(0)) + l.numElements(op->getResult(0))) * storageBytes(x);
  }

  bool isFloat() const { return isa<FloatType>(type); }
  unsigned axisOf(unsigned s) const { return s + (channelsLast ? 1 : 2); }
  nn::Dim size(unsigned s) const { return x.dims[axisOf(s)]; }
  nn::Dim outSize(unsigned s) const { return out.dims[axisOf(s)]; }
  nn::Dim channels() const { return x.dims[channelsLast ? x.rank() - 1 : 1]; }

  Value identity() {
    if (!isMax)
      return k.constant(type, 0);
    if (isFloat())
      return floatConstant(k, type, -INFINITY);
    unsigned width = type.getIntOrFloatBitWidth();
    APInt lowest = x.isUnsigned ? APInt::getMinValue(width) : APInt::getSignedMinValue(width);
    return arith::ConstantOp::create(k.b, k.loc, k.b.getIntegerAttr(type, lowest));
  }

  Value combine(Value acc, Value v) {
    if (!isMax)
      return isFloat() ? fadd(k, acc, v) : Value(arith::AddIOp::create(k.b, k.loc, acc, v));
    if (isFloat())
      return fmax(k, acc, v);
    return x.isUnsigned ? Value(arith::MaxUIOp::create(k.b, k.loc, acc, v))
                        : Value(arith::MaxSIOp::create(k.b, k.loc, acc, v));
  }

  Value lift(Value v) { return isFloat() ? k.toFloat(v) : v; }
  Value lower(Value v) { return isFloat() ? k.fromFloat(v, out.valueType) : v; }

  /// First source position of the window of output position o (may be negative).
  Ix start(unsigned s, Ix o) { return o * strides[s] - pads[s]; }
  /// Number of window elements before position `limit`: ceil((limit - start) / dilation), within
  /// [0, kernel].
  Ix elementsBefore(unsigned s, Ix limit, Ix start) {
    Ix distance = (limit - start).max(k.c(0));
    return ((distance + (dilations[s] - 1)) / dilations[s]).min(k.c(kernel[s]));
  }
  /// The window elements [low, high) that lie inside of x.
  std::pair<Ix, Ix> valid(unsigned s, Ix start) {
    return {elementsBefore(s, k.c(0), start), elementsBefore(s, k.dim(size(s)), start)};
  }
  /// Window elements along an axis that the mean divides by.
  Ix counted(unsigned s, Ix start, Ix low, Ix high) {
    if (!includePad)
      return high - low;
    // Padding counts, but not what ceil_mode adds beyond it.
    return elementsBefore(s, k.dim(size(s)) + pads[spatial + s], start);
  }

  LogicalResult emitReference();
  LogicalResult emitChannelsLast();
  void outputVector(Ix base, ArrayRef<Ix> low, ArrayRef<Ix> high, ArrayRef<Ix> sourceStrides, Ix to, Value divisor,
                    const Step &step, bool full);
};

LogicalResult Pool::emitReference() {
  Buffer where = indices ? k.write(indices) : Buffer();
  Type i64 = k.b.getI64Type();
  nn::Dims window;
  nn::Dim windowSize = l.c(1);
  for (int64_t n : kernel) {
    window.push_back(l.c(n));
    windowSize = windowSize * n;
  }
  SmallVector<Ix> sourceStrides = k.strides(x.dims);
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    SmallVector<Ix> index = k.delinearize(i, out.dims);
    unsigned channelAxis = channelsLast ? x.rank() - 1 : 1;
    Ix base = index[0] * sourceStrides[0] + index[channelAxis] * sourceStrides[channelAxis];
    // Flat position of the first element of this image and channel, as ONNX counts it.
    Ix plane = index[0] * k.dim(channels()) + index[channelAxis];
    for (unsigned s = 0; s < spatial; ++s)
      plane = plane * k.dim(size(s));
    Ix count = k.c(1);
    SmallVector<Ix> starts;
    for (unsigned s = 0; s < spatial; ++s) {
      starts.push_back(start(s, index[axisOf(s)]));
      auto [low, high] = valid(s, starts[s]);
      count = count * counted(s, starts[s], low, high);
    }
    SmallVector<Value> init = {identity(), k.c(-1)};
    SmallVector<Value> result = k.loop(k.c(0), k.dim(windowSize), 1, init, [&](Ix w, ValueRange acc) {
      Value inside = arith::ConstantIntOp::create(k.b, k.loc, 1, 1);
      Ix offset = base, flat = k.c(0), pitch = k.c(1);
      for (auto [s, at] : llvm::enumerate(k.delinearize(w, window))) {
        Ix position = starts[s] + at * dilations[s];
        inside = k.land(inside, position.inRange(k.dim(size(s))));
        offset = offset + position * sourceStrides[axisOf(s)];
        flat = columnMajor ? flat + position * pitch : flat * k.dim(size(s)) + position;
        pitch = pitch * k.dim(size(s));
      }
      return k.ifElse(
          inside, {type, i64},
          [&]() -> SmallVector<Value> {
            Value v = lift(k.load(x, offset));
            Value next = combine(acc[0], v);
            if (!indices)
              return {next, acc[1]};
            Value better;
            if (isFloat())
              better = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UGT, v, acc[0]);
            else
              better = arith::CmpIOp::create(
                  k.b, k.loc, x.isUnsigned ? arith::CmpIPredicate::ugt : arith::CmpIPredicate::sgt, v, acc[0]);
            Value none = Ix(&k, acc[1]) < 0;
            better = arith::OrIOp::create(k.b, k.loc, better, none);
            return {next, k.select(better, plane + flat, acc[1])};
          },
          [&] { return SmallVector<Value>(acc); });
    });
    Value v = result[0];
    if (!isMax) {
      Value divisor = arith::SIToFPOp::create(k.b, k.loc, type, count);
      v = fdiv(k, v, divisor);
    }
    k.store(out, i, lower(v));
    if (indices)
      k.store(where, i, result[1]);
  });
  k.grain = 512;
  l.launch(k, l.numElements(op->getResult(0)));
  return success();
}

/// One vector (or several) of channels of one output position: x[base + window] combined.
void Pool::outputVector(Ix base, ArrayRef<Ix> low, ArrayRef<Ix> high, ArrayRef<Ix> sourceStrides, Ix to, Value divisor,
                        const Step &step, bool full) {
  SmallVector<Value> init(step.at.size(), like(k, identity(), step));
  std::function<SmallVector<Value>(unsigned, Ix, ValueRange)> visit = [&](unsigned s, Ix offset,
                                                                          ValueRange accs) -> SmallVector<Value> {
    if (s == spatial) {
      SmallVector<Value> next;
      for (auto [acc, i] : llvm::zip(accs, step.at))
        next.push_back(combine(acc, lift(loadStep(k, x, offset + i, step))));
      return next;
    }
    Ix pitch = sourceStrides[s] * dilations[s];
    if (full) {
      SmallVector<Value> values(accs);
      for (int64_t w = 0; w < kernel[s]; ++w)
        values = visit(s + 1, offset + pitch * w, values);
      return values;
    }
    return k.loop(low[s], high[s], 1, accs,
                  [&](Ix w, ValueRange inner) { return visit(s + 1, offset + w * pitch, inner); });
  };
  for (auto [i, v] : llvm::zip(step.at, visit(0, base, init)))
    storeStep(k, out, to + i, lower(divisor ? fmul(k, v, like(k, divisor, step)) : v), step);
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
      if (!isMax) {
        Ix count = rowCount * counted(last, from, low[last], high[last]);
        divisor = fdiv(k, floatConstant(k, type, 1), arith::SIToFPOp::create(k.b, k.loc, type, count));
      }
      auto emit = [&](bool full) {
        vectorLoop(k, k.c(0), channelCount, shape, multiple, [&](const Step &step) {
          outputVector(base, low, high, pitches, to, divisor, step, full);
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

bool matchChannelsLast(Operation *op, Lowering &l) {
  if (l.dims(op->getOperand(0)).size() < 3)
    return false;
  if (auto pool = dyn_cast<nn::MaxPoolOp>(op))
    return pool.getChannelsLast() && !pool.getIndices();
  return cast<nn::AvgPoolOp>(op).getChannelsLast();
}

LogicalResult emitReference(Operation *op, Lowering &l) { return Pool(op, l).emitReference(); }
LogicalResult emitChannelsLast(Operation *op, Lowering &l) { return Pool(op, l).emitChannelsLast(); }

RegisterEmitter maxReference({"nn.max_pool", "max-pool-reference", 0, nullptr, emitReference});
RegisterEmitter maxFast({"nn.max_pool", "max-pool", 10, matchChannelsLast, emitChannelsLast});
RegisterEmitter avgReference({"nn.avg_pool", "avg-pool-reference", 0, nullptr, emitReference});
RegisterEmitter avgFast({"nn.avg_pool", "avg-pool", 10, matchChannelsLast, emitChannelsLast});

} // namespace
} // namespace nnopt::cpu
