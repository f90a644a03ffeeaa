//===- Elementwise.cpp - import rules of elementwise operators ------------===//
#include "lib/frontend/onnx/Importer.h"
#include <numeric>

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

template <typename OpTy> void importUnary(Node &n) { n.out(0, n.make<OpTy>(n.in(0))); }

template <typename OpTy> void importFloatUnary(Node &n) {
  n.needFloat(n.in(0));
  n.out(0, n.make<OpTy>(n.in(0)));
}

/// Of integers too: in f64, where the large ones give exactly one.
void importErf(Node &n) {
  Value x = n.in(0);
  if (isa<FloatType>(n.elt(x)))
    return importUnary<nn::ErfOp>(n);
  n.needInt(x);
  n.out(0, n.convert(n.make<nn::ErfOp>(n.convert(x, n.b().getF64Type())), n.elt(x)));
}

/// The second operand of a binary operator. Before opset 7 its dimensions are those of the first from `axis` on, if there
/// is one; they are the last ones otherwise, as in newer opsets.
Value second(Node &n) {
  Value a = n.in(0), b = n.in(1);
  if (n.version() >= 7 || !n.hasAttr("axis") || !n.i("broadcast", 0))
    return b;
  int64_t rank = n.rank(b), after = n.rank(a) - n.axis(n.i("axis"), n.rank(a)) - rank;
  if (after < 0)
    n.invalid("the second operand has more dimensions than the first has from 'axis' on");
  Ints axes(after);
  std::iota(axes.begin(), axes.end(), rank);
  return n.unsqueeze(b, axes);
}

template <typename OpTy> void importBinary(Node &n) {
  n.needSameType({n.in(0), n.in(1)});
  n.out(0, n.make<OpTy>(n.in(0), second(n)));
}

template <typename OpTy> void importLogical(Node &n) {
  n.needBool(n.in(0));
  n.needBool(n.in(1));
  importBinary<OpTy>(n);
}

/// Before opset 7 a slope of more than one element is one for each channel.
void importPRelu(Node &n) {
  Value x = n.in(0), slope = n.in(1);
  n.needSameType({x, slope});
  if (n.version() < 7 && n.rank(slope) == 1 && n.rank(x) > 2 && !n.dim(slope, 0).isConst(1)) {
    Ints axes(n.rank(x) - 2);
    std::iota(axes.begin(), axes.end(), 1);
    slope = n.unsqueeze(slope, axes);
  }
  n.out(0, n.make<nn::PReluOp>(x, slope));
}

template <typename OpTy> void importBitwise(Node &n) {
  n.needInt(n.in(0));
  importBinary<OpTy>(n);
}

/// Operators of any number of operands are chains of binary ones.
template <typename OpTy> Value chain(Node &n) {
  Values all = n.allIn();
  n.needSameType(all);
  Value result = all[0];
  for (Value v : ArrayRef<Value>(all).drop_front())
    result = n.make<OpTy>(result, v);
  return result;
}
template <typename OpTy> void importVariadic(Node &n) { n.out(0, chain<OpTy>(n)); }

void importMean(Node &n) {
  n.needFloat(n.in(0));
  Value sum = chain<nn::AddOp>(n);
  if (n.numInputs() > 1)
    sum = n.make<nn::DivOp>(sum, n.number(n.numInputs(), n.elt(sum)));
  n.out(0, sum);
}

/// Since opset 12 base and exponent may have different types; the result has that of the base.
void importPow(Node &n) {
  Value base = n.in(0), exponent = second(n);
  Type result = n.elt(base), other = n.elt(exponent);
  if (!isa<FloatType>(result) && isa<FloatType>(other)) {
    Value power = n.make<nn::PowOp>(n.convert(base, other), exponent);
    n.out(0, n.convert(power, result));
    return;
  }
  n.out(0, n.make<nn::PowOp>(base, n.convert(exponent, result)));
}

void importMod(Node &n) {
  bool fmod = n.i("fmod", 0);
  n.needSameType({n.in(0), n.in(1)});
  if (!fmod && n.version() < 28 && isa<FloatType>(n.elt(n.in(0))))
    n.invalid("floating point operands need fmod = 1");
  n.out(0, n.make<nn::ModOp>(n.in(0), n.in(1), n.flag(fmod)));
}

