//===- Pooling.cpp - max, average and Lp pooling ----------------------------===//

#include "lib/codegen/cpu/memory/Pool.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace nnopt::cpu {

Pool::Pool(Operation *op, Lowering &l, Kernel &k) : op(op), l(l), k(k) {
  auto take = [&](auto pool) {
    kernel = pool.getKernel(), strides = pool.getStrides(), pads = pool.getPads(), dilations = pool.getDilations();
    channelsLast = pool.getChannelsLast();
  };
  if (auto pool = dyn_cast<nn::MaxPoolOp>(op)) {
    take(pool);
    isMax = true, columnMajor = pool.getColumnMajor(), indices = pool.getIndices();
  } else if (auto lp = dyn_cast<nn::LpPoolOp>(op)) {
    take(lp);
    p = lp.getP();
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

Value Pool::identity() {
  if (!isMax)
    return k.constant(type, 0);
  if (isFloat())
    return floatConstant(k, type, -INFINITY);
  unsigned width = type.getIntOrFloatBitWidth();
  APInt lowest = x.isUnsigned ? APInt::getMinValue(width) : APInt::getSignedMinValue(width);
  return arith::ConstantOp::create(k.b, k.loc, k.b.getIntegerAttr(type, lowest));
}

Value Pool::combine(Value acc, Value v) {
  if (!isMax)
    return isFloat() ? fadd(k, acc, v) : Value(arith::AddIOp::create(k.b, k.loc, acc, v));
  if (isFloat())
    return fmax(k, acc, v);
  return x.isUnsigned ? Value(arith::MaxUIOp::create(k.b, k.loc, acc, v))
                      : Value(arith::MaxSIOp::create(k.b, k.loc, acc, v));
}

Value Pool::lift(Value v) {
  if (!isFloat())
    return v;
  v = k.toFloat(v);
  if (!p)
    return v;
  Value size = math::AbsFOp::create(k.b, k.loc, v), power = size;
  if (p > 8)
    return math::PowFOp::create(k.b, k.loc, size, like(k, floatConstant(k, type, p), v.getType()));
  for (int64_t i = 1; i < p; ++i)
    power = fmul(k, power, size);
  return power;
}

Value Pool::lower(Value v) {
  if (!isFloat())
    return v;
  if (p == 2)
    v = math::SqrtOp::create(k.b, k.loc, v);
  else if (p > 2)
    v = math::PowFOp::create(k.b, k.loc, v, like(k, floatConstant(k, type, 1.0 / p), v.getType()));
  return k.fromFloat(v, out.valueType);
}

SmallVector<Value> Pool::begin(const Step &step) {
  size_t n = step.at.size();
  SmallVector<Value> accs(n, like(k, identity(), step));
  if (masksNaN())
    accs.append(n, like(k, arith::ConstantIntOp::create(k.b, k.loc, 0, 1), step));
  return accs;
}

SmallVector<Value> Pool::add(ValueRange accs, ArrayRef<Value> values) {
  SmallVector<Value> next;
  for (auto [acc, v] : llvm::zip(accs, values)) {
    if (!masksNaN()) {
      next.push_back(combine(acc, v));
      continue;
    }
    Value larger = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, v, acc);
    next.push_back(k.select(larger, v, acc));
  }
  if (masksNaN())
    for (auto [mask, v] : llvm::zip(accs.drop_front(values.size()), values)) {
      Value isNaN = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UNO, v, v);
      next.push_back(arith::OrIOp::create(k.b, k.loc, mask, isNaN));
    }
  return next;
}

SmallVector<Value> Pool::finish(ValueRange accs) {
  if (!masksNaN())
    return SmallVector<Value>(accs);
  size_t n = accs.size() / 2;
  SmallVector<Value> results;
  for (size_t i = 0; i < n; ++i)
    results.push_back(k.select(accs[n + i], like(k, floatConstant(k, type, NAN), accs[i].getType()), accs[i]));
  return results;
}

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
    if (isMean()) {
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

namespace {

/// Fast code for either layout; indices of maxima are left to the reference.
bool matchFast(Operation *op, Lowering &l) {
  if (l.dims(op->getOperand(0)).size() < 3)
    return false;
  auto max = dyn_cast<nn::MaxPoolOp>(op);
  return !max || !max.getIndices();
}

LogicalResult emitReference(Operation *op, Lowering &l) {
  Kernel k(l, op, op->getName().stripDialect());
  return Pool(op, l, k).emitReference();
}
LogicalResult emitFast(Operation *op, Lowering &l) {
  Kernel k(l, op, op->getName().stripDialect());
  Pool pool(op, l, k);
  return pool.channelsLast ? pool.emitChannelsLast() : pool.emitChannelsFirst();
}

RegisterEmitter maxReference({"nn.max_pool", "max-pool-reference", 0, nullptr, emitReference});
RegisterEmitter maxFast({"nn.max_pool", "max-pool", 10, matchFast, emitFast});
RegisterEmitter avgReference({"nn.avg_pool", "avg-pool-reference", 0, nullptr, emitReference});
RegisterEmitter avgFast({"nn.avg_pool", "avg-pool", 10, matchFast, emitFast});
RegisterEmitter lpReference({"nn.lp_pool", "lp-pool-reference", 0, nullptr, emitReference});
RegisterEmitter lpFast({"nn.lp_pool", "lp-pool", 10, matchFast, emitFast});

} // namespace
} // namespace nnopt::cpu
