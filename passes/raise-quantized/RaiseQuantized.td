def RaiseQuantized : Pass<"raise-quantized", "::mlir::func::FuncOp"> {
  let summary = "Compute convolutions and matrix products of dequantized operands on integers";
  let description = [{
    Quantized models say what they mean by `dequantize -> operation -> quantize` (QDQ). With `x = sx (qx - zx)` and `w =
    sw (qw - zw)`, where sw may differ between out channels,

    `W x + b = sx sw (sum (qw - zw) (qx - zx)) + b`

    so that a convolution or matrix product of two such operands becomes one of integers, which accumulates in i32, and
    a multiplication of its result (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", section 2.2). A bias that is quantized with the scale sx sw is added to the
    accumulator. Where a quantization by one scale sy follows, directly or behind relu, clip with constant bounds and sums
    with dequantized values, 1/sy is part of the multiplication (and of the scales of those values): a residual connection
    stays in bytes. A product with positive constants for the out channels right ahead of the quantization is part of the
    multiplication too. What else is quantized for integers is multiplied by 1/sy. Relu, clips and the range of the integers
    become one clip, or none where the quantization, which clamps, does it.

    Reshapes, transposes, slices, concatenations and max pooling between `dequantize` and `quantize` of the same
    parameters move the integers themselves; the two with nothing between them disappear, since `round((s (q - z)) / s)
    + z = q`.

    Conditions: 8-bit integers; weights that are constant; scales that are constant and positive, one for all of x, one
    or one for each out channel of w; no epilogue yet.

    Doctest: test/passes/raise-quantized/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numRaised", "raised", "Operations that compute on integers now">,
                    Statistic<"numMoved", "moved", "Operations that move integers now">];
}