void importBitShift(Node &n) {
  std::string direction = n.s("direction", "");
  if (direction != "LEFT" && direction != "RIGHT")
    n.invalid("attribute 'direction' must be LEFT or RIGHT");
  n.needInt(n.in(0));
  n.needSameType({n.in(0), n.in(1)});
  n.out(0, n.make<nn::BitShiftOp>(n.in(0), n.in(1), n.flag(direction == "RIGHT")));
}

void importWhere(Node &n) {
  n.needBool(n.in(0));
  n.needSameType({n.in(1), n.in(2)});
  n.out(0, n.make<nn::WhereOp>(n.in(0), n.in(1), n.in(2)));
}

void importNot(Node &n) {
  n.needBool(n.in(0));
  n.out(0, n.make<nn::LogicalNotOp>(n.in(0)));
}

/// A missing bound does not clip at all, so one bound alone is max or min.
void importClip(Node &n) {
  Value x = n.in(0), lo, hi;
  if (n.version() < 11) {
    constexpr double lowest = std::numeric_limits<float>::lowest(),
                     highest = std::numeric_limits<float>::max();
    double min = n.f("min", lowest), max = n.f("max", highest);
    // The default bounds are those of f32, in f64 too.
    if (min > lowest || n.elt(x).isF64())
      lo = n.number(min, n.elt(x));
    if (max < highest || n.elt(x).isF64())
      hi = n.number(max, n.elt(x));
  } else {
    lo = n.optIn(1);
    hi = n.optIn(2);
    for (Value *bound : {&lo, &hi})
      if (*bound) {
        n.needSameType({x, *bound});
        *bound = n.scalar(*bound);
      }
  }
  if (lo && hi)
    x = n.make<nn::ClipOp>(x, lo, hi);
  else if (lo)
    x = n.make<nn::MaxOp>(x, lo);
  else if (hi)
    x = n.make<nn::MinOp>(x, hi);
  n.out(0, x);
}

Value castTo(Node &n, Type type) {
  bool saturate = n.i("saturate", 1);
  std::string round = n.s("round_mode", "up");
  std::optional<nn::RoundMode> mode = nn::symbolizeRoundMode(round);
  if (!mode)
    n.invalid("unknown round_mode '" + round + "'");
  Value x = n.in(0);
  if (n.elt(x) == type)
    return x;
  if (n.isString(x) || isa<nn::StringType>(type))
    return convertString(n, x, type);
  return n.make<nn::CastOp>(x, TypeAttr::get(type), n.b().getBoolAttr(saturate),
                            nn::RoundModeAttr::get(n.ctx(), *mode));
}

void importCast(Node &n) {
  int64_t to = n.i("to");
  Type type = elementType(n.ctx(), to);
  if (!type)
    n.unsupported("attribute 'to'", "element type " + dataTypeName(to) + " is not supported");
  n.out(0, castTo(n, type));
}

void importCastLike(Node &n) { n.out(0, castTo(n, n.elt(n.in(1)))); }

void importEqual(Node &n) {
  if (!n.isString(n.in(0)) && !n.isString(n.in(1)))
    return importBinary<nn::EqualOp>(n);
  n.needSameType({n.in(0), n.in(1)});
  n.out(0, n.make<nn::StringEqualOp>(n.in(0), n.in(1)));
}

void importGelu(Node &n) {
  std::string approximate = n.s("approximate", "none");
  if (approximate != "none" && approximate != "tanh")
    n.invalid("attribute 'approximate' must be none or tanh");
  n.needFloat(n.in(0));
  n.out(0, n.make<nn::GeluOp>(n.in(0), n.flag(approximate == "tanh")));
}

void importHardSigmoid(Node &n) {
  n.needFloat(n.in(0));
  n.out(0, n.make<nn::HardSigmoidOp>(n.in(0), n.f64(n.f("alpha", 0.2f)), n.f64(n.f("beta", 0.5))));
}

template <typename OpTy, int defaultTimes100> void importAlpha(Node &n) {
  n.needFloat(n.in(0));
  n.out(0, n.make<OpTy>(n.in(0), n.f64(n.f("alpha", float(defaultTimes100 / 100.0)))));
}

