//===- Reduction.cpp - one reduction kind on one element type ---------------===//

#include "lib/codegen/cpu/memory/Reduction.h"

using namespace mlir;

namespace nnopt::cpu {

using Kind = nn::ReduceKind;

Reduction::Reduction(Kernel &k, Kind kind, Type element, bool isUnsigned, bool precise)
    : k(k), kind(kind), element(element), isUnsigned(isUnsigned) {
  bool viaFloat = kind == Kind::l2 || kind == Kind::log_sum || kind == Kind::log_sum_exp;
  if (isa<FloatType>(element))
    acc = precise && !isExtremum() ? Type(k.b.getF64Type()) : computeType(element);
  else
    acc = viaFloat ? Type(k.b.getF64Type()) : element;
}

Value Reduction::extreme(bool largest) const {
  if (isFloat())
    return floatConstant(k, acc, largest ? INFINITY : -INFINITY);
  unsigned width = acc.getIntOrFloatBitWidth();
  bool asUnsigned = isUnsigned || width == 1;
  APInt v = largest ? (asUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width))
                    : (asUnsigned ? APInt::getMinValue(width) : APInt::getSignedMinValue(width));
  return arith::ConstantOp::create(k.b, k.loc, k.b.getIntegerAttr(acc, v));
}

Value Reduction::identity(Kind kind) const {
  if (kind == Kind::max)
    return extreme(false);
  if (kind == Kind::min)
    return extreme(true);
  return k.constant(acc, kind == Kind::prod ? 1 : 0);
}

Value Reduction::lift(Value v) const {
  Type from = getElementTypeOrSelf(v.getType());
  if (from == acc)
    return v;
  Type to = acc;
  if (auto vector = dyn_cast<VectorType>(v.getType()))
    to = VectorType::get(vector.getShape(), acc);
  if (isa<FloatType>(from))
    return arith::ExtFOp::create(k.b, k.loc, to, v);
  if (isUnsigned || from.isInteger(1))
    return arith::UIToFPOp::create(k.b, k.loc, to, v);
  return arith::SIToFPOp::create(k.b, k.loc, to, v);
}

Value Reduction::term(Value v, Value max) const {
  switch (kind) {
  case Kind::l1:
    if (isFloat())
      return math::AbsFOp::create(k.b, k.loc, v);
    return isUnsigned ? v : Value(math::AbsIOp::create(k.b, k.loc, v));
  case Kind::l2:
  case Kind::sum_square:
    if (isFloat())
      return fmul(k, v, v);
    return arith::MulIOp::create(k.b, k.loc, v, v);
  case Kind::log_sum_exp:
    return math::ExpOp::create(k.b, k.loc, fsub(k, v, like(k, max, v.getType())));
  default:
    return v;
  }
}

Value Reduction::combine(Kind kind, Value a, Value c) const {
  OpBuilder &b = k.b;
  bool asUnsigned = isUnsigned || acc.isInteger(1);
  switch (kind) {
  case Kind::max:
    if (isFloat())
      return arith::MaximumFOp::create(b, k.loc, a, c);
    return asUnsigned ? Value(arith::MaxUIOp::create(b, k.loc, a, c)) : Value(arith::MaxSIOp::create(b, k.loc, a, c));
  case Kind::min:
    if (isFloat())
      return arith::MinimumFOp::create(b, k.loc, a, c);
    return asUnsigned ? Value(arith::MinUIOp::create(b, k.loc, a, c)) : Value(arith::MinSIOp::create(b, k.loc, a, c));
  case Kind::prod:
    if (isFloat())
      return fmul(k, a, c);
    return arith::MulIOp::create(b, k.loc, a, c);
  default:
    if (isFloat())
      return fadd(k, a, c);
    return arith::AddIOp::create(b, k.loc, a, c);
  }
}

Value Reduction::usableMax(Value max) const {
  Value magnitude = math::AbsFOp::create(k.b, k.loc, max);
  Value infinite = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OEQ, magnitude,
                                         like(k, extreme(true), max.getType()));
  return k.select(infinite, like(k, k.constant(acc, 0), max.getType()), max);
}

Value Reduction::finish(Value v, Ix count, Value max) const {
  Type type = v.getType();
  switch (kind) {
  case Kind::mean:
    if (isFloat()) {
      Value n = arith::SIToFPOp::create(k.b, k.loc, acc, count);
      v = fdiv(k, v, like(k, n, type));
    } else {
      Value n = count.max(k.c(1));
      if (acc.getIntOrFloatBitWidth() < 64)
        n = arith::TruncIOp::create(k.b, k.loc, acc, n);
      n = like(k, n, type);
      v = isUnsigned ? Value(arith::DivUIOp::create(k.b, k.loc, v, n))
                     : Value(arith::DivSIOp::create(k.b, k.loc, v, n));
    }
    break;
  case Kind::l2:
    v = math::SqrtOp::create(k.b, k.loc, v);
    break;
  case Kind::log_sum:
    v = math::LogOp::create(k.b, k.loc, v);
    break;
  case Kind::log_sum_exp:
    v = fadd(k, math::LogOp::create(k.b, k.loc, v), max);
    break;
  default:
    break;
  }
  return isFloat() ? k.fromFloat(v, element, isUnsigned) : v;
}

SmallVector<bool> reducedAxes(nn::ReduceOp op, Lowering &l) {
  int64_t rank = l.dims(op.getX()).size();
  SmallVector<int64_t> axes;
  if (op.getAxes())
    axes.assign(op.getAxes()->begin(), op.getAxes()->end());
  else if (op.getDynamicAxes())
    axes = *l.shapes.constantContent(op.getDynamicAxes());
  SmallVector<bool> reduced(rank, axes.empty());
  for (int64_t axis : axes)
    reduced[axis < 0 ? axis + rank : axis] = true;
  return reduced;
}

Space reductionSpace(Lowering &l, ArrayRef<nn::Dim> dims, ArrayRef<bool> reduced) {
  nn::DimContext &ctx = l.dimContext();
  Space space;
  space.sizes.assign(dims.begin(), dims.end());
  nn::Dims out(dims.size(), l.c(0));
  nn::Dim stride = l.c(1);
  for (size_t d = dims.size(); d-- > 0;)
    if (!reduced[d]) {
      out[d] = stride;
      stride = stride * dims[d];
    }
  space.strides = {rowMajor(ctx, dims), out};
  return space;
}

std::string kernelName(nn::ReduceOp op) { return "reduce_" + nn::stringifyReduceKind(op.getKind()).str(); }

} // namespace nnopt::cpu
