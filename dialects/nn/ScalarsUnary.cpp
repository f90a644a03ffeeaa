//===- ScalarsUnary.cpp - scalar code of operations with one operand ------===//
#include "dialects/nn/ScalarBuilder.h"

using namespace mlir;

namespace nnopt::nn {

using Args = llvm::ArrayRef<Value>;
using FPred = arith::CmpFPredicate;
using IPred = arith::CmpIPredicate;

/// Operations that are one operation of the math dialect.
#define NN_MATH_OP(NAME, MATH)                                                                     \
  Value NAME::buildScalar(OpBuilder &b, Location loc, ValueRange args) {                           \
    return inFloat(b, loc, args,                                                                   \
                   [](ScalarBuilder &s, Args x) { return s.make<math::MATH>(x[0]); });             \
  }
NN_MATH_OP(CeilOp, CeilOp)
NN_MATH_OP(FloorOp, FloorOp)
NN_MATH_OP(RoundOp, RoundEvenOp)
NN_MATH_OP(SqrtOp, SqrtOp)
NN_MATH_OP(ExpOp, ExpOp)
NN_MATH_OP(LogOp, LogOp)
NN_MATH_OP(SinOp, SinOp)
NN_MATH_OP(CosOp, CosOp)
NN_MATH_OP(TanOp, TanOp)
NN_MATH_OP(AsinOp, AsinOp)
NN_MATH_OP(AcosOp, AcosOp)
NN_MATH_OP(AtanOp, AtanOp)
NN_MATH_OP(SinhOp, SinhOp)
NN_MATH_OP(CoshOp, CoshOp)
NN_MATH_OP(TanhOp, TanhOp)
NN_MATH_OP(AsinhOp, AsinhOp)
NN_MATH_OP(AcoshOp, AcoshOp)
NN_MATH_OP(AtanhOp, AtanhOp)
NN_MATH_OP(ErfOp, ErfOp)
#undef NN_MATH_OP

Value AbsOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isUnsigned = isUnsignedOperand(*this);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    if (s.isFloat(x[0]))
      return s.abs(x[0]);
    return isUnsigned ? x[0] : s.select(s.less(x[0], s.i(x[0], 0), false), s.neg(x[0]), x[0]);
  });
}

Value NegOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args x) { return s.neg(x[0]); });
}

/// Zeros and NaN stay what they are.
Value SignOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isUnsigned = isUnsignedOperand(*this);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    auto constant = [&](int v) { return s.isFloat(x[0]) ? s.c(x[0], v) : s.i(x[0], v); };
    Value zero = constant(0);
    Value positive = s.select(s.less(zero, x[0], isUnsigned), constant(1), x[0]);
    return isUnsigned ? positive : s.select(s.less(x[0], zero, false), constant(-1), positive);
  });
}

Value ReluOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isUnsigned = isUnsignedOperand(*this);
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    if (s.isFloat(x[0]))
      return s.atLeast(x[0], s.c(x[0], 0));
    return isUnsigned ? x[0] : s.atLeast(x[0], s.i(x[0], 0));
  });
}

Value ReciprocalOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args x) { return s.div(s.c(x[0], 1), x[0]); });
}

Value SoftsignOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args x) {
    return s.div(x[0], s.add(s.c(x[0], 1), s.abs(x[0])));
  });
}

/// 1 + e^-x: infinite for very negative x, where its reciprocal is the right 0.
static Value onePlusExpNeg(ScalarBuilder &s, Value x) { return s.add(s.c(x, 1), s.exp(s.neg(x))); }

Value SigmoidOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args x) {
    return s.div(s.c(x[0], 1), onePlusExpNeg(s, x[0]));
  });
}

Value SiluOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    double alpha = getAlpha().convertToDouble();
    return s.div(x[0], onePlusExpNeg(s, alpha == 1 ? x[0] : s.mul(x[0], s.c(x[0], alpha))));
  });
}

/// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): the exponential is at most 1.
static Value softplus(ScalarBuilder &s, Value x) {
  Value tail = s.make<math::Log1pOp>(s.exp(s.neg(s.abs(x))));
  return s.add(s.atLeast(x, s.c(x, 0)), tail);
}

Value SoftplusOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args x) { return softplus(s, x[0]); });
}

Value MishOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args x) {
    return s.mul(x[0], s.make<math::TanhOp>(softplus(s, x[0])));
  });
}

/// max(0, min(1, x)), NaN stays NaN.
static Value clampToUnit(ScalarBuilder &s, Value x) {
  return s.atMost(s.atLeast(x, s.c(x, 0)), s.c(x, 1));
}

Value HardSwishOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args x) {
    Value t = s.add(s.mul(x[0], s.c(x[0], 1.0 / 6)), s.c(x[0], 0.5));
    return s.mul(x[0], clampToUnit(s, t));
  });
}