void importSelu(Node &n) {
  n.needFloat(n.in(0));
  double alpha = n.f("alpha", 1.67326319217681884765625),
         gamma = n.f("gamma", 1.05070102214813232421875);
  n.out(0, n.make<nn::SeluOp>(n.in(0), n.f64(alpha), n.f64(gamma)));
}

void importShrink(Node &n) {
  n.out(0, n.make<nn::ShrinkOp>(n.in(0), n.f64(n.f("lambd", 0.5)), n.f64(n.f("bias", 0))));
}

/// x * sigmoid(alpha * x).
Value swish(Node &n, Value x, double alpha) { return n.make<nn::SiluOp>(x, n.f64(alpha)); }

void importSwish(Node &n) {
  n.needFloat(n.in(0));
  n.out(0, swish(n, n.in(0), n.f("alpha", 1)));
}

void importSwiGLU(Node &n) {
  n.needFloat(n.in(0));
  n.needSameType({n.in(0), n.in(1)});
  n.out(0, n.make<nn::MulOp>(swish(n, n.in(0), n.f("alpha", 1)), n.in(1)));
}

/// The bits stay; only bool, of which memory holds 0 or 1, cannot take them all.
void importBitCast(Node &n) {
  int64_t to = n.i("to");
  Type type = elementType(n.ctx(), to);
  if (!type)
    n.unsupported("attribute 'to'", "element type " + dataTypeName(to) + " is not supported");
  Value x = n.in(0);
  if (isa<nn::StringType>(type) || isa<nn::StringType>(n.elt(x)))
    n.invalid("the bits of strings cannot be cast");
  if (nn::elementBytes(type) != nn::elementBytes(n.elt(x)))
    n.invalid("element types of different widths");
  if (type == n.elt(x))
    n.out(0, x);
  else if (type.isInteger(1))
    n.out(0, n.convert(x, type));
  else
    n.out(0, n.make<nn::BitCastOp>(x, TypeAttr::get(type)));
}

void importIsInf(Node &n) {
  n.needFloat(n.in(0));
  bool negative = n.i("detect_negative", 1), positive = n.i("detect_positive", 1);
  n.out(0, n.make<nn::IsInfOp>(n.in(0), n.b().getBoolAttr(negative), n.b().getBoolAttr(positive)));
}

} // namespace

