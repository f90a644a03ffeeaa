//===- NNOps.td - operations of the nn dialect ------------------*- tablegen -*-===//
#ifndef NN_OPS_TD
#define NN_OPS_TD

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
def NN_SiluOp : NN_UnaryOp<"silu"> { let summary = "x * sigmoid(x)."; }
def NN_MishOp : NN_UnaryOp<"mish"> { let summary = "x * tanh(softplus(x))."; }
def NN_HardSwishOp : NN_UnaryOp<"hard_swish"> { let summary = "x * max(0, min(1, x / 6 + 0.5))."; }
def NN_IsNaNOp : NN_UnaryOp<"is_nan"> { let summary = "Whether x is NaN."; }
def NN_LogicalNotOp : NN_UnaryOp<"logical_not"> { let summary = "Negation of a bool."; }
def NN_BitwiseNotOp : NN_UnaryOp<"bitwise_not"> { let summary = "Complement of every bit."; }

def NN_GeluOp : NN_UnaryOp<"gelu"> {
  let summary = "x * Phi(x); `tanh` selects the tanh approximation.";
  let arguments = (ins NN_Tensor:$x, UnitAttr:$tanh);
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
  let summary = "min(max(x, lo), hi); NaN stays NaN. lo and hi are scalars.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$lo, NN_Tensor:$hi);
}

