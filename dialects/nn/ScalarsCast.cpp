//===- ScalarsCast.cpp - conversions between element types ----------------===//
#include "dialects/nn/ScalarBuilder.h"

using namespace mlir;

namespace nnopt::nn {

using FPred = arith::CmpFPredicate;
using IPred = arith::CmpIPredicate;

//===----------------------------------------------------------------------===//
// Narrow floats by their bits: those of 8 bits and less, for which no target has instructions, and the others for
// targets that have none
//===----------------------------------------------------------------------===//

namespace {
/// Layout of a narrow float type with a sign and a mantissa.
struct NarrowFloat {
  int width, mantissaBits, bias;
  bool hasInfinity; ///< IEEE-like top exponent (f8E5M2, f16, bf16).
  bool isFNUZ;      ///< One NaN in the place of -0, no infinity.
  /// Magnitude code of the largest finite number.
  int maxCode;

  static std::optional<NarrowFloat> get(Type t) {
    if (isa<Float8E4M3FNType>(t))
      return NarrowFloat{8, 3, 7, false, false, 0x7e};
    if (isa<Float8E4M3FNUZType>(t))
      return NarrowFloat{8, 3, 8, false, true, 0x7f};
    if (isa<Float8E5M2Type>(t))
      return NarrowFloat{8, 2, 15, true, false, 0x7b};
    if (isa<Float8E5M2FNUZType>(t))
      return NarrowFloat{8, 2, 16, false, true, 0x7f};
    if (isa<Float4E2M1FNType>(t))
      return NarrowFloat{4, 1, 1, false, false, 0x7};
    return std::nullopt;
  }
  /// f16 and bf16, which targets with instructions for them convert without this.
  static NarrowFloat getHalf(Type t) {
    return t.isF16() ? NarrowFloat{16, 10, 15, true, false, 0x7bff} : NarrowFloat{16, 7, 127, true, false, 0x7f7f};
  }
  int signBit() const { return 1 << (width - 1); }
  /// f4E2M1FN has neither infinity nor NaN: the whole range of codes is finite.
  bool isFinite() const { return maxCode == signBit() - 1 && !isFNUZ; }
};
} // namespace

/// The bits of a narrow float, zero-extended to i32.
static Value codeOf(ScalarBuilder &s, Value x) {
  Type bits = withElement(x.getType(), s.b.getIntegerType(s.element(x).getIntOrFloatBitWidth()));
  return s.make<arith::ExtUIOp>(withElement(x.getType(), s.b.getI32Type()),
                                s.make<arith::BitcastOp>(bits, x));
}

/// The narrow float with the given code in the low bits of an i32.
static Value fromCode(ScalarBuilder &s, Value code, Type to) {
  Type bits = withElement(code.getType(), s.b.getIntegerType(to.getIntOrFloatBitWidth()));
  return s.make<arith::BitcastOp>(withElement(code.getType(), to),
                                  s.make<arith::TruncIOp>(bits, code));
}

/// Narrow float to f32, exactly.
static Value decode(ScalarBuilder &s, Value x, NarrowFloat f) {
  Type f32 = withElement(x.getType(), s.b.getF32Type());
  Value bits = codeOf(s, x);
  Value code = s.make<arith::AndIOp>(bits, s.i(bits, f.signBit() - 1));
  // The code as an f32 of exponent bias 127; the product corrects the bias, also of subnormals.
  Value shifted = s.make<arith::ShLIOp>(code, s.i(code, 23 - f.mantissaBits));
  Value scaled = s.make<arith::BitcastOp>(f32, shifted);
  Value magnitude = s.mul(scaled, s.c(scaled, std::ldexp(1.0, 127 - f.bias)));
  Value nan = s.c(scaled, std::numeric_limits<double>::quiet_NaN());
  if (f.isFNUZ) {
    magnitude = s.select(s.cmp(IPred::eq, bits, s.i(bits, f.signBit())), nan, magnitude);
  } else if (!f.isFinite()) {
    if (f.hasInfinity) {
      Value infinity = s.c(scaled, std::numeric_limits<double>::infinity());
      magnitude = s.select(s.cmp(IPred::eq, code, s.i(code, f.maxCode + 1)), infinity, magnitude);
    }
    int firstNaN = f.maxCode + (f.hasInfinity ? 2 : 1);
    magnitude = s.select(s.cmp(IPred::sge, code, s.i(code, firstNaN)), nan, magnitude);
  }
  Value isNegative = s.cmp(IPred::sge, bits, s.i(bits, f.signBit()));
  return s.select(isNegative, s.neg(magnitude), magnitude);
}

/// f32 to a narrow float, to nearest, halves to even.
static Value encode(ScalarBuilder &s, Value x, Type to, NarrowFloat f, bool saturate) {
  Type i32 = withElement(x.getType(), s.b.getI32Type());
  Value bits = s.make<arith::BitcastOp>(i32, x);
  Value magnitude = s.make<arith::AndIOp>(bits, s.i(bits, 0x7fffffff));
  Value sign = s.make<arith::AndIOp>(s.make<arith::ShRUIOp>(bits, s.i(bits, 32 - f.width)),
                                     s.i(bits, f.signBit()));

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

  // Too large: clamp, or infinity (f8E5M2), or NaN. Without NaN, -0 stands for it.
  int nanCode = f.isFNUZ || f.isFinite() ? f.signBit() : f.signBit() - 1;
  int overflow = saturate || f.isFinite() ? f.maxCode : f.hasInfinity ? f.maxCode + 1 : nanCode;
  code = s.select(s.cmp(IPred::sgt, code, s.i(bits, f.maxCode)), s.i(bits, overflow), code);
  code = s.select(s.cmp(IPred::sgt, magnitude, s.i(bits, 0x7f800000)), s.i(bits, nanCode), code);
  Value result = s.make<arith::OrIOp>(code, sign);
  if (f.isFNUZ) // There is no -0; its code and that of a signed NaN is NaN.
    result = s.select(s.cmp(IPred::eq, code, s.i(bits, 0)), code, result);
  return fromCode(s, result, to);
}

/// f8E8M0FNU to f32: 2^(code - 127), exactly; 0xff is NaN.
static Value decodeExponent(ScalarBuilder &s, Value x) {
  Value code = codeOf(s, x);
  Value bits = s.make<arith::ShLIOp>(code, s.i(code, 23));
  // 2^-127 is a subnormal f32.
  bits = s.select(s.cmp(IPred::eq, code, s.i(code, 0)), s.i(code, 0x400000), bits);
  bits = s.select(s.cmp(IPred::eq, code, s.i(code, 0xff)), s.i(code, 0x7fc00000), bits);
  return s.make<arith::BitcastOp>(withElement(x.getType(), s.b.getF32Type()), bits);
}

/// The exponent of |x| as f8E8M0FNU (the rounding is that of to_float8e8m0 in the onnx package:
/// a half goes up, except from the subnormals); infinity and NaN are NaN.
static Value encodeExponent(ScalarBuilder &s, Value x, Type to, bool saturate, RoundMode mode) {
  Value bits = s.make<arith::BitcastOp>(withElement(x.getType(), s.b.getI32Type()), x);
  auto field = [&](int shift, int64_t mask) -> Value {
    return s.make<arith::AndIOp>(s.make<arith::ShRUIOp>(bits, s.i(bits, shift)), s.i(bits, mask));
  };
  Value exponent = field(23, 0xff), fraction = field(0, 0x7fffff), code = exponent;
  if (mode != RoundMode::down) {
    Value up;
    if (mode == RoundMode::up) {
      up = s.cmp(IPred::sgt, fraction, s.i(bits, 0));
    } else {
      Value half = s.i(bits, 0x400000);
      Value isTie = s.make<arith::AndIOp>(s.cmp(IPred::eq, fraction, half),
                                          s.cmp(IPred::sgt, exponent, s.i(bits, 0)));
      up = s.make<arith::OrIOp>(s.cmp(IPred::sgt, fraction, half), isTie);
    }
    int64_t largest = saturate ? 0xfe : 0xff; // that stays as it is
    up = s.make<arith::AndIOp>(up, s.cmp(IPred::slt, exponent, s.i(bits, largest)));
    code = s.select(up, s.add(exponent, s.i(bits, 1)), exponent);
  }
  return fromCode(s, code, to);
}

//===----------------------------------------------------------------------===//
// Building blocks
//===----------------------------------------------------------------------===//

Value ScalarBuilder::widen(Value x) {
  Type type = element(x);
  if (type.isF32() || type.isF64())
    return x;
  if (auto narrow = NarrowFloat::get(type))
    return decode(*this, x, *narrow);
  if (isa<Float8E8M0FNUType>(type))
    return decodeExponent(*this, x);
  return make<arith::ExtFOp>(withElement(x.getType(), b.getF32Type()), x);
}

Value ScalarBuilder::narrow(Value x, Type to, bool saturate, RoundMode mode) {
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
  if (auto narrow = NarrowFloat::get(to))
    return encode(*this, x, to, *narrow, saturate);
  if (isa<Float8E8M0FNUType>(to))
    return encodeExponent(*this, x, to, saturate, mode);
  return make<arith::TruncFOp>(withElement(x.getType(), to), x);
}

Value ScalarBuilder::widenByBits(Value x) {
  if (element(x).isF16())
    return decode(*this, x, NarrowFloat::getHalf(element(x)));
  Value code = codeOf(*this, x); // the upper half of an f32
  return make<arith::BitcastOp>(withElement(x.getType(), b.getF32Type()), make<arith::ShLIOp>(code, i(code, 16)));
}

Value ScalarBuilder::narrowByBits(Value x, Type to) {
  return encode(*this, x, to, NarrowFloat::getHalf(to), /*saturate=*/false);
}

Value ScalarBuilder::toFloat(Value x, Type to, bool isUnsigned) {
  Type type = withElement(x.getType(), to);
  return isUnsigned ? make<arith::UIToFPOp>(type, x) : make<arith::SIToFPOp>(type, x);
}

Value ScalarBuilder::toInteger(Value x, IntegerType to) {
  unsigned width = to.getWidth();
  bool isWideUnsigned = to.isUnsigned() && width == 64;
  // 16 bits and less are the low bits of a conversion to 32, unsigned 32 of one to 64.
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
      return s.narrow(wide, to, getSaturate(), getRoundMode());
    if (integer.getWidth() == 1)
      return s.cmp(FPred::UNE, wide, s.c(wide, 0));
    return s.toInteger(wide, integer);
  }
  bool isUnsigned = isUnsignedOperand(*this);
  if (!integer)
    return s.narrow(s.toFloat(x, to.isF64() ? to : b.getF32Type(), isUnsigned), to, getSaturate(),
                    getRoundMode());
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

//===----------------------------------------------------------------------===//
// Quantize and dequantize
//===----------------------------------------------------------------------===//

Value QuantizeOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  ScalarBuilder s{b, loc};
  Type f32 = b.getF32Type(), to = getTo();
  auto wide = [&](unsigned operand) {
    Value v = args[operand];
    return s.isFloat(v) ? s.narrow(s.widen(v), f32)
                        : s.toFloat(v, f32, isUnsignedOperand(*this, operand));
  };
  Value y = s.div(wide(0), wide(1));
  Type precision = getPrecision().value_or(getElementTypeOrSelf(getScale().getType()));
  if (isa<Float16Type, BFloat16Type>(precision))
    y = s.widen(s.narrow(y, precision));
  auto integer = dyn_cast<IntegerType>(to);
  if (!integer)
    return s.narrow(y, to, getSaturate());
  double span = std::ldexp(1.0, integer.getWidth()), low = integer.isUnsigned() ? 0 : -span / 2;
  if (integer.getWidth() > 16) {
    y = s.make<math::RoundEvenOp>(y);
    if (getZeroPoint())
      y = s.add(y, wide(2));
    y = s.select(s.cmp(FPred::OGT, y, s.c(y, low)), y, s.c(y, low)); // NaN becomes the lowest number.
    return s.toInteger(s.atMost(y, s.c(y, low + span - 1)), integer);
  }
  // Clamped first, by whole numbers, which commutes with rounding; NaN becomes the lowest number. Then 1.5 * 2^23, whose
  // last bit is worth 1, rounds halves to even and leaves the integer in the low bits of the sum.
  if (getSaturate()) {
    Value lowest = s.c(y, low), highest = s.c(y, low + span - 1);
    if (getZeroPoint()) {
      Value zero = wide(2);
      lowest = s.sub(lowest, zero);
      highest = s.sub(highest, zero);
    }
    y = s.select(s.cmp(FPred::OGT, y, lowest), y, lowest);
    y = s.atMost(y, highest);
  }
  y = s.add(y, s.c(y, 12582912));
  Type i32 = withElement(y.getType(), b.getI32Type());
  Value word = s.make<arith::BitcastOp>(i32, y);
  if (getZeroPoint()) {
    Value zero = args[2];
    if (s.isFloat(zero))
      zero = s.make<arith::FPToSIOp>(i32, wide(2));
    else if (s.element(zero).getIntOrFloatBitWidth() < 32)
      zero = s.make<arith::ExtUIOp>(i32, zero);
    word = s.add(word, zero);
  }
  return s.make<arith::TruncIOp>(withElement(y.getType(), b.getIntegerType(integer.getWidth())), word);
}

Value DequantizeOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  ScalarBuilder s{b, loc};
  Value x = args[0], scale = s.widen(args[1]);
  Type compute = s.element(scale);
  if (s.isFloat(x)) {
    x = s.narrow(s.widen(x), compute);
  } else {
    bool isUnsigned = isUnsignedOperand(*this);
    if (getZeroPoint()) {
      unsigned width = s.element(x).getIntOrFloatBitWidth() < 32 ? 32 : 64;
      Type type = withElement(x.getType(), b.getIntegerType(width));
      auto extend = [&](Value v) -> Value {
        return isUnsigned ? s.make<arith::ExtUIOp>(type, v) : s.make<arith::ExtSIOp>(type, v);
      };
      x = s.sub(extend(x), extend(args[2]));
      isUnsigned = false;
    }
    x = s.toFloat(x, compute, isUnsigned);
  }
  return s.narrow(s.mul(x, scale), getTo());
}

} // namespace nnopt::nn
