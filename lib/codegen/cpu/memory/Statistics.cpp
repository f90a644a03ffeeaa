//===- Statistics.cpp - mean and variance of rows ---------------------------===//

#include "lib/codegen/cpu/memory/Statistics.h"

using namespace mlir;

namespace nnopt::cpu {

VectorShape rowShape(Lowering &l, nn::Dim n, Type type, ArrayRef<Type> storage, int64_t unroll) {
  VectorShape shape{l.target.lanes(type.getIntOrFloatBitWidth() / 8), unroll, canMask(l.target, storage)};
  if (!n.isConst())
    return shape;
  shape.unroll = std::clamp<int64_t>(n.value() / shape.lanes, 1, unroll);
  if (n.value() < shape.lanes && !shape.masked)
    shape.lanes = llvm::bit_floor(uint64_t(std::max<int64_t>(1, n.value())));
  return shape;
}

Value sumRow(Kernel &k, Type type, Ix n, VectorShape shape, bool multiple,
             function_ref<Value(Ix, const Step &)> term) {
  RowReduction r;
  r.type = type;
  r.identity = floatConstant(k, type, 0);
  r.merge = [&](Value a, Value b) { return fadd(k, a, b); };
  r.step = [&](Value acc, Ix i, const Step &step) {
    return fadd(k, acc, fillMasked(k, term(i, step), r.identity, step));
  };
  return reduceRow(k, k.c(0), n, shape, multiple, r);
}

Value asFloat(Kernel &k, Ix v, Type type) {
  if (auto c = v.constant())
    return floatConstant(k, type, *c);
  return arith::SIToFPOp::create(k.b, k.loc, type, v);
}

Value inverseRoot(Kernel &k, Value v, double epsilon) {
  Type type = getElementTypeOrSelf(v.getType());
  v = fadd(k, v, like(k, floatConstant(k, type, epsilon), v.getType()));
  return fdiv(k, like(k, floatConstant(k, type, 1), v.getType()), math::SqrtOp::create(k.b, k.loc, v));
}

Statistics rowStatistics(Kernel &k, Type type, Ix n, VectorShape shape, bool multiple, double epsilon,
                         function_ref<Value(Ix, const Step &)> value) {
  Value count = asFloat(k, n, type);
  Value mean = fdiv(k, sumRow(k, type, n, shape, multiple, value), count);
  Value squares = sumRow(k, type, n, shape, multiple, [&](Ix i, const Step &step) {
    Value d = fsub(k, value(i, step), like(k, mean, step));
    return fmul(k, d, d);
  });
  return {mean, inverseRoot(k, fdiv(k, squares, count), epsilon)};
}

} // namespace nnopt::cpu
