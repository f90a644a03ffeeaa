//===- Vectorize.cpp - vector loops over rows -------------------------------===//

#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {

bool canMask(const Target &target, int64_t bytes) {
  return target.avx512 || (target.avx2 && bytes >= 4);
}

bool canMask(const Target &target, ArrayRef<Type> types) {
  return llvm::all_of(types, [&](Type t) {
    return canMask(target, std::max<int64_t>(1, t.getIntOrFloatBitWidth() / 8));
  });
}

bool isMultipleOf(nn::Dim d, int64_t n) { return d && d.mod(d.context().constant(n)).isConst(0); }

void vectorLoop(Kernel &k, Ix low, Ix high, VectorShape shape, bool multiple,
                function_ref<void(const Step &)> body) {
  if (shape.lanes == 1) {
    k.loop(low, high, 1, [&](Ix i) { body({{i}, 1, {}}); });
    return;
  }
  int64_t wide = shape.lanes * shape.unroll;
  Ix length = high - low;
  Ix mid = low;
  if (shape.unroll > 1) {
    mid = low + (length - length % wide);
    k.loop(low, mid, wide, [&](Ix i) {
      SmallVector<Ix> at;
      for (int64_t u = 0; u < shape.unroll; ++u)
        at.push_back(i + u * shape.lanes);
      body({at, shape.lanes, {}});
    });
  }
  if (multiple) {
    k.loop(mid, high, shape.lanes, [&](Ix i) { body({{i}, shape.lanes, {}}); });
    return;
  }
  if (shape.masked) {
    if (shape.unroll == 1) {
      // The only loop: keep masks out of it.
      mid = low + (length - length % shape.lanes);
      k.loop(low, mid, shape.lanes, [&](Ix i) { body({{i}, shape.lanes, {}}); });
      k.ifThen(mid < high, [&] { body({{mid}, shape.lanes, k.mask(high - mid, shape.lanes)}); });
      return;
    }
    k.loop(mid, high, shape.lanes,
           [&](Ix i) { body({{i}, shape.lanes, k.mask(high - i, shape.lanes)}); });
    return;
  }
  Ix last = low + (length - length % shape.lanes);
  k.loop(mid, last, shape.lanes, [&](Ix i) { body({{i}, shape.lanes, {}}); });
  k.loop(last, high, 1, [&](Ix i) { body({{i}, 1, {}}); });
}

Value loadStep(Kernel &k, const Buffer &buf, Ix i, const Step &step) {
  if (step.lanes == 1)
    return k.load(buf, i);
  if (step.mask)
    return k.loadMasked(buf, i, step.lanes, step.mask);
  return k.load(buf, i, step.lanes);
}

void storeStep(Kernel &k, const Buffer &buf, Ix i, Value v, const Step &step) {
  if (step.mask)
    k.storeMasked(buf, i, v, step.mask);
  else
    k.store(buf, i, v);
}

