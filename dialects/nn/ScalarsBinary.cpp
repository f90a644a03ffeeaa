//===- ScalarsBinary.cpp - scalar code of operations with more operands ---===//
#include "dialects/nn/Constants.h"
#include "dialects/nn/ScalarBuilder.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace nnopt::nn {

using Args = llvm::ArrayRef<Value>;
using FPred = arith::CmpFPredicate;
using IPred = arith::CmpIPredicate;

Value AddOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args v) { return s.add(v[0], v[1]); });
}
Value SubOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args v) { return s.sub(v[0], v[1]); });
}
Value MulOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args v) { return s.mul(v[0], v[1]); });
}

//===----------------------------------------------------------------------===//
// Division
//===----------------------------------------------------------------------===//

/// Whether v is a constant other than 0 and -1, by which every integer can be divided.
static bool isHarmlessDivisor(Value v) {
  Attribute attr;
  if (!matchPattern(v, m_Constant(&attr)))
    return false;
  if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
    if (!dense.isSplat())
      return false;
    attr = dense.getSplatValue<Attribute>();
  }
  auto integer = dyn_cast<IntegerAttr>(attr);
  return integer && !integer.getValue().isZero() && !integer.getValue().isAllOnes();
}

/// Quotient and remainder (sign of x) where division by 0 gives 0 and x instead of a trap, and
/// the smallest number divided by -1 wraps around.
static std::pair<Value, Value> divideIntegers(ScalarBuilder &s, Value x, Value y, bool isUnsigned) {
  if (isUnsigned) {
    if (isHarmlessDivisor(y))
      return {s.make<arith::DivUIOp>(x, y), s.make<arith::RemUIOp>(x, y)};
    Value isZero = s.cmp(IPred::eq, y, s.i(y, 0));
    Value safe = s.select(isZero, s.i(y, 1), y);
    Value quotient = s.select(isZero, s.i(y, 0), s.make<arith::DivUIOp>(x, safe));
    return {quotient, s.sub(x, s.mul(quotient, y))};
  }
  if (isHarmlessDivisor(y))
    return {s.make<arith::DivSIOp>(x, y), s.make<arith::RemSIOp>(x, y)};
  Value isZero = s.cmp(IPred::eq, y, s.i(y, 0));
  Value isMinusOne = s.cmp(IPred::eq, y, s.i(y, -1));
  Value special = s.make<arith::OrIOp>(isZero, isMinusOne);
  Value safe = s.select(special, s.i(y, 1), y);
  Value quotient = s.make<arith::DivSIOp>(x, safe);
  quotient = s.select(isMinusOne, s.neg(x), s.select(isZero, s.i(y, 0), quotient));
  return {quotient, s.sub(x, s.mul(quotient, y))};
}

Value DivOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isUnsigned = isUnsignedOperand(*this);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args v) {
    return s.isFloat(v[0]) ? s.div(v[0], v[1]) : divideIntegers(s, v[0], v[1], isUnsigned).first;
  });
}

Value ModOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isUnsigned = isUnsignedOperand(*this), isFmod = getFmod();
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args v) {
    Value x = v[0], y = v[1];
    if (s.isFloat(x)) {
      Value r = s.make<arith::RemFOp>(x, y);
      if (isFmod)
        return r;
      // r has the sign of x: where that is not the sign of y, one y more.
      Value zero = s.c(r, 0);
      Value wrong = s.make<arith::XOrIOp>(s.cmp(FPred::OLT, r, zero), s.cmp(FPred::OLT, y, zero));
      wrong = s.make<arith::AndIOp>(wrong, s.cmp(FPred::ONE, r, zero));
      return s.select(wrong, s.add(r, y), r);
    }
    Value r = divideIntegers(s, x, y, isUnsigned).second;
    if (isFmod || isUnsigned)
      return r;
    Value zero = s.i(r, 0);
    Value signs = s.make<arith::XOrIOp>(r, y);
    Value wrong = s.make<arith::AndIOp>(s.cmp(IPred::slt, signs, zero), s.cmp(IPred::ne, r, zero));
    return s.select(wrong, s.add(r, y), r);
  });
}

//===----------------------------------------------------------------------===//
// Power
//===----------------------------------------------------------------------===//

