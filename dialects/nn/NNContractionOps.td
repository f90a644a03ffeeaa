//===- NNContractionOps.td - contractions and recurrent cells --*- tablegen -*-===//
#ifndef NN_CONTRACTION_OPS_TD
#define NN_CONTRACTION_OPS_TD

include "dialects/nn/NNBase.td"

//===----------------------------------------------------------------------===//
// Contractions
//===----------------------------------------------------------------------===//

/// Contractions end in an epilogue: the region's arguments are the accumulated element (with the
/// bias added) and one element of each of `epilogue_args`, which broadcast to the result's shape;
/// `nn.yield` returns the result element, and the one of `second`, where there is a second result (a sum that a
/// skip reads too, and its normalization). An empty region is the identity.
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
  let results = (outs NN_Tensor:$result, Optional<NN_Tensor>:$second);
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
  let results = (outs NN_Tensor:$result, Optional<NN_Tensor>:$second);
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
  let results = (outs NN_Tensor:$result, Optional<NN_Tensor>:$second);
  let regions = (region AnyRegion:$epilogue);
  let assemblyFormat = [{
    $a `,` $b (`bias` $bias^)? (`a_zero` $a_zero^)? (`b_zero` $b_zero^)? (`epilogue` `(` $epilogue_args^ `)`)? attr-dict `:`
    functional-type(operands, results) ($epilogue^)?
  }];
  let hasVerifier = 1;
}
def NN_GroupedMatMulOp : NN_TiedOp<"grouped_matmul"> {
  let summary = "Each row times the matrices that are chosen for it: the experts of a mixture.";
  let description = [{
    result[i, j] = w[group[i, j]] x[i] for x [rows, k], or w[group[i, j]] x[i, j] for x [rows, choices, k], with
    w [groups, n, k] and group [rows, choices] within [0, groups). Only matrices that are chosen are read
    (mixtures of experts: Shazeer et al. 2017, section 2; the grouped product: Gale et al. 2022, section 4).
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$w, NN_ShapeTensor:$group);
  let results = (outs NN_Tensor:$result);
}
def NN_MoEOp : NN_Op<"moe", [IsolatedFromAbove, AttrSizedOperandSegments]> {
  let summary = "A mixture of experts: of many small feed-forward networks, each row computes those with a score.";
  let description = [{
    result[i] = bias + sum over experts e with score[i, e] != 0 of
    score[i, e] * w2[e] activation(w1[e] x[i] + bias1[e], w3[e] x[i] + bias3[e])

    for x [..., in], w1 and w3 [experts, hidden, in], bias1 and bias3 [experts, hidden], w2 [experts, out, hidden],
    bias [out], score [..., experts], where w3 and bias3 may be absent: the region then has one argument. An expert
    without a score is not computed, whatever its values (Shazeer et al. 2017, equation 1). The scores say how
    experts are chosen: by rank, by a threshold, or always (a score of 1 for each row is a shared expert).
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$w1, Optional<NN_Tensor>:$bias1, Optional<NN_Tensor>:$w3,
                       Optional<NN_Tensor>:$bias3, NN_Tensor:$w2, Optional<NN_Tensor>:$bias, NN_Tensor:$score);
  let results = (outs NN_Tensor:$result);
  let regions = (region SizedRegion<1>:$activation);
  let assemblyFormat = [{
    $x `score` $score `w1` $w1 (`bias1` $bias1^)? (`w3` $w3^)? (`bias3` $bias3^)? `w2` $w2 (`bias` $bias^)? attr-dict `:`
    functional-type(operands, results) $activation
  }];
  let hasVerifier = 1;
}
def NN_InverseOp : NN_Op<"inverse"> {
  let summary = "Inverses of the square matrices in the last two dimensions.";
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_Tensor:$result);
}
def NN_EinsumOp : NN_TiedOp<"einsum"> {
  let summary = "Einstein summation; `equation` is explicit (has `->`) and without spaces.";
  let arguments = (ins Variadic<NN_Tensor>:$inputs, StrAttr:$equation);
  let results = (outs NN_Tensor:$result);
}
def NN_DetOp : NN_Op<"det"> {
  let summary = "Determinants of the square matrices in the last two dimensions.";
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_Tensor:$result);
}
def NN_AttentionOp : NN_TiedOp<"attention"> {
  let summary = "softmax(scale * q k^T + mask) v for [batch, heads, sequence, head] operands.";
  let description = [{
    The heads of q are a multiple of those of k and v (grouped-query attention). The mask is bool
    (true: take part) or added, and broadcasts to [batch, heads, q, k]. `causal` lets position i see
    positions up to i + (keys - queries when `causal_from_end` is set, else 0). `softcap` > 0 applies softcap * tanh(s / softcap).
    Scores that a bool mask leaves out become `mask_value`, where that is set, instead of -infinity.
    `empty_rows` says what a row is in which no key takes part: the NaN of softmax (`nan`), zeros, as every row
    of probabilities that is NaN (`nan_to_zero`), or 0, where what a mask excludes does not matter even if it is
    NaN (`zero`).
    Operands narrower than f32 are rounded where the function body of ONNX Attention rounds: q and k scaled by
    sqrt(scale), the scores after each step, the probabilities, and the steps of softmax unless `wide_softmax`
    is set (then they are f32). Sums are f32.
  }];
  let arguments = (ins NN_Tensor:$q, NN_Tensor:$k, NN_Tensor:$v, Optional<NN_Tensor>:$mask,
                       F64Attr:$scale, UnitAttr:$causal, UnitAttr:$causal_from_end, DefaultValuedAttr<F64Attr, "0.0">:$softcap,
                       OptionalAttr<F64Attr>:$mask_value,
                       DefaultValuedAttr<NN_EmptyRowsAttr, "::nnopt::nn::EmptyRows::nan">:$empty_rows, UnitAttr:$wide_softmax);
  let results = (outs NN_Tensor:$result);
}
def NN_RotaryOp : NN_TiedOp<"rotary"> {
  let summary = "Rotary position embedding: pairs of elements turned by angles.";
  let description = [{
    Pair i of the last dimension, of even size d, is elements (i, i + d / 2), or (2 i, 2 i + 1) when `interleaved`
    is set; (a, b) becomes (a cos - b sin, b cos + a sin) (Su et al. 2021, equation 34). cos and sin broadcast to
    x but for their last dimension: it has d / 2 elements, one for each pair, or d, one for each element.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$cos, NN_Tensor:$sin, UnitAttr:$interleaved);
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
// Recurrent cells: operand and result layout as ONNX (layout 0); absent operands are omitted
//===----------------------------------------------------------------------===//

class NN_RecurrentOp<string mnemonic> : NN_TiedOp<mnemonic, [AttrSizedOperandSegments]> {
  let description = [{
    x [sequence, batch, input], w [directions, gates * hidden, input], r [directions, gates *
    hidden, hidden], bias [directions, 2 * gates * hidden]; y [sequence, directions, batch, hidden],
    y_h (and y_c) [directions, batch, hidden]. Gate order as in ONNX (lstm: i o f c; gru: z r h).
    `activations` has the lower-case ONNX names, for each direction (lstm f g h, gru f g, rnn f), with parameters
    behind those that have some: `leakyrelu:0.01`, `hardsigmoid:0.2:0.5`.
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

#endif // NN_CONTRACTION_OPS_TD