Value fillMasked(Kernel &k, Value v, Value other, const Step &step) {
  return step.mask ? k.select(step.mask, v, like(k, other, v.getType())) : v;
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

SmallVector<Value> reduceBegin(Kernel &k, VectorShape shape, const RowReduction &r) {
  SmallVector<Value> accs;
  if (shape.lanes > 1)
    accs.assign(shape.unroll, k.splat(r.identity, shape.lanes));
  accs.push_back(r.identity);
  return accs;
}

SmallVector<Value> reduceAccumulate(Kernel &k, Ix low, Ix high, VectorShape shape, bool multiple,
                                    const RowReduction &r, ValueRange init) {
  SmallVector<Value> accs(init);
  if (shape.lanes == 1) {
    accs.back() = k.loop(low, high, 1, ValueRange{accs.back()}, [&](Ix i, ValueRange a) {
      return SmallVector<Value>{r.step(a[0], i, {{i}, 1, {}})};
    })[0];
    return accs;
  }
  int64_t wide = shape.lanes * shape.unroll;
  Ix length = high - low;
  Ix mid = low + (length - length % wide);
  ArrayRef<Value> vectors = ArrayRef<Value>(accs).drop_back();
  SmallVector<Value> next = k.loop(low, mid, wide, vectors, [&](Ix i, ValueRange a) {
    SmallVector<Value> result;
    for (auto [u, acc] : llvm::enumerate(a)) {
      Ix at = i + int64_t(u) * shape.lanes;
      result.push_back(r.step(acc, at, {{at}, shape.lanes, {}}));
    }
    return result;
  });
  llvm::copy(next, accs.begin());
  bool maskAll = shape.masked && !multiple;
  Ix last = multiple || maskAll ? high : low + (length - length % shape.lanes);
  accs[0] = k.loop(mid, last, shape.lanes, ValueRange{accs[0]}, [&](Ix i, ValueRange a) {
    Value mask = maskAll ? k.mask(high - i, shape.lanes) : Value();
    return SmallVector<Value>{r.step(a[0], i, {{i}, shape.lanes, mask})};
  })[0];
  if (!multiple && !maskAll)
    accs.back() = k.loop(last, high, 1, ValueRange{accs.back()}, [&](Ix i, ValueRange a) {
      return SmallVector<Value>{r.step(a[0], i, {{i}, 1, {}})};
    })[0];
  return accs;
}

Value reduceLanes(Kernel &k, Value v, function_ref<Value(Value, Value)> merge) {
  auto type = dyn_cast<VectorType>(v.getType());
  if (!type)
    return v;
  for (int64_t n = type.getNumElements(); n > 1; n /= 2) {
    SmallVector<int64_t> lower, upper;
    for (int64_t i = 0; i < n / 2; ++i) {
      lower.push_back(i);
      upper.push_back(i + n / 2);
    }
    Value a = vector::ShuffleOp::create(k.b, k.loc, v, v, lower);
    Value b = vector::ShuffleOp::create(k.b, k.loc, v, v, upper);
    v = merge(a, b);
  }
  return vector::ExtractOp::create(k.b, k.loc, v, ArrayRef<int64_t>{0});
}

Value reduceFinish(Kernel &k, VectorShape shape, const RowReduction &r, ValueRange accs) {
  if (shape.lanes == 1)
    return accs.back();
  SmallVector<Value> vectors(accs.drop_back());
  while (vectors.size() > 1) {
    SmallVector<Value> half;
    for (size_t i = 0; i + 1 < vectors.size(); i += 2)
      half.push_back(r.merge(vectors[i], vectors[i + 1]));
    if (vectors.size() % 2)
      half.push_back(vectors.back());
    vectors = half;
  }
  return r.merge(reduceLanes(k, vectors[0], r.merge), accs.back());
}

Value reduceRow(Kernel &k, Ix low, Ix high, VectorShape shape, bool multiple, const RowReduction &r) {
  SmallVector<Value> accs = reduceBegin(k, shape, r);
  return reduceFinish(k, shape, r, reduceAccumulate(k, low, high, shape, multiple, r, accs));
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

Value fadd(Kernel &k, Value a, Value b) { return arith::AddFOp::create(k.b, k.loc, a, b); }
Value fsub(Kernel &k, Value a, Value b) { return arith::SubFOp::create(k.b, k.loc, a, b); }
Value fmul(Kernel &k, Value a, Value b) { return arith::MulFOp::create(k.b, k.loc, a, b); }
Value fdiv(Kernel &k, Value a, Value b) { return arith::DivFOp::create(k.b, k.loc, a, b); }
Value fmax(Kernel &k, Value a, Value b) { return arith::MaximumFOp::create(k.b, k.loc, a, b); }

Value like(Kernel &k, Value scalar, Type type) {
  auto vector = dyn_cast<VectorType>(type);
  if (scalar.getType() == type)
    return scalar;
  return vector ? k.splat(scalar, vector.getNumElements()) : scalar;
}
Value like(Kernel &k, Value scalar, const Step &step) {
  return step.lanes == 1 ? scalar : k.splat(scalar, step.lanes);
}

Value floatConstant(Kernel &k, Type type, double v) {
  return arith::ConstantOp::create(k.b, k.loc, k.b.getFloatAttr(type, v));
}

Type computeType(Type type) { return type.isF64() ? type : Float32Type::get(type.getContext()); }

int64_t storageBytes(const Buffer &buf) {
  return std::max<int64_t>(1, buf.storageType.getIntOrFloatBitWidth() / 8);
}

Buffer asBits(Kernel &k, const Buffer &buf) {
  Buffer bits = k.at(buf.ptr, k.b.getIntegerType(storageBytes(buf) * 8), buf.dims);
  return bits;
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Elements up to this size are moved by straight code or plain loops: setting up vectors would
/// cost more.
static constexpr int64_t shortRow = 4;

static VectorShape moveShape(Kernel &k, const Buffer &dst, int64_t unroll) {
  int64_t bytes = storageBytes(dst);
  return {k.target().lanes(bytes), unroll, canMask(k.target(), bytes)};
}

void copyRow(Kernel &k, const Buffer &dst, Ix to, const Buffer &src, Ix from, Ix n) {
  auto move = [&](const Step &step) {
    SmallVector<Value> values;
    for (Ix i : step.at)
      values.push_back(loadStep(k, src, from + i, step));
    for (auto [i, v] : llvm::zip(step.at, values))
      storeStep(k, dst, to + i, v, step);
  };
  auto size = n.constant();
  if (size && *size <= shortRow) {
    for (int64_t i = 0; i < *size; ++i)
      move({{k.c(i)}, 1, {}});
    return;
  }
  VectorShape shape = moveShape(k, dst, 4);
  if (size && *size < shape.lanes && !shape.masked)
    shape.lanes = llvm::bit_floor(uint64_t(*size));
  if (size && *size < shape.lanes * shape.unroll)
    shape.unroll = 1;
  vectorLoop(k, k.c(0), n, shape, size && *size % shape.lanes == 0, move);
}

void fillRow(Kernel &k, const Buffer &dst, Ix to, Value v, Ix n) {
  VectorShape shape = moveShape(k, dst, 4);
  auto size = n.constant();
  if (size && *size < shape.lanes * shape.unroll)
    shape.unroll = 1;
  vectorLoop(k, k.c(0), n, shape, size && *size % shape.lanes == 0, [&](const Step &step) {
    for (Ix i : step.at)
      storeStep(k, dst, to + i, like(k, v, step), step);
  });
}

} // namespace nnopt::cpu