def NN_QuantizeOp : NN_ElementwiseOp<"quantize"> {
  let summary = "round(x / scale) + zero_point, halves to even, clamped to the integer type `to`; or x / scale as float `to`.";
  let description = [{
    The quotient is rounded to `precision` first (the type of the scale by default). A narrow float
    `to` takes it by the rules of `nn.cast`.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, Optional<NN_Tensor>:$zero_point, TypeAttr:$to,
                       DefaultValuedAttr<BoolAttr, "true">:$saturate, OptionalAttr<TypeAttr>:$precision);
}
def NN_DequantizeOp : NN_ElementwiseOp<"dequantize"> {
  let summary = "(x - zero_point) * scale as float `to`; the difference of integers is exact.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, Optional<NN_Tensor>:$zero_point, TypeAttr:$to);
}

def NN_MapOp : NN_Op<"map", [SingleBlock, IsolatedFromAbove, AttrSizedOperandSegments]> {
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

//===----------------------------------------------------------------------===//
// Constants and shapes
//===----------------------------------------------------------------------===//

def NN_ConstantOp : NN_Op<"constant", [ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "A constant tensor.";
  let description = [{
    Small tensors are `dense`, larger ones `dense_resource` blobs over the mapped model file (bool:
    one byte each; little endian). `nn::ConstantData` (Constants.h) reads both alike.
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
  let builders = [OpBuilder<(ins "::mlir::ElementsAttr":$value), [{
    build($_builder, $_state, ::llvm::cast<::mlir::RankedTensorType>(value.getType()), value);
  }]>];
}
def NN_ShapeOp : NN_Op<"shape"> {
  let summary = "The dimensions start..end of x as an i64 tensor.";
  let arguments = (ins NN_Tensor:$x, DefaultValuedAttr<I64Attr, "0">:$start, OptionalAttr<I64Attr>:$end);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_SizeOp : NN_Op<"size"> {
  let summary = "The number of elements of x as an i64 scalar.";
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}

/// Operations whose result is the operand under another shape: never a copy after planning.
def NN_ReshapeOp : NN_Op<"reshape"> {
  let summary = "x with dimensions from `shape`: -1 is inferred, 0 copies the dimension of x unless allow_zero is set.";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$shape, UnitAttr:$allow_zero);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_FlattenOp : NN_Op<"flatten"> {
  let summary = "x as a matrix: dimensions before `axis` (0 <= axis <= rank) by the rest.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_BitCastOp : NN_Op<"bit_cast"> {
  let summary = "The bits of x as elements of type `to`, which has the same width and is not bool unless x is.";
  let arguments = (ins NN_Tensor:$x, TypeAttr:$to);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_SqueezeOp : NN_Op<"squeeze"> {
  let summary = "x without the dimensions `axes` (non-negative, of x), which are 1.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$axes);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
  let hasVerifier = 1;
}
def NN_UnsqueezeOp : NN_Op<"unsqueeze"> {
  let summary = "x with dimensions of 1 at `axes` (non-negative, of the result).";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$axes);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

def NN_TransposeOp : NN_Op<"transpose"> {
  let summary = "Permuted dimensions: result dimension i is dimension perm[i] of x.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$perm);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
  let hasVerifier = 1;
}
def NN_ExpandOp : NN_Op<"expand"> {
  let summary = "x broadcast with `shape` (both ways, as in numpy).";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$shape);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_ConcatOp : NN_Op<"concat"> {
  let summary = "The inputs one after another along `axis` (non-negative).";
  let arguments = (ins Variadic<NN_Tensor>:$inputs, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_SplitOp : NN_Op<"split"> {
  let summary = "Consecutive parts along `axis`; equal parts (the last may be shorter) without `sizes`.";
  let arguments = (ins NN_Tensor:$x, Optional<NN_ShapeTensor>:$sizes, I64Attr:$axis);
  let results = (outs Variadic<NN_Tensor>:$results);
}
def NN_SliceOp : NN_Op<"slice", [AttrSizedOperandSegments]> {
  let summary = "Part of x by starts, ends, axes and steps as in ONNX Slice.";
  let description = [{
    Negative positions count from the end, positions out of range are clamped, steps may be
    negative. Without `axes` the i-th entry belongs to dimension i, without `steps` all are 1.
  }];
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$starts, NN_ShapeTensor:$ends,
                       Optional<NN_ShapeTensor>:$axes, Optional<NN_ShapeTensor>:$steps);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = [{
    $x `[` $starts `:` $ends (`axes` $axes^)? (`steps` $steps^)? `]` attr-dict `:`
    functional-type(operands, results)
  }];
}
def NN_PadOp : NN_Op<"pad", [AttrSizedOperandSegments]> {
  let summary = "x with pads[i] elements before and pads[n + i] after axis i (negative: removed).";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$pads, Optional<NN_Tensor>:$value,
                       Optional<NN_ShapeTensor>:$axes, NN_PadModeAttr:$mode);
  let results = (outs NN_Tensor:$result);
}
def NN_TileOp : NN_Op<"tile"> {
  let summary = "x repeated repeats[i] times along dimension i.";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$repeats);
  let results = (outs NN_Tensor:$result);
}
def NN_GatherOp : NN_Op<"gather"> {
  let summary = "Slices of x along `axis` at `indices` (negative indices count from the end).";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_GatherElementsOp : NN_Op<"gather_elements"> {
  let summary = "result[i][j].. = x[..indices[i][j]..] along `axis`.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_GatherNDOp : NN_Op<"gather_nd"> {
  let summary = "Slices of x at index tuples (last dimension of indices), after batch_dims common dimensions.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, DefaultValuedAttr<I64Attr, "0">:$batch_dims);
  let results = (outs NN_Tensor:$result);
}
def NN_ScatterElementsOp : NN_Op<"scatter_elements"> {
  let summary = "Copy of x where elements at `indices` along `axis` are set to (or combined with) updates.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, NN_Tensor:$updates, I64Attr:$axis,
                       NN_ScatterReductionAttr:$reduction);
  let results = (outs NN_Tensor:$result);
}
def NN_TensorScatterOp : NN_Op<"tensor_scatter"> {
  let summary = "Copy of x where the slices from write_indices[batch] on along `axis` are those of `update` (KV cache update).";
  let description = [{
    x and update agree in all dimensions but `axis`, which is not 0 (the batch). Without write_indices
    ([batch]) writing begins at 0. With `circular` set positions wrap around; else what would lie outside
    of x is dropped.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$update, Optional<NN_Tensor>:$write_indices, I64Attr:$axis,
                       UnitAttr:$circular);
  let results = (outs NN_Tensor:$result);
}
def NN_ReverseSequenceOp : NN_Op<"reverse_sequence"> {
  let summary = "The first lengths[b] slices along time_axis of each batch element b in reverse order, the rest unchanged.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$lengths, I64Attr:$batch_axis, I64Attr:$time_axis);
  let results = (outs NN_Tensor:$result);
}
def NN_ScatterNDOp : NN_Op<"scatter_nd"> {
  let summary = "Copy of x where slices at index tuples are set to (or combined with) updates.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, NN_Tensor:$updates, NN_ScatterReductionAttr:$reduction);
  let results = (outs NN_Tensor:$result);
}
def NN_OneHotOp : NN_Op<"one_hot"> {
  let summary = "values[1] at the indexed position of a new dimension `axis` of size depth, values[0] elsewhere.";
  let arguments = (ins NN_Tensor:$indices, NN_Tensor:$depth, NN_Tensor:$values, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_RangeOp : NN_Op<"range"> {
  let summary = "start, start + delta, ... below limit (above it for a negative delta). Scalars.";
  let arguments = (ins NN_Tensor:$start, NN_Tensor:$limit, NN_Tensor:$delta);
  let results = (outs NN_Tensor:$result);
}
def NN_ConstantOfShapeOp : NN_Op<"constant_of_shape"> {
  let summary = "A tensor of dimensions `shape` filled with `value` (a one-element attribute).";
  let arguments = (ins NN_ShapeTensor:$shape, ElementsAttr:$value);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_NonZeroOp : NN_Op<"non_zero"> {
  let summary = "Indices of the non-zero elements, [rank, count]; the count depends on the data.";
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_Tensor:$result);
}
def NN_UniqueOp : NN_Op<"unique"> {
  let summary = "Unique slices of x along `axis` (elements of x without one): y, first positions, inverse, counts.";
  let description = [{
    In ascending (lexicographic) order when `sorted` is set, in order of first occurrence otherwise.
    NaN is the largest element and equal to itself. `inverse` has the position in y of every slice.
    How many there are depends on the data.
  }];
  let arguments = (ins NN_Tensor:$x, OptionalAttr<I64Attr>:$axis, UnitAttr:$sorted);
  let results = (outs NN_Tensor:$y, NN_Tensor:$indices, NN_Tensor:$inverse, NN_Tensor:$counts);
}
def NN_NonMaxSuppressionOp : NN_Op<"non_max_suppression", [AttrSizedOperandSegments]> {
  let summary = "Boxes that overlap no better box of their class: (batch, class, box) in rows of i64.";
  let description = [{
    boxes [batch, boxes, 4] are two opposite corners (y, x, y, x), or center and size (x, y, width, height)
    when `center_point_box` is set; scores are [batch, classes, boxes]. For each class the boxes with a
    score above `score_threshold` are visited in order of score (ties by position); a box is selected
    unless its intersection over union with one selected before is above `iou_threshold` (0 when absent),
    up to `max_boxes` (none when absent). How many there are depends on the data.
  }];
  let arguments = (ins NN_Tensor:$boxes, NN_Tensor:$scores, Optional<NN_Tensor>:$max_boxes,
                       Optional<NN_Tensor>:$iou_threshold, Optional<NN_Tensor>:$score_threshold,
                       UnitAttr:$center_point_box);
  let results = (outs NN_Tensor:$result);
}
def NN_TriluOp : NN_Op<"trilu"> {
  let summary = "The upper (lower) triangle of the last two dimensions above (below) diagonal k, zero elsewhere.";
  let arguments = (ins NN_Tensor:$x, Optional<NN_Tensor>:$k, UnitAttr:$upper);
  let results = (outs NN_Tensor:$result);
}
def NN_ResizeOp : NN_Op<"resize", [AttrSizedOperandSegments]> {
  let summary = "Interpolation by the rules of ONNX Resize.";
  let description = [{
    `scales`, `sizes` and `roi` (starts, then ends) have one entry (two) per dimension of x; the importer expands
    `axes`. Sizes are those of the result; without them it has floor(size * scale) elements. Scales relate
    coordinates; without them they are size of the result / size of x. roi is for `tf_crop_and_resize`. With
    `antialias` set, linear and cubic filters are stretched where a dimension shrinks.
  }];
  let arguments = (ins NN_Tensor:$x, Optional<NN_Tensor>:$scales, Optional<NN_ShapeTensor>:$sizes,
                       Optional<NN_Tensor>:$roi, NN_ResizeModeAttr:$mode, NN_CoordinateModeAttr:$coordinates,
                       NN_NearestModeAttr:$nearest, F64Attr:$cubic_coeff_a, UnitAttr:$exclude_outside,
                       DefaultValuedAttr<F64Attr, "0.0">:$extrapolation_value, UnitAttr:$antialias);
  let results = (outs NN_Tensor:$result);
}
def NN_DepthToSpaceOp : NN_Op<"depth_to_space"> {
  let summary = "Channels moved into blocksize x blocksize squares; `crd` selects the column-row-depth order.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$blocksize, UnitAttr:$crd);
  let results = (outs NN_Tensor:$result);
}
def NN_SpaceToDepthOp : NN_Op<"space_to_depth"> {
  let summary = "Squares of blocksize x blocksize moved into channels; `crd` selects the column-row-depth order.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$blocksize, UnitAttr:$crd);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Reductions, scans, sorting
//===----------------------------------------------------------------------===//

def NN_ReduceOp : NN_Op<"reduce"> {
  let summary = "Reduction over axes: sum, mean, max, min, prod, l1, l2, sum_square, log_sum, log_sum_exp.";
  let description = [{
    `axes` (non-negative, sorted) or, when they are known only at run time, `dynamic_axes`. No axes
    at all means all dimensions; the importer turns noop_with_empty_axes into identity.
  }];
  let arguments = (ins NN_Tensor:$x, Optional<NN_ShapeTensor>:$dynamic_axes, NN_ReduceKindAttr:$kind,
                       OptionalAttr<DenseI64ArrayAttr>:$axes, BoolAttr:$keep_dims);
  let results = (outs NN_Tensor:$result);
}
def NN_ArgReduceOp : NN_Op<"arg_reduce"> {
  let summary = "Position (i64) of the largest (`max` set) or smallest element along `axis`; the last one if `select_last`.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis, BoolAttr:$keep_dims, UnitAttr:$max, UnitAttr:$select_last);
  let results = (outs NN_Tensor:$result);
}
def NN_CumSumOp : NN_Op<"cum_sum"> {
  let summary = "Running sum along the dimension given by the scalar `axis`.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$axis, UnitAttr:$exclusive, UnitAttr:$reverse);
  let results = (outs NN_Tensor:$result);
}
def NN_CumProdOp : NN_Op<"cum_prod"> {
  let summary = "Running product along the dimension given by the scalar `axis`.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$axis, UnitAttr:$exclusive, UnitAttr:$reverse);
  let results = (outs NN_Tensor:$result);
}
def NN_TopKOp : NN_Op<"topk"> {
  let summary = "The k largest (smallest) elements along `axis` and their positions; ties by lower position.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$k, I64Attr:$axis, UnitAttr:$largest, UnitAttr:$sorted);
  let results = (outs NN_Tensor:$values, NN_Tensor:$indices);
}
def NN_SoftmaxOp : NN_Op<"softmax"> {
  let summary = "e^(x - max) / sum along `axis`; its logarithm when `log` is set.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis, UnitAttr:$log);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Contractions
//===----------------------------------------------------------------------===//

/// Contractions end in an epilogue: the region's arguments are the accumulated element (with the
/// bias added) and one element of each of `epilogue_args`, which broadcast to the result's shape;
/// `nn.yield` returns the result element. An empty region is the identity.
def NN_ConvOp : NN_LinearOpBase<"conv"> {
  let summary = "N-dimensional convolution (cross-correlation), grouped, with bias and epilogue.";
  let description = [{
    x is [N, C, spatial...], or [N, spatial..., C] when `channels_last` is set (the result alike);
    w is always [M, C / group, kernel...]; bias is [M]. pads: all begins, then all ends. Integers of
    8 bits and less accumulate in i32; their zero points, `x_zero` (a scalar) and `w_zero` (a scalar
    or [M]), are subtracted first, and padding counts as x_zero.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$w, Optional<NN_Tensor>:$bias, Optional<NN_Tensor>:$x_zero,
                       Optional<NN_Tensor>:$w_zero, Variadic<NN_Tensor>:$epilogue_args,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations,
                       I64Attr:$group, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
  let regions = (region AnyRegion:$epilogue);
  let assemblyFormat = [{
    $x `,` $w (`bias` $bias^)? (`x_zero` $x_zero^)? (`w_zero` $w_zero^)? (`epilogue` `(` $epilogue_args^ `)`)? attr-dict `:`
    functional-type(operands, results) ($epilogue^)?
  }];
  let hasVerifier = 1;
}
def NN_ConvTransposeOp : NN_LinearOpBase<"conv_transpose"> {
  let summary = "Transposed convolution; w is [C, M / group, kernel...]; pads and output_padding are resolved.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$w, Optional<NN_Tensor>:$bias, Variadic<NN_Tensor>:$epilogue_args,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations,
                       DenseI64ArrayAttr:$output_padding, I64Attr:$group, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
  let regions = (region AnyRegion:$epilogue);
  let assemblyFormat = [{
    $x `,` $w (`bias` $bias^)? (`epilogue` `(` $epilogue_args^ `)`)? attr-dict `:`
    functional-type(operands, results) ($epilogue^)?
  }];
  let hasVerifier = 1;
}
def NN_MatMulOp : NN_LinearOpBase<"matmul"> {
  let summary = "Batched matrix product as numpy.matmul, with bias [N] and epilogue.";
  let description = [{
    `transpose_a`, `transpose_b` swap the last two dimensions of an operand of rank 2 or more first.
    The bias is added along the last dimension of the result. Integers of 8 bits and less accumulate
    in i32; their zero points, `a_zero` (a scalar or one for each row, [M]) and `b_zero` (a scalar or
    one for each column, [N]), are subtracted first.
  }];
  let arguments = (ins NN_Tensor:$a, NN_Tensor:$b, Optional<NN_Tensor>:$bias, Optional<NN_Tensor>:$a_zero,
                       Optional<NN_Tensor>:$b_zero, Variadic<NN_Tensor>:$epilogue_args,
                       UnitAttr:$transpose_a, UnitAttr:$transpose_b);
  let results = (outs NN_Tensor:$result);
  let regions = (region AnyRegion:$epilogue);
  let assemblyFormat = [{
    $a `,` $b (`bias` $bias^)? (`a_zero` $a_zero^)? (`b_zero` $b_zero^)? (`epilogue` `(` $epilogue_args^ `)`)? attr-dict `:`
    functional-type(operands, results) ($epilogue^)?
  }];
  let hasVerifier = 1;
}
def NN_InverseOp : NN_Op<"inverse"> {
  let summary = "Inverses of the square matrices in the last two dimensions.";
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_Tensor:$result);
}
def NN_EinsumOp : NN_Op<"einsum"> {
  let summary = "Einstein summation; `equation` is explicit (has `->`) and without spaces.";
  let arguments = (ins Variadic<NN_Tensor>:$inputs, StrAttr:$equation);
  let results = (outs NN_Tensor:$result);
}
def NN_DetOp : NN_Op<"det"> {
  let summary = "Determinants of the square matrices in the last two dimensions.";
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_Tensor:$result);
}
def NN_AttentionOp : NN_Op<"attention"> {
  let summary = "softmax(scale * q k^T + mask) v for [batch, heads, sequence, head] operands.";
  let description = [{
    The heads of q are a multiple of those of k and v (grouped-query attention). The mask is bool
    (true: take part) or added, and broadcasts to [batch, heads, q, k]. `causal` lets position i see
    positions up to i + (keys - queries when `causal_from_end` is set, else 0). `softcap` > 0 applies softcap * tanh(s / softcap).
    Scores that a bool mask leaves out become `mask_value`, where that is set, instead of -infinity. A row of
    probabilities that is NaN, as when no key takes part, counts as zeros when `nan_to_zero` is set. With
    `zero_empty` a row that sees no key is 0, and what a mask excludes does not matter even where it is NaN.
    Operands narrower than f32 are rounded where the function body of ONNX Attention rounds: q and k scaled by
    sqrt(scale), the scores after each step, the probabilities, and the steps of softmax unless `wide_softmax`
    is set (then they are f32). Sums are f32.
  }];
  let arguments = (ins NN_Tensor:$q, NN_Tensor:$k, NN_Tensor:$v, Optional<NN_Tensor>:$mask,
                       F64Attr:$scale, UnitAttr:$causal, UnitAttr:$causal_from_end, DefaultValuedAttr<F64Attr, "0.0">:$softcap,
                       OptionalAttr<F64Attr>:$mask_value, UnitAttr:$nan_to_zero, UnitAttr:$zero_empty,
                       UnitAttr:$wide_softmax);
  let results = (outs NN_Tensor:$result);
}
def NN_LinearAttentionOp : NN_Op<"linear_attention", [AttrSizedOperandSegments]> {
  let summary = "A recurrence over a key-value state in place of softmax: S += k v^T, y = scale * q^T S at each position.";
  let description = [{
    q [batch, length, heads * d], k [batch, length, key_heads * d], v [batch, length, key_heads * e]; the
    state S is [batch, key_heads, d, e], zero without `past`. heads / key_heads neighbouring heads of q share one
    state. With `decay` (key_heads, or key_heads * d numbers at each position) S is first multiplied by
    e^decay; with `beta` (key_heads or 1 numbers) v becomes beta * (v - S^T k). Computed in f32; the
    second result is the last state.
  }];
  let arguments = (ins NN_Tensor:$q, NN_Tensor:$k, NN_Tensor:$v, Optional<NN_Tensor>:$past,
                       Optional<NN_Tensor>:$decay, Optional<NN_Tensor>:$beta,
                       I64Attr:$heads, I64Attr:$key_heads, F64Attr:$scale);
  let results = (outs NN_Tensor:$result, NN_Tensor:$present);
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Pooling and normalization
//===----------------------------------------------------------------------===//

def NN_MaxPoolOp : NN_Op<"max_pool"> {
  let summary = "Maximum over windows, and optionally its flat position as ONNX MaxPool gives it.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads,
                       DenseI64ArrayAttr:$dilations, UnitAttr:$ceil_mode, UnitAttr:$column_major, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result, Optional<NN_Tensor>:$indices);
}
def NN_AvgPoolOp : NN_Op<"avg_pool"> {
  let summary = "Mean over windows; padding counts when `count_include_pad` is set.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads,
                       DenseI64ArrayAttr:$dilations, UnitAttr:$ceil_mode, UnitAttr:$count_include_pad, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
}
def NN_LpPoolOp : NN_Op<"lp_pool"> {
  let summary = "(sum of |x|^p)^(1/p) over windows.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads,
                       DenseI64ArrayAttr:$dilations, I64Attr:$p, UnitAttr:$ceil_mode, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
}
def NN_MaxUnpoolOp : NN_Op<"max_unpool"> {
  let summary = "Zeros but for the elements of x, each at its flat position in the result that `indices` gives.";
  let description = [{ The result has the size that a pooling with this kernel makes x of. }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides,
                       DenseI64ArrayAttr:$pads);
  let results = (outs NN_Tensor:$result);
}
def NN_BatchNormOp : NN_Op<"batch_norm"> {
  let summary = "Inference batch normalization: scale * (x - mean) / sqrt(variance + epsilon) + bias along dimension 1 (the last when channels_last).";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, NN_Tensor:$bias, NN_Tensor:$mean, NN_Tensor:$variance,
                       F64Attr:$epsilon, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
}
def NN_LayerNormOp : NN_Op<"layer_norm"> {
  let summary = "(x - mean) / sqrt(variance + epsilon) * scale + bias over the dimensions from `axis` on.";
  let description = [{ scale and bias broadcast to the dimensions from `axis` on. }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, Optional<NN_Tensor>:$bias, I64Attr:$axis, F64Attr:$epsilon);
  let results = (outs NN_Tensor:$result);
}
def NN_RMSNormOp : NN_Op<"rms_norm"> {
  let summary = "x / sqrt(mean(x^2) + epsilon) * scale over the dimensions from `axis` on.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, I64Attr:$axis, F64Attr:$epsilon);
  let results = (outs NN_Tensor:$result);
}
def NN_GroupNormOp : NN_Op<"group_norm"> {
  let summary = "Normalization over each of num_groups groups of channels and all positions; scale and bias are [C].";
  let description = [{ num_groups = C is instance normalization. }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, NN_Tensor:$bias, I64Attr:$num_groups, F64Attr:$epsilon, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
}
def NN_LpNormOp : NN_Op<"lp_norm"> {
  let summary = "x divided by its L1 or L2 norm (p) along `axis`.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis, I64Attr:$p);
  let results = (outs NN_Tensor:$result);
}
def NN_LRNOp : NN_Op<"lrn"> {
  let summary = "Local response normalization across channels (dimension 1).";
  let arguments = (ins NN_Tensor:$x, F64Attr:$alpha, F64Attr:$beta, F64Attr:$bias, I64Attr:$size);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Sampling images, signals
//===----------------------------------------------------------------------===//

def NN_GridSampleOp : NN_Op<"grid_sample"> {
  let summary = "x [N, C, spatial...] interpolated at the positions of grid [N, result spatial..., spatial rank].";
  let description = [{
    The last dimension of the grid names spatial dimensions from the last to the first; -1 and 1 are the centers
    of the outermost elements (`align_corners`), else their outer borders.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$grid, NN_ResizeModeAttr:$mode, NN_SamplePaddingAttr:$padding,
                       UnitAttr:$align_corners);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_DeformSampleOp : NN_Op<"deform_sample"> {
  let summary = "What a deformable convolution multiplies with its weights: [N, C * kernel size, result positions].";
  let description = [{
    For each channel, element of the kernel and position of the result, the linear interpolation of x [N, C,
    spatial...] at the position shifted by offset [N, offset_group * kernel size * spatial rank, result spatial...],
    times mask [N, offset_group * kernel size, result spatial...]. Outside of x there are zeros. See
    arXiv:1703.06211 and arXiv:1811.11168.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$offset, Optional<NN_Tensor>:$mask, DenseI64ArrayAttr:$kernel,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations,
                       I64Attr:$offset_group);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_RoiAlignOp : NN_Op<"roi_align"> {
  let summary = "Mean (or maximum) of samples in the bins of regions of x [N, C, H, W]: [regions, C, height, width].";
  let description = [{
    rois is [regions, 4] (x1, y1, x2, y2), multiplied with spatial_scale; region r lies in image batch_indices[r].
    A bin has sampling_ratio^2 samples, or as many as it has elements where that is 0. `half_pixel` shifts
    positions by half an element. The maximum is over the four weighted neighbours of each sample. See
    arXiv:1703.06870.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$rois, NN_Tensor:$batch_indices, I64Attr:$height, I64Attr:$width,
                       I64Attr:$sampling_ratio, F64Attr:$spatial_scale, UnitAttr:$half_pixel, UnitAttr:$max);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_MaxRoiPoolOp : NN_Op<"max_roi_pool"> {
  let summary = "Maximum over the bins of regions of x [N, C, H, W]: [regions, C, height, width]; 0 for empty bins.";
  let description = [{
    rois is [regions, 5] (image, x1, y1, x2, y2); the corners are multiplied with spatial_scale and rounded. See
    arXiv:1504.08083.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$rois, I64Attr:$height, I64Attr:$width, F64Attr:$spatial_scale);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_Col2ImOp : NN_Op<"col2im"> {
  let summary = "Blocks x [N, C * block size, blocks] added up at their places in images [N, C, image_shape...].";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$image_shape, NN_ShapeTensor:$block_shape,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations);
  let results = (outs NN_Tensor:$result);
}
def NN_DFTOp : NN_Op<"dft"> {
  let summary = "Discrete Fourier transform along `axis` of x [..., 1] (real) or [..., 2] (complex).";
  let description = [{
    dft_length (a scalar) is the length of the transform: x is cut or continued with zeros. With `onesided` the
    forward transform gives only the first dft_length / 2 + 1 elements, and the inverse one takes them and gives
    a real result [..., 1]. `axis` is a scalar. The inverse divides by the length.
  }];
  let arguments = (ins NN_Tensor:$x, Optional<NN_Tensor>:$dft_length, NN_Tensor:$axis, UnitAttr:$inverse,
                       UnitAttr:$onesided);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Recurrent cells: operand and result layout as ONNX (layout 0); absent operands are omitted
//===----------------------------------------------------------------------===//

class NN_RecurrentOp<string mnemonic> : NN_Op<mnemonic, [AttrSizedOperandSegments]> {
  let description = [{
    x [sequence, batch, input], w [directions, gates * hidden, input], r [directions, gates *
    hidden, hidden], bias [directions, 2 * gates * hidden]; y [sequence, directions, batch, hidden],
    y_h (and y_c) [directions, batch, hidden]. Gate order as in ONNX (lstm: i o f c; gru: z r h).
    `activations` has the lower-case ONNX names, for each direction (lstm f g h, gru f g, rnn f).
  }];
}
def NN_LSTMOp : NN_RecurrentOp<"lstm"> {
  let summary = "Long short-term memory.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$w, NN_Tensor:$r, Optional<NN_Tensor>:$bias,
                       Optional<NN_Tensor>:$sequence_lens, Optional<NN_Tensor>:$initial_h, Optional<NN_Tensor>:$initial_c,
                       Optional<NN_Tensor>:$peephole, NN_DirectionAttr:$direction, StrArrayAttr:$activations,
                       OptionalAttr<F64Attr>:$clip, UnitAttr:$input_forget);
  let results = (outs NN_Tensor:$y, NN_Tensor:$y_h, NN_Tensor:$y_c);
}
def NN_GRUOp : NN_RecurrentOp<"gru"> {
  let summary = "Gated recurrent unit.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$w, NN_Tensor:$r, Optional<NN_Tensor>:$bias,
                       Optional<NN_Tensor>:$sequence_lens, Optional<NN_Tensor>:$initial_h,
                       NN_DirectionAttr:$direction, StrArrayAttr:$activations, OptionalAttr<F64Attr>:$clip,
                       UnitAttr:$linear_before_reset);
  let results = (outs NN_Tensor:$y, NN_Tensor:$y_h);
}
def NN_RNNOp : NN_RecurrentOp<"rnn"> {
  let summary = "Simple recurrent network.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$w, NN_Tensor:$r, Optional<NN_Tensor>:$bias,
                       Optional<NN_Tensor>:$sequence_lens, Optional<NN_Tensor>:$initial_h,
                       NN_DirectionAttr:$direction, StrArrayAttr:$activations, OptionalAttr<F64Attr>:$clip);
  let results = (outs NN_Tensor:$y, NN_Tensor:$y_h);
}

//===----------------------------------------------------------------------===//
// Random numbers
//===----------------------------------------------------------------------===//

/// The only operation with a side effect: it counts. So it is never folded, merged, moved or dropped.
def NN_RandomKeyOp : Op<NN_Dialect, "random_key", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<NN_ShapeFunction>]> {
  let summary = "A key for nn.random that no other operation has (`stream`) and that is new each time: two i64.";
  let description = [{
    The second number counts how often a session has run the operation: the n-th run of any session
    gives the same numbers. A key that does not change is an nn.constant.
  }];
  let arguments = (ins I64Attr:$stream);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "attr-dict `:` functional-type(operands, results)";
}
def NN_RandomOp : NN_Op<"random"> {
  let summary = "Numbers of a tensor of dimensions `shape`: uniform in [0, 1) or standard normal, a function of `key` alone.";
  let description = [{ Philox 4x32-10; see docs/rationale/random.md. `element` is f32 or f64. }];
  let arguments = (ins NN_Tensor:$key, NN_ShapeTensor:$shape, NN_DistributionAttr:$distribution, TypeAttr:$element);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Control flow: regions see the values around them
//===----------------------------------------------------------------------===//

def NN_IfOp : NN_Op<"if", [RecursiveMemoryEffects]> {
  let summary = "The yielded values of then_branch when the bool scalar holds, else of else_branch.";
  let arguments = (ins NN_Tensor:$condition);
  let results = (outs Variadic<NN_Value>:$results);
  let regions = (region SizedRegion<1>:$then_branch, SizedRegion<1>:$else_branch);
  let assemblyFormat = [{
    $condition attr-dict `:` functional-type(operands, results) $then_branch `else` $else_branch
  }];
  let hasVerifier = 1;
}
def NN_LoopOp : NN_Op<"loop", [AttrSizedOperandSegments, RecursiveMemoryEffects]> {
  let summary = "ONNX Loop: at most trip_count iterations while the condition holds.";
  let description = [{
    Body arguments: iteration number (i64 scalar), condition (bool scalar), carried values. It
    yields the condition, the carried values, then the scan outputs, which are stacked along a new
    first dimension. Results: final carried values, then stacked scan outputs.
  }];
  let arguments = (ins Optional<NN_Tensor>:$trip_count, Optional<NN_Tensor>:$condition, Variadic<NN_Value>:$carried);
  let results = (outs Variadic<NN_Value>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    (`trip` $trip_count^)? (`while` $condition^)? `carried` `(` $carried `)` attr-dict `:`
    functional-type(operands, results) $body
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Kernels from outside
//===----------------------------------------------------------------------===//

def NN_CustomOp : NN_Op<"custom"> {
  let summary = "A call of a C kernel that is linked into the artifact (include/nnopt/kernel.h).";
  let description = [{
    `kernel` is the symbol of the function. A plugin registers it with its shape function
    (`nn::registerCustomKernel`, CustomKernels.h). Attributes of the ONNX operator are constant operands.
  }];
  let arguments = (ins Variadic<NN_Tensor>:$inputs, StrAttr:$kernel);
  let results = (outs Variadic<NN_Tensor>:$outputs);
}

include "dialects/nn/NNClassicalOps.td"
include "dialects/nn/NNHostOps.td"

#endif