/// The exponent where it is one constant number.
static std::optional<double> constantExponent(Value operand, Value arg) {
  FloatAttr f;
  IntegerAttr i;
  Attribute attr;
  if (matchPattern(arg, m_Constant(&attr))) {
    if (auto dense = dyn_cast<DenseElementsAttr>(attr))
      attr = dense.isSplat() ? dense.getSplatValue<Attribute>() : Attribute();
    if ((f = dyn_cast_or_null<FloatAttr>(attr)))
      return f.getValueAsDouble();
    if ((i = dyn_cast_or_null<IntegerAttr>(attr)))
      return double(i.getValue().getSExtValue());
  }
  auto data = ConstantData::get(operand);
  return data && data->size() == 1 ? std::optional(data->asDouble(0)) : std::nullopt;
}

/// x^n by repeated squaring for small n >= 1.
static Value powerByMultiplication(ScalarBuilder &s, Value x, unsigned n) {
  Value result;
  for (Value square = x; n; n >>= 1) {
    if (n & 1)
      result = result ? s.mul(result, square) : square;
    if (n > 1)
      square = s.mul(square, square);
  }
  return result;
}

/// Powers that need no exponential; null for others.
static Value simplePower(ScalarBuilder &s, Value x, double exponent) {
  if (exponent == 0)
    return s.isFloat(x) ? s.c(x, 1) : s.i(x, 1);
  if (exponent >= 1 && exponent <= 4 && exponent == std::floor(exponent))
    return powerByMultiplication(s, x, unsigned(exponent));
  if (!s.isFloat(x))
    return {};
  if (exponent == 0.5)
    return s.make<math::SqrtOp>(x);
  if (exponent == -0.5)
    return s.div(s.c(x, 1), s.make<math::SqrtOp>(x));
  if (exponent == -1 || exponent == -2)
    return s.div(s.c(x, 1), powerByMultiplication(s, x, unsigned(-exponent)));
  return {};
}

/// x^y of integers modulo 2^width, by the binary digits of y. Of an exponent of 128 or more only
/// the low digits count, with 64 set: right for x in {-1, 0, 1} and for even x, for which the true
/// power is 0 in this ring. Negative powers are 0 but for x = 1 and -1.
static Value integerPower(ScalarBuilder &s, Value x, Value y, bool isUnsignedExponent) {
  Value zero = s.i(x, 0), one = s.i(x, 1);
  Value exponent = y;
  Value isNegative = isUnsignedExponent ? Value() : s.cmp(IPred::slt, y, s.i(y, 0));
  unsigned width = ScalarBuilder::element(y).getIntOrFloatBitWidth();
  if (width >= 8) {
    Value large = s.cmp(IPred::ugt, y, s.i(y, 127));
    Value low = s.make<arith::OrIOp>(s.make<arith::AndIOp>(y, s.i(y, 63)), s.i(y, 64));
    exponent = s.select(large, low, y);
  }
  Value result = one, square = x;
  for (unsigned digit = 0; digit < std::min(7u, width); ++digit) {
    Value bit = s.make<arith::AndIOp>(exponent, s.i(y, int64_t(1) << digit));
    result = s.select(s.cmp(IPred::ne, bit, s.i(y, 0)), s.mul(result, square), result);
    square = s.mul(square, square);
  }
  if (!isNegative)
    return result;
  Value isOne = s.cmp(IPred::eq, x, one), isMinusOne = s.cmp(IPred::eq, x, s.i(x, -1));
  Value isUnit = s.make<arith::OrIOp>(isOne, isMinusOne);
  return s.select(isNegative, s.select(isUnit, result, zero), result);
}

Value PowOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool unsignedBase = isUnsignedOperand(*this, 0), unsignedExponent = isUnsignedOperand(*this, 1);
  std::optional<double> exponent = constantExponent(getRhs(), args[1]);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args v) {
    Value x = v[0], y = v[1];
    if (exponent)
      if (Value simple = simplePower(s, x, *exponent))
        return simple;
    if (s.isFloat(x)) {
      Type type = s.element(x);
      if (!s.isFloat(y))
        y = s.toFloat(y, type, unsignedExponent);
      else if (s.element(y) != type)
        y = type.isF64() ? s.make<arith::ExtFOp>(x.getType(), y)
                         : s.make<arith::TruncFOp>(x.getType(), y);
      return s.make<math::PowFOp>(x, y);
    }
    if (!s.isFloat(y))
      return integerPower(s, x, y, unsignedExponent);
    // An integer to a float power: in f64, truncated.
    Type f64 = s.b.getF64Type();
    Value wide = s.toFloat(x, f64, unsignedBase);
    if (!s.element(y).isF64())
      y = s.make<arith::ExtFOp>(wide.getType(), y);
    auto type = cast<IntegerType>(getElementTypeOrSelf(getLhs().getType()));
    return s.toInteger(s.make<math::PowFOp>(wide, y), type);
  });
}

