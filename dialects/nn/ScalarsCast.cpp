//===- ScalarsCast.cpp - conversions between element types ----------------===//
#include "dialects/nn/ScalarBuilder.h"

using namespace mlir;

namespace nnopt::nn {

using FPred = arith::CmpFPredicate;
using IPred = arith::CmpIPredicate;

//===----------------------------------------------------------------------===//
// 8-bit floats, for which no target has instructions: by their bits
//===----------------------------------------------------------------------===//

namespace {
/// Layout of an 8-bit float type.
struct Float8 {
  int mantissaBits, bias;
  bool hasInfinity; ///< IEEE-like top exponent (f8E5M2).
  bool isFNUZ;      ///< One NaN in the place of -0, no infinity.
  /// Magnitude code of the largest finite number.
  int maxCode;

  static std::optional<Float8> get(Type t) {
    if (isa<Float8E4M3FNType>(t))
      return Float8{3, 7, false, false, 0x7e};
    if (isa<Float8E4M3FNUZType>(t))
      return Float8{3, 8, false, true, 0x7f};
    if (isa<Float8E5M2Type>(t))
      return Float8{2, 15, true, false, 0x7b};
    if (isa<Float8E5M2FNUZType>(t))
      return Float8{2, 16, false, true, 0x7f};
    return std::nullopt;
  }
};
} // namespace

/// 8-bit float to f32, exactly.
static Value decodeFloat8(ScalarBuilder &s, Value x, Float8 f) {
  Type i8 = withElement(x.getType(), s.b.getI8Type());
  Type i32 = withElement(x.getType(), s.b.getI32Type());
  Type f32 = withElement(x.getType(), s.b.getF32Type());
  Value bits = s.make<arith::ExtUIOp>(i32, s.make<arith::BitcastOp>(i8, x));
  Value code = s.make<arith::AndIOp>(bits, s.i(bits, 0x7f));
  // The code as an f32 of exponent bias 127; the product corrects the bias, also of subnormals.
  Value shifted = s.make<arith::ShLIOp>(code, s.i(code, 23 - f.mantissaBits));
  Value scaled = s.make<arith::BitcastOp>(f32, shifted);
  Value magnitude = s.mul(scaled, s.c(scaled, std::ldexp(1.0, 127 - f.bias)));
  Value nan = s.c(scaled, std::numeric_limits<double>::quiet_NaN());
  if (f.isFNUZ) {
    magnitude = s.select(s.cmp(IPred::eq, bits, s.i(bits, 0x80)), nan, magnitude);
  } else {
    if (f.hasInfinity) {
      Value infinity = s.c(scaled, std::numeric_limits<double>::infinity());
      magnitude = s.select(s.cmp(IPred::eq, code, s.i(code, f.maxCode + 1)), infinity, magnitude);
    }
    int firstNaN = f.maxCode + (f.hasInfinity ? 2 : 1);
    magnitude = s.select(s.cmp(IPred::sge, code, s.i(code, firstNaN)), nan, magnitude);
  }
  Value isNegative = s.cmp(IPred::sge, bits, s.i(bits, 0x80));
  return s.select(isNegative, s.neg(magnitude), magnitude);
}

/// f32 to an 8-bit float, to nearest, halves to even.
static Value encodeFloat8(ScalarBuilder &s, Value x, Type to, Float8 f, bool saturate) {
  Type i8 = withElement(x.getType(), s.b.getI8Type());
  Type i32 = withElement(x.getType(), s.b.getI32Type());
  Value bits = s.make<arith::BitcastOp>(i32, x);
  Value magnitude = s.make<arith::AndIOp>(bits, s.i(bits, 0x7fffffff));
  Value sign = s.make<arith::AndIOp>(s.make<arith::ShRUIOp>(bits, s.i(bits, 24)), s.i(bits, 0x80));

  // Normal numbers: round the bits at the mantissa's end, then rebias the exponent.
  int drop = 23 - f.mantissaBits;
  Value odd =
      s.make<arith::AndIOp>(s.make<arith::ShRUIOp>(magnitude, s.i(bits, drop)), s.i(bits, 1));
  Value rounded = s.add(s.add(magnitude, s.i(bits, (int64_t(1) << (drop - 1)) - 1)), odd);
  Value normal = s.sub(s.make<arith::ShRUIOp>(rounded, s.i(bits, drop)),
                       s.i(bits, int64_t(127 - f.bias) << f.mantissaBits));

  // Subnormal numbers: added to a number whose last place is the smallest subnormal, the sum is
  // rounded by the hardware and its low bits are the code.
  Value absolute = s.make<arith::BitcastOp>(x.getType(), magnitude);
  int magicExponent = 23 - f.mantissaBits + 1 - f.bias;
  Value sum = s.add(absolute, s.c(absolute, std::ldexp(1.0, magicExponent)));
  Value subnormal =
      s.sub(s.make<arith::BitcastOp>(i32, sum), s.i(bits, int64_t(127 + magicExponent) << 23));
  Value isSmall = s.cmp(FPred::OLT, absolute, s.c(absolute, std::ldexp(1.0, 1 - f.bias)));
  Value code = s.select(isSmall, subnormal, normal);

  // Too large: clamp, or infinity (f8E5M2), or NaN.
  int nanCode = f.isFNUZ ? 0x80 : 0x7f;
  int overflow = saturate ? f.maxCode : f.hasInfinity ? f.maxCode + 1 : nanCode;
  code = s.select(s.cmp(IPred::sgt, code, s.i(bits, f.maxCode)), s.i(bits, overflow), code);
  code = s.select(s.cmp(IPred::sgt, magnitude, s.i(bits, 0x7f800000)), s.i(bits, nanCode), code);
  Value result = s.make<arith::OrIOp>(code, sign);
  if (f.isFNUZ) // There is no -0; its code and that of a signed NaN is NaN.
    result = s.select(s.cmp(IPred::eq, code, s.i(bits, 0)), code, result);
  Value narrow = s.make<arith::TruncIOp>(i8, result);
  return s.make<arith::BitcastOp>(withElement(x.getType(), to), narrow);
}

//===----------------------------------------------------------------------===//
// Building blocks
//===----------------------------------------------------------------------===//

Value ScalarBuilder::widen(Value x) {
  Type type = element(x);
  if (type.isF32() || type.isF64())
    return x;
  if (auto f8 = Float8::get(type))
    return decodeFloat8(*this, x, *f8);
  return make<arith::ExtFOp>(withElement(x.getType(), b.getF32Type()), x);
}

Value ScalarBuilder::narrow(Value x, Type to, bool saturate) {
  Type from = element(x), f32 = b.getF32Type();
  if (from == to)
    return x;
  if (to.isF64())
    return make<arith::ExtFOp>(withElement(x.getType(), to), x);
  // By way of f32, as onnxruntime does; f64 to f16 in one step would be a library call.
  if (from.isF64())
    x = make<arith::TruncFOp>(withElement(x.getType(), f32), x);
  if (to.isF32())
    return x;
  if (auto f8 = Float8::get(to))
    return encodeFloat8(*this, x, to, *f8, saturate);
  return make<arith::TruncFOp>(withElement(x.getType(), to), x);
}

Value ScalarBuilder::toFloat(Value x, Type to, bool isUnsigned) {
  Type type = withElement(x.getType(), to);
  return isUnsigned ? make<arith::UIToFPOp>(type, x) : make<arith::SIToFPOp>(type, x);
}

Value ScalarBuilder::toInteger(Value x, IntegerType to) {
  unsigned width = to.getWidth();
  bool isWideUnsigned = to.isUnsigned() && width == 64;
  // 8 and 16 bits are the low bits of a conversion to 32, unsigned 32 of one to 64.
  unsigned via = width <= 16 ? 32 : to.isUnsigned() ? 64 : width;
  Type viaType = withElement(x.getType(), b.getIntegerType(via));
  // The largest float below 2^(via - 1); maxps(x, low) makes NaN the lowest number.
  unsigned digits = element(x).isF64() ? 53 : 24;
  double top = std::ldexp(1.0, via - 1);
  double high = digits >= via ? top - 1 : top - std::ldexp(1.0, via - 1 - digits);
  Value lowest = c(x, -top);
  Value clamped = select(cmp(FPred::OGT, x, lowest), x, lowest);
  clamped = atMost(clamped, c(x, high));
  Value result = make<arith::FPToSIOp>(viaType, clamped);
  if (isWideUnsigned) {
    // From 2^63 on: convert what exceeds it.
    double limit = std::ldexp(1.0, 64) - std::ldexp(1.0, 64 - digits);
    Value excess = sub(atMost(x, c(x, limit)), c(x, top));
    Value isLarge = cmp(FPred::OGE, x, c(x, top));
    excess = select(isLarge, excess, c(x, 0));
    Value upper = make<arith::FPToSIOp>(viaType, excess);
    upper = add(upper, i(upper, std::numeric_limits<int64_t>::min()));
    result = select(isLarge, upper, result);
  }
  if (via == width)
    return result;
  return make<arith::TruncIOp>(withElement(x.getType(), b.getIntegerType(width)), result);
}

//===----------------------------------------------------------------------===//
// Cast
//===----------------------------------------------------------------------===//

Value CastOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  ScalarBuilder s{b, loc};
  Value x = args[0];
  Type from = getElementTypeOrSelf(getX().getType()), to = getTo();
  if (from == to)
    return x;
  auto integer = dyn_cast<IntegerType>(to);
  if (s.isFloat(x)) {
    Value wide = s.widen(x);
    if (!integer)
      return s.narrow(wide, to, getSaturate());
    if (integer.getWidth() == 1)
      return s.cmp(FPred::UNE, wide, s.c(wide, 0));
    return s.toInteger(wide, integer);
  }
  bool isUnsigned = isUnsignedOperand(*this);
  if (!integer)
    return s.narrow(s.toFloat(x, to.isF64() ? to : b.getF32Type(), isUnsigned), to, getSaturate());
  if (integer.getWidth() == 1)
    return s.cmp(IPred::ne, x, s.i(x, 0));
  unsigned width = s.element(x).getIntOrFloatBitWidth();
  Type type = withElement(x.getType(), b.getIntegerType(integer.getWidth()));
  if (width == integer.getWidth())
    return x;
  if (width > integer.getWidth())
    return s.make<arith::TruncIOp>(type, x);
  return isUnsigned ? s.make<arith::ExtUIOp>(type, x) : s.make<arith::ExtSIOp>(type, x);
}

} // namespace nnopt::nn
