//===- NNElementwiseOps.td - elementwise operations ------------*- tablegen -*-===//
#ifndef NN_ELEMENTWISE_OPS_TD
#define NN_ELEMENTWISE_OPS_TD

include "dialects/nn/NNBase.td"

//===----------------------------------------------------------------------===//
// Elementwise operations, one operand
//===----------------------------------------------------------------------===//

class NN_UnaryOp<string mnemonic, list<Trait> traits = []> : NN_ElementwiseOp<mnemonic, traits> {
  let arguments = (ins NN_Tensor:$x);
}

def NN_AbsOp : NN_UnaryOp<"abs"> { let summary = "|x|."; }
def NN_NegOp : NN_UnaryOp<"neg"> { let summary = "-x."; }
def NN_SignOp : NN_UnaryOp<"sign"> { let summary = "-1, 0 or 1 by the sign of x."; }
def NN_CeilOp : NN_UnaryOp<"ceil"> { let summary = "Smallest integer not below x."; }
def NN_FloorOp : NN_UnaryOp<"floor"> { let summary = "Largest integer not above x."; }
def NN_RoundOp : NN_UnaryOp<"round"> { let summary = "Nearest integer, halves to even."; }
def NN_SqrtOp : NN_UnaryOp<"sqrt"> { let summary = "Square root."; }
def NN_ExpOp : NN_UnaryOp<"exp"> { let summary = "e^x."; }
def NN_LogOp : NN_UnaryOp<"log"> { let summary = "Natural logarithm."; }
def NN_SinOp : NN_UnaryOp<"sin"> { let summary = "Sine."; }
def NN_CosOp : NN_UnaryOp<"cos"> { let summary = "Cosine."; }
def NN_TanOp : NN_UnaryOp<"tan"> { let summary = "Tangent."; }
def NN_AsinOp : NN_UnaryOp<"asin"> { let summary = "Arc sine."; }
def NN_AcosOp : NN_UnaryOp<"acos"> { let summary = "Arc cosine."; }
def NN_AtanOp : NN_UnaryOp<"atan"> { let summary = "Arc tangent."; }
def NN_SinhOp : NN_UnaryOp<"sinh"> { let summary = "Hyperbolic sine."; }
def NN_CoshOp : NN_UnaryOp<"cosh"> { let summary = "Hyperbolic cosine."; }
def NN_TanhOp : NN_UnaryOp<"tanh"> { let summary = "Hyperbolic tangent."; }
def NN_AsinhOp : NN_UnaryOp<"asinh"> { let summary = "Inverse hyperbolic sine."; }
def NN_AcoshOp : NN_UnaryOp<"acosh"> { let summary = "Inverse hyperbolic cosine."; }
def NN_AtanhOp : NN_UnaryOp<"atanh"> { let summary = "Inverse hyperbolic tangent."; }
def NN_ErfOp : NN_UnaryOp<"erf"> { let summary = "Gauss error function."; }
def NN_SigmoidOp : NN_UnaryOp<"sigmoid"> { let summary = "1 / (1 + e^-x)."; }
def NN_ReluOp : NN_UnaryOp<"relu"> { let summary = "max(x, 0); NaN stays NaN."; }
def NN_SoftplusOp : NN_UnaryOp<"softplus"> { let summary = "log(1 + e^x), without overflow for large x."; }
def NN_SoftsignOp : NN_UnaryOp<"softsign"> { let summary = "x / (1 + |x|)."; }
def NN_ReciprocalOp : NN_UnaryOp<"reciprocal"> { let summary = "1 / x."; }
def NN_MishOp : NN_UnaryOp<"mish"> { let summary = "x * tanh(softplus(x))."; }
def NN_HardSwishOp : NN_UnaryOp<"hard_swish"> { let summary = "x * max(0, min(1, x / 6 + 0.5))."; }
def NN_IsNaNOp : NN_UnaryOp<"is_nan"> { let summary = "Whether x is NaN."; }
def NN_LogicalNotOp : NN_UnaryOp<"logical_not"> { let summary = "Negation of a bool."; }
def NN_BitwiseNotOp : NN_UnaryOp<"bitwise_not"> { let summary = "Complement of every bit."; }