//===----------------------------------------------------------------------===//
// Minimum, maximum
//===----------------------------------------------------------------------===//

/// The smaller (larger) of x and y; NaN if one is. `x < y ? x : y` already gives a NaN y.
static Value minMax(ScalarBuilder &s, Value x, Value y, bool isMax, bool isUnsigned) {
  Value isBetter = isMax ? s.less(y, x, isUnsigned) : s.less(x, y, isUnsigned);
  Value best = s.select(isBetter, x, y);
  return s.isFloat(x) ? s.select(s.isNaN(x), x, best) : best;
}

Value MinOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isUnsigned = isUnsignedOperand(*this);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args v) {
    return minMax(s, v[0], v[1], /*isMax=*/false, isUnsigned);
  });
}
Value MaxOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isUnsigned = isUnsignedOperand(*this);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args v) {
    return minMax(s, v[0], v[1], /*isMax=*/true, isUnsigned);
  });
}

/// When lo > hi the result is hi, as in numpy.clip.
Value ClipOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isUnsigned = isUnsignedOperand(*this);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args v) {
    return s.atMost(s.atLeast(v[0], v[1], isUnsigned), v[2], isUnsigned);
  });
}

Value PReluOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isUnsigned = isUnsignedOperand(*this);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args v) {
    if (isUnsigned)
      return v[0];
    Value zero = s.isFloat(v[0]) ? s.c(v[0], 0) : s.i(v[0], 0);
    return s.select(s.less(v[0], zero, false), s.mul(v[0], v[1]), v[0]);
  });
}

//===----------------------------------------------------------------------===//
// Bits, comparison, logic, selection
//===----------------------------------------------------------------------===//

#define NN_BITS_OP(NAME, ARITH)                                                                    \
  Value NAME::buildScalar(OpBuilder &b, Location loc, ValueRange args) {                           \
    return arith::ARITH::create(b, loc, args[0], args[1]);                                         \
  }
NN_BITS_OP(BitwiseAndOp, AndIOp)
NN_BITS_OP(BitwiseOrOp, OrIOp)
NN_BITS_OP(BitwiseXorOp, XOrIOp)
NN_BITS_OP(LogicalAndOp, AndIOp)
NN_BITS_OP(LogicalOrOp, OrIOp)
NN_BITS_OP(LogicalXorOp, XOrIOp)
#undef NN_BITS_OP

Value BitShiftOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  ScalarBuilder s{b, loc};
  Value x = args[0], by = args[1];
  unsigned width = ScalarBuilder::element(x).getIntOrFloatBitWidth();
  // Unsigned, so that a negative shift is out of range too.
  Value inRange = s.cmp(IPred::ult, by, s.i(by, width));
  if (getRight() && !isUnsignedOperand(*this))
    return s.make<arith::ShRSIOp>(x, s.select(inRange, by, s.i(by, width - 1)));
  Value safe = s.select(inRange, by, s.i(by, 0));
  Value shifted = getRight() ? s.make<arith::ShRUIOp>(x, safe) : s.make<arith::ShLIOp>(x, safe);
  return s.select(inRange, shifted, s.i(x, 0));
}

static Value compare(Operation *op, OpBuilder &b, Location loc, ValueRange args, FPred f,
                     IPred ofSigned, IPred ofUnsigned) {
  bool isUnsigned = isUnsignedOperand(op);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args v) {
    return s.isFloat(v[0]) ? s.cmp(f, v[0], v[1])
                           : s.cmp(isUnsigned ? ofUnsigned : ofSigned, v[0], v[1]);
  });
}

Value EqualOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return compare(*this, b, loc, args, FPred::OEQ, IPred::eq, IPred::eq);
}
Value LessOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return compare(*this, b, loc, args, FPred::OLT, IPred::slt, IPred::ult);
}
Value LessOrEqualOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return compare(*this, b, loc, args, FPred::OLE, IPred::sle, IPred::ule);
}
Value GreaterOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return compare(*this, b, loc, args, FPred::OGT, IPred::sgt, IPred::ugt);
}
Value GreaterOrEqualOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return compare(*this, b, loc, args, FPred::OGE, IPred::sge, IPred::uge);
}

Value WhereOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return arith::SelectOp::create(b, loc, args[0], args[1], args[2]);
}

} // namespace nnopt::nn