Value HardSigmoidOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  double alpha = getAlpha().convertToDouble(), beta = getBeta().convertToDouble();
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    return clampToUnit(s, s.add(s.mul(x[0], s.c(x[0], alpha)), s.c(x[0], beta)));
  });
}

Value IsNaNOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  return inFloat(b, loc, args, [](ScalarBuilder &s, Args x) { return s.isNaN(x[0]); });
}

Value IsInfOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool negative = getDetectNegative(), positive = getDetectPositive();
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    double infinity = std::numeric_limits<double>::infinity();
    if (negative && positive)
      return s.cmp(FPred::OEQ, s.abs(x[0]), s.c(x[0], infinity));
    if (negative || positive)
      return s.cmp(FPred::OEQ, x[0], s.c(x[0], negative ? -infinity : infinity));
    Type i1 = withElement(x[0].getType(), s.b.getI1Type());
    return s.constant(i1, s.b.getBoolAttr(false));
  });
}

Value LogicalNotOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  ScalarBuilder s{b, loc};
  return s.make<arith::XOrIOp>(args[0], s.i(args[0], 1));
}

Value BitwiseNotOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  ScalarBuilder s{b, loc};
  return s.make<arith::XOrIOp>(args[0], s.i(args[0], -1));
}

/// Exact: x / 2 * (1 + erf(x / sqrt 2)). tanh: Hendrycks, Gimpel, "Gaussian error linear units",
/// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
Value GeluOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  bool isTanh = getTanh();
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args args) {
    Value x = args[0], inner;
    if (isTanh) {
      Value cubed = s.mul(s.mul(s.mul(x, x), x), s.c(x, 0.044715));
      inner = s.make<math::TanhOp>(s.mul(s.add(x, cubed), s.c(x, 0.79788456080286535588)));
    } else {
      inner = s.make<math::ErfOp>(s.mul(x, s.c(x, 0.70710678118654752440)));
    }
    return s.mul(s.mul(x, s.c(x, 0.5)), s.add(inner, s.c(x, 1)));
  });
}

Value LeakyReluOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  double alpha = getAlpha().convertToDouble();
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    return s.select(s.cmp(FPred::OLT, x[0], s.c(x[0], 0)), s.mul(x[0], s.c(x[0], alpha)), x[0]);
  });
}

/// alpha * (e^x - 1).
static Value scaledExpMinusOne(ScalarBuilder &s, Value x, double alpha) {
  return s.mul(s.sub(s.exp(x), s.c(x, 1)), s.c(x, alpha));
}

Value EluOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  double alpha = getAlpha().convertToDouble();
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    return s.select(s.cmp(FPred::OLT, x[0], s.c(x[0], 0)), scaledExpMinusOne(s, x[0], alpha), x[0]);
  });
}

Value CeluOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  double alpha = getAlpha().convertToDouble();
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    Value zero = s.c(x[0], 0);
    Value low = scaledExpMinusOne(s, s.div(x[0], s.c(x[0], alpha)), alpha);
    return s.add(s.atLeast(x[0], zero), s.atMost(low, zero));
  });
}

Value SeluOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  double alpha = getAlpha().convertToDouble(), gamma = getGamma().convertToDouble();
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    return s.select(s.cmp(FPred::OGT, x[0], s.c(x[0], 0)), s.mul(x[0], s.c(x[0], gamma)),
                    scaledExpMinusOne(s, x[0], gamma * alpha));
  });
}

Value ThresholdedReluOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  double alpha = getAlpha().convertToDouble();
  return inFloat(b, loc, args, [&](ScalarBuilder &s, Args x) {
    return s.select(s.cmp(FPred::OGT, x[0], s.c(x[0], alpha)), x[0], s.c(x[0], 0));
  });
}

/// Also of integers, with the attributes truncated to their type as in onnxruntime.
Value ShrinkOp::buildScalar(OpBuilder &b, Location loc, ValueRange args) {
  double lambda = getLambd().convertToDouble(), bias = getBias().convertToDouble();
  Type integer = ScalarBuilder::isFloat(args[0]) ? Type() : ScalarBuilder::element(args[0]);
  bool isUnsigned = isUnsignedOperand(*this);
  ScalarBuilder s{b, loc};
  SmallVector<Value, 1> x(args);
  if (integer)
    x[0] = s.toFloat(args[0], b.getF32Type(), isUnsigned);
  Value result = inFloat(b, loc, x, [&](ScalarBuilder &s, Args x) {
    Value high = s.select(s.cmp(FPred::OGT, x[0], s.c(x[0], lambda)), s.sub(x[0], s.c(x[0], bias)),
                          s.c(x[0], 0));
    return s.select(s.cmp(FPred::OLT, x[0], s.c(x[0], -lambda)), s.add(x[0], s.c(x[0], bias)),
                    high);
  });
  if (!integer)
    return result;
  auto type = cast<IntegerType>(getElementTypeOrSelf(getX().getType()));
  return s.toInteger(result, type);
}

} // namespace nnopt::nn