def NN_GeluOp : NN_UnaryOp<"gelu"> {
  let summary = "x * Phi(x); `tanh` selects the tanh approximation.";
  let arguments = (ins NN_Tensor:$x, UnitAttr:$tanh);
}
def NN_SiluOp : NN_UnaryOp<"silu"> {
  let summary = "x * sigmoid(alpha * x).";
  let arguments = (ins NN_Tensor:$x, DefaultValuedAttr<F64Attr, "1.0">:$alpha);
}
def NN_HardSigmoidOp : NN_UnaryOp<"hard_sigmoid"> {
  let summary = "max(0, min(1, alpha * x + beta)).";
  let arguments = (ins NN_Tensor:$x, F64Attr:$alpha, F64Attr:$beta);
}
def NN_LeakyReluOp : NN_UnaryOp<"leaky_relu"> {
  let summary = "x for x >= 0, alpha * x otherwise.";
  let arguments = (ins NN_Tensor:$x, F64Attr:$alpha);
}
def NN_EluOp : NN_UnaryOp<"elu"> {
  let summary = "x for x >= 0, alpha * (e^x - 1) otherwise.";
  let arguments = (ins NN_Tensor:$x, F64Attr:$alpha);
}
def NN_CeluOp : NN_UnaryOp<"celu"> {
  let summary = "max(0, x) + min(0, alpha * (e^(x / alpha) - 1)).";
  let arguments = (ins NN_Tensor:$x, F64Attr:$alpha);
}
def NN_SeluOp : NN_UnaryOp<"selu"> {
  let summary = "gamma * x for x > 0, gamma * alpha * (e^x - 1) otherwise.";
  let arguments = (ins NN_Tensor:$x, F64Attr:$alpha, F64Attr:$gamma);
}
def NN_ThresholdedReluOp : NN_UnaryOp<"thresholded_relu"> {
  let summary = "x for x > alpha, 0 otherwise.";
  let arguments = (ins NN_Tensor:$x, F64Attr:$alpha);
}
def NN_ShrinkOp : NN_UnaryOp<"shrink"> {
  let summary = "x + bias for x < -lambda, x - bias for x > lambda, 0 otherwise.";
  let arguments = (ins NN_Tensor:$x, F64Attr:$lambd, F64Attr:$bias);
}
def NN_IsInfOp : NN_UnaryOp<"is_inf"> {
  let summary = "Whether x is positive (negative) infinity, where detect_positive (detect_negative) is set.";
  let arguments = (ins NN_Tensor:$x, BoolAttr:$detect_negative, BoolAttr:$detect_positive);
}
def NN_CastOp : NN_UnaryOp<"cast"> {
  let summary = "Conversion to another element type by the rules of ONNX Cast.";
  let description = [{
    float to int truncates, anything to bool is `!= 0`, narrowing to 8-bit floats saturates when
    `saturate` is set (to f4E2M1FN it always does). `round_mode` is that of f8E8M0FNU, which takes
    the exponent of |x|; all other types round to nearest, halves to even.
  }];
  let arguments = (ins NN_Tensor:$x, TypeAttr:$to, DefaultValuedAttr<BoolAttr, "true">:$saturate,
                       DefaultValuedAttr<NN_RoundModeAttr, "RoundMode::up">:$round_mode);
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Elementwise operations, several operands (numpy broadcasting)
//===----------------------------------------------------------------------===//

class NN_BinaryOp<string mnemonic, list<Trait> traits = []> : NN_ElementwiseOp<mnemonic, traits> {
  let arguments = (ins NN_Tensor:$lhs, NN_Tensor:$rhs);
}
/// Comparison and logic: the result is bool.
class NN_CompareOp<string mnemonic> : NN_BinaryOp<mnemonic>;

def NN_AddOp : NN_BinaryOp<"add"> { let summary = "lhs + rhs."; }
def NN_SubOp : NN_BinaryOp<"sub"> { let summary = "lhs - rhs."; }
def NN_MulOp : NN_BinaryOp<"mul"> { let summary = "lhs * rhs."; }
def NN_DivOp : NN_BinaryOp<"div"> { let summary = "lhs / rhs; integers truncate toward zero."; }
def NN_PowOp : NN_BinaryOp<"pow"> { let summary = "lhs ^ rhs; the result has the type of lhs."; }
def NN_MinOp : NN_BinaryOp<"min"> { let summary = "The smaller; NaN if either is."; }
def NN_MaxOp : NN_BinaryOp<"max"> { let summary = "The larger; NaN if either is."; }
def NN_BitwiseAndOp : NN_BinaryOp<"bitwise_and"> { let summary = "Bitwise and."; }
def NN_BitwiseOrOp : NN_BinaryOp<"bitwise_or"> { let summary = "Bitwise or."; }
def NN_BitwiseXorOp : NN_BinaryOp<"bitwise_xor"> { let summary = "Bitwise exclusive or."; }
def NN_PReluOp : NN_BinaryOp<"prelu"> { let summary = "lhs for lhs >= 0, rhs * lhs otherwise."; }
def NN_ModOp : NN_BinaryOp<"mod"> {
  let summary = "Remainder: the sign follows rhs, or lhs when `fmod` is set.";
  let arguments = (ins NN_Tensor:$lhs, NN_Tensor:$rhs, UnitAttr:$fmod);
}
def NN_BitShiftOp : NN_BinaryOp<"bit_shift"> {
  let summary = "Shift of integers, right when `right` is set; shifting by the width or more leaves copies of the sign or 0.";
  let arguments = (ins NN_Tensor:$lhs, NN_Tensor:$rhs, UnitAttr:$right);
}
def NN_EqualOp : NN_CompareOp<"equal"> { let summary = "lhs == rhs."; }
def NN_LessOp : NN_CompareOp<"less"> { let summary = "lhs < rhs."; }
def NN_LessOrEqualOp : NN_CompareOp<"less_or_equal"> { let summary = "lhs <= rhs."; }
def NN_GreaterOp : NN_CompareOp<"greater"> { let summary = "lhs > rhs."; }
def NN_GreaterOrEqualOp : NN_CompareOp<"greater_or_equal"> { let summary = "lhs >= rhs."; }
def NN_LogicalAndOp : NN_CompareOp<"logical_and"> { let summary = "Both."; }
def NN_LogicalOrOp : NN_CompareOp<"logical_or"> { let summary = "Either."; }
def NN_LogicalXorOp : NN_CompareOp<"logical_xor"> { let summary = "Exactly one."; }
def NN_WhereOp : NN_ElementwiseOp<"where"> {
  let summary = "x where the condition holds, y elsewhere.";
  let arguments = (ins NN_Tensor:$condition, NN_Tensor:$x, NN_Tensor:$y);
}
def NN_ClipOp : NN_ElementwiseOp<"clip"> {
  let summary = "min(max(x, lo), hi); NaN stays NaN. lo and hi are scalars; behind raise-quantized also one number for each channel.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$lo, NN_Tensor:$hi);
}

def NN_QuantizeOp : NN_ElementwiseOp<"quantize"> {
  let summary = "round(x / scale) + zero_point, halves to even, clamped to the integer type `to`; or x / scale as float `to`.";
  let description = [{
    The quotient is rounded to `precision` first (the type of the scale by default). A narrow float
    `to` takes it by the rules of `nn.cast`. For integers of up to 16 bits `saturate = false` promises that x / scale is
    within the type's range, less the zero point: it is not clamped again.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, Optional<NN_Tensor>:$zero_point, TypeAttr:$to,
                       DefaultValuedAttr<BoolAttr, "true">:$saturate, OptionalAttr<TypeAttr>:$precision);
}
def NN_DequantizeOp : NN_ElementwiseOp<"dequantize"> {
  let summary = "(x - zero_point) * scale as float `to`; the difference of integers is exact.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, Optional<NN_Tensor>:$zero_point, TypeAttr:$to);
}

def NN_MapOp : NN_TiedOp<"map", [SingleBlock, IsolatedFromAbove, AttrSizedOperandSegments]> {
  let summary = "Elementwise operations fused into one scalar region.";
  let description = [{
    The region's arguments are one element of each input (in the input's element type, integers
    signless), its body is arith/math operations, `nn.yield` returns one element for each result.
    Inputs broadcast as in numpy. `shape_like` has no region arguments: its values only take part in
    the broadcast shape.
  }];
  let arguments = (ins Variadic<NN_Tensor>:$inputs, Variadic<NN_Tensor>:$shape_like);
  let results = (outs Variadic<NN_Tensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `(` $inputs `)` (`shape_like` `(` $shape_like^ `)`)? attr-dict `:`
    functional-type(operands, results) $body
  }];
  let hasVerifier = 1;
}

def NN_YieldOp : Op<NN_Dialect, "yield", [Pure, Terminator, ReturnLike]> {
  let summary = "Ends a region of map, an epilogue, if, loop.";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif // NN_ELEMENTWISE_OPS_TD