void registerElementwise(Registry &r) {
  r.add("Abs", 1, 1, importUnary<nn::AbsOp>);
  r.add("Neg", 1, 1, importUnary<nn::NegOp>);
  r.add("Sign", 1, 1, importUnary<nn::SignOp>, 1, 9);
  r.add("Ceil", 1, 1, importFloatUnary<nn::CeilOp>);
  r.add("Floor", 1, 1, importFloatUnary<nn::FloorOp>);
  r.add("Round", 1, 1, importFloatUnary<nn::RoundOp>, 1, 11);
  r.add("Sqrt", 1, 1, importFloatUnary<nn::SqrtOp>);
  r.add("Exp", 1, 1, importFloatUnary<nn::ExpOp>);
  r.add("Log", 1, 1, importFloatUnary<nn::LogOp>);
  r.add("Sin", 1, 1, importFloatUnary<nn::SinOp>, 1, 7);
  r.add("Cos", 1, 1, importFloatUnary<nn::CosOp>, 1, 7);
  r.add("Tan", 1, 1, importFloatUnary<nn::TanOp>, 1, 7);
  r.add("Asin", 1, 1, importFloatUnary<nn::AsinOp>, 1, 7);
  r.add("Acos", 1, 1, importFloatUnary<nn::AcosOp>, 1, 7);
  r.add("Atan", 1, 1, importFloatUnary<nn::AtanOp>, 1, 7);
  r.add("Sinh", 1, 1, importFloatUnary<nn::SinhOp>, 1, 9);
  r.add("Cosh", 1, 1, importFloatUnary<nn::CoshOp>, 1, 9);
  r.add("Tanh", 1, 1, importFloatUnary<nn::TanhOp>);
  r.add("Asinh", 1, 1, importFloatUnary<nn::AsinhOp>, 1, 9);
  r.add("Acosh", 1, 1, importFloatUnary<nn::AcoshOp>, 1, 9);
  r.add("Atanh", 1, 1, importFloatUnary<nn::AtanhOp>, 1, 9);
  r.add("Erf", 1, 1, importErf, 1, 9);
  r.add("Sigmoid", 1, 1, importFloatUnary<nn::SigmoidOp>);
  r.add("Relu", 1, 1, importUnary<nn::ReluOp>);
  r.add("Softplus", 1, 1, importFloatUnary<nn::SoftplusOp>);
  r.add("Softsign", 1, 1, importFloatUnary<nn::SoftsignOp>);
  r.add("Reciprocal", 1, 1, importFloatUnary<nn::ReciprocalOp>);
  r.add("Mish", 1, 1, importFloatUnary<nn::MishOp>, 1, 18);
  r.add("HardSwish", 1, 1, importFloatUnary<nn::HardSwishOp>, 1, 14);
  r.add("IsNaN", 1, 1, importFloatUnary<nn::IsNaNOp>, 1, 9);
  r.add("IsInf", 1, 1, importIsInf, 1, 10);
  r.add("Not", 1, 1, importNot, 1, 1);
  r.add(
      "BitwiseNot", 1, 1,
      [](Node &n) {
        n.needInt(n.in(0));
        importUnary<nn::BitwiseNotOp>(n);
      },
      1, 18);
  r.add("Gelu", 1, 1, importGelu, 1, 20);
  r.add("HardSigmoid", 1, 1, importHardSigmoid);
  r.add("LeakyRelu", 1, 1, importAlpha<nn::LeakyReluOp, 1>);
  r.add("Elu", 1, 1, importAlpha<nn::EluOp, 100>);
  r.add("Celu", 1, 1, importAlpha<nn::CeluOp, 100>, 1, 12);
  r.add("ThresholdedRelu", 1, 1, importAlpha<nn::ThresholdedReluOp, 100>, 1, 10);
  r.add("Selu", 1, 1, importSelu);
  r.add("Shrink", 1, 1, importShrink, 1, 9);
  r.add("Swish", 1, 1, importSwish, 1, 24);
  r.add("SwiGLU", 2, 2, importSwiGLU, 1, 28);
  r.add("BitCast", 1, 1, importBitCast, 1, 26);
  r.add("Cast", 1, 1, importCast);
  r.add("CastLike", 2, 2, importCastLike, 1, 15);

  r.add("Add", 2, 2, importBinary<nn::AddOp>);
  r.add("Sub", 2, 2, importBinary<nn::SubOp>);
  r.add("Mul", 2, 2, importBinary<nn::MulOp>);
  r.add("Div", 2, 2, importBinary<nn::DivOp>);
  r.add("PRelu", 2, 2, importPRelu);
  r.add("Pow", 2, 2, importPow);
  r.add("Mod", 2, 2, importMod, 1, 10);
  r.add("BitShift", 2, 2, importBitShift, 1, 11);
  r.add("BitwiseAnd", 2, 2, importBitwise<nn::BitwiseAndOp>, 1, 18);
  r.add("BitwiseOr", 2, 2, importBitwise<nn::BitwiseOrOp>, 1, 18);
  r.add("BitwiseXor", 2, 2, importBitwise<nn::BitwiseXorOp>, 1, 18);
  r.add("And", 2, 2, importLogical<nn::LogicalAndOp>);
  r.add("Or", 2, 2, importLogical<nn::LogicalOrOp>);
  r.add("Xor", 2, 2, importLogical<nn::LogicalXorOp>);
  r.add("Equal", 2, 2, importEqual);
  r.add("Less", 2, 2, importBinary<nn::LessOp>);
  r.add("LessOrEqual", 2, 2, importBinary<nn::LessOrEqualOp>, 1, 12);
  r.add("Greater", 2, 2, importBinary<nn::GreaterOp>);
  r.add("GreaterOrEqual", 2, 2, importBinary<nn::GreaterOrEqualOp>, 1, 12);
  r.add("Where", 3, 3, importWhere, 1, 9);
  r.add("Clip", 1, 3, importClip);
  r.add("Sum", 1, Registry::any, importVariadic<nn::AddOp>);
  r.add("Max", 1, Registry::any, importVariadic<nn::MaxOp>);
  r.add("Min", 1, Registry::any, importVariadic<nn::MinOp>);
  r.add("Mean", 1, Registry::any, importMean);
}

} // namespace nnopt::onnx
