//===- ByteFloat.cpp - 8-bit floats -----------------------------------------===//

#include "lib/codegen/cpu/memory/ByteFloat.h"
#include "llvm/ADT/APFloat.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// An 8-bit format: mantissa bits, exponent bias, largest finite code, and the codes of NaN and of
/// infinity (that of NaN where there is none).
struct Format {
  int mantissa, bias, largest, nan, infinity;
  bool signedZero; // fnuz formats use the code of -0 for NaN
};

Format formatOf(Type type) {
  if (isa<Float8E4M3FNType>(type))
    return {3, 7, 0x7e, 0x7f, 0x7f, true};
  if (isa<Float8E5M2Type>(type))
    return {2, 15, 0x7b, 0x7e, 0x7c, true};
  if (isa<Float8E4M3FNUZType>(type))
    return {3, 8, 0x7f, 0x80, 0x80, false};
  return {2, 16, 0x7f, 0x80, 0x80, false};
}

/// Integer arithmetic in the shape (scalar or vector) of some value.
struct Bits {
  Kernel &k;
  Type like;

  Type shaped(Type element) const {
    auto vector = dyn_cast<VectorType>(like);
    return vector ? Type(VectorType::get(vector.getShape(), element)) : element;
  }
  Type i32() const { return shaped(k.b.getI32Type()); }
  Type f32() const { return shaped(k.b.getF32Type()); }
  Value c(int64_t v) const { return k.constant(i32(), double(v)); }
  Value f(double v) const { return k.constant(f32(), v); }
  Value land(Value a, Value b) const { return arith::AndIOp::create(k.b, k.loc, a, b); }
  Value lor(Value a, Value b) const { return arith::OrIOp::create(k.b, k.loc, a, b); }
  Value add(Value a, Value b) const { return arith::AddIOp::create(k.b, k.loc, a, b); }
  Value shl(Value a, int n) const { return arith::ShLIOp::create(k.b, k.loc, a, c(n)); }
  Value shr(Value a, int n) const { return arith::ShRUIOp::create(k.b, k.loc, a, c(n)); }
  Value cmp(arith::CmpIPredicate p, Value a, Value b) const { return arith::CmpIOp::create(k.b, k.loc, p, a, b); }
  Value asBits(Value v) const { return arith::BitcastOp::create(k.b, k.loc, i32(), v); }
  Value asFloat(Value v) const { return arith::BitcastOp::create(k.b, k.loc, f32(), v); }
};

using Predicate = arith::CmpIPredicate;

} // namespace

bool isByteFloat(Type type) {
  return isa<Float8E4M3FNType, Float8E5M2Type, Float8E4M3FNUZType, Float8E5M2FNUZType>(getElementTypeOrSelf(type));
}

Value fromByteFloat(Kernel &k, Value bytes, Type type) {
  Format format = formatOf(type);
  Bits b{k, bytes.getType()};
  Value v = arith::ExtUIOp::create(k.b, k.loc, b.i32(), bytes);
  Value magnitude = b.land(v, b.c(0x7f)), sign = b.shl(b.land(v, b.c(0x80)), 24);
  // Normal numbers only need the other bias; below them the code counts units of the smallest one.
  Value normal = b.add(b.shl(magnitude, 23 - format.mantissa), b.c(int64_t(127 - format.bias) << 23));
  Value small = arith::SIToFPOp::create(k.b, k.loc, b.f32(), magnitude);
  small = b.asBits(fmul(k, small, b.f(std::ldexp(1.0, 1 - format.bias - format.mantissa))));
  Value isSmall = b.cmp(Predicate::ult, magnitude, b.c(1 << format.mantissa));
  Value result = b.lor(k.select(isSmall, small, normal), sign);
  Value isNaN;
  if (!format.signedZero) {
    isNaN = b.cmp(Predicate::eq, v, b.c(0x80));
  } else {
    if (format.infinity != format.nan)
      result = k.select(b.cmp(Predicate::eq, magnitude, b.c(format.infinity)), b.lor(b.c(0x7f800000), sign), result);
    int64_t last = format.infinity != format.nan ? format.infinity : format.largest;
    isNaN = b.cmp(Predicate::ugt, magnitude, b.c(last));
  }
  return b.asFloat(k.select(isNaN, b.c(0x7fc00000), result));
}

Value toByteFloat(Kernel &k, Value v, Type type, bool saturate) {
  Format format = formatOf(type);
  Bits b{k, v.getType()};
  int drop = 23 - format.mantissa;
  Value bits = b.asBits(v), magnitude = b.land(bits, b.c(0x7fffffff));
  Value sign = b.land(b.shr(bits, 24), b.c(0x80));
  // Normal numbers: round the mantissa to nearest even (a carry moves into the exponent).
  Value odd = b.land(b.shr(magnitude, drop), b.c(1));
  Value rounded = b.add(b.add(magnitude, b.c((1 << (drop - 1)) - 1)), odd);
  Value normal = b.add(b.shr(rounded, drop), b.c(-(int64_t(127 - format.bias) << format.mantissa)));
  // Below them: count units of the smallest number. Clamped first, so that the count fits.
  double unit = std::ldexp(1.0, 1 - format.bias - format.mantissa), smallestNormal = std::ldexp(1.0, 1 - format.bias);
  Value absolute = b.asFloat(magnitude);
  Value isSmall = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OLT, absolute, b.f(smallestNormal));
  Value clamped = k.select(isSmall, absolute, b.f(0));
  Value units = math::RoundEvenOp::create(k.b, k.loc, fmul(k, clamped, b.f(1 / unit)));
  Value small = arith::FPToSIOp::create(k.b, k.loc, b.i32(), units);
  Value code = k.select(isSmall, small, normal);

  Value over = b.cmp(Predicate::sgt, code, b.c(format.largest));
  code = k.select(over, b.c(saturate ? format.largest : format.infinity & 0x7f), code);
  Value isNaN = b.cmp(Predicate::ugt, magnitude, b.c(0x7f800000));
  if (format.signedZero) {
    code = k.select(isNaN, b.c(format.nan), code);
    code = b.lor(code, sign);
  } else {
    Value isZero = b.cmp(Predicate::eq, code, b.c(0));
    code = k.select(isZero, code, b.lor(code, sign));
    if (!saturate)
      isNaN = b.lor(isNaN, over);
    code = k.select(isNaN, b.c(format.nan), code);
  }
  return arith::TruncIOp::create(k.b, k.loc, b.shaped(k.b.getI8Type()), code);
}

} // namespace nnopt::cpu
