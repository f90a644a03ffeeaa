def Quantize : Pass<"quantize", "::mlir::func::FuncOp"> {
  let summary = "Write convolutions and matrix products with 8-bit operands";
  let description = [{
    A convolution or matrix product with constant weights that carries `quantize = {scale, zero_point}`, the parameters
    of its activation, gets its operands through integers:

    - the activation becomes `ui8`, `round(x / scale) + zero_point`, one scale for the whole tensor;
    - the weights become `i8`, `round(w / s)` with `s = max |w| / 127` over the weights of each out channel;
    - both are dequantized again, so that the operation means what it meant, up to rounding.

    `raise-quantized` then computes it on integers. Where the activation comes from movement of elements or max pooling
    alone, the operands of that are quantized alike, which changes nothing in the result (rounding is monotone), so that
    integers move.

    This is the only pass here that is not exact, and it is in no pipeline: `--quantize`, `--budget` and `--recipe` of
    nnopt-compile choose the parameters from data and apply it.

    Conditions: 32-bit floats, finite constant weights, no epilogue yet, and at most 257 taps in a depthwise convolution,
    whose kernel reads and writes bytes and computes in floats.

    Doctest: test/passes/quantize/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numQuantized", "quantized", "Operations with 8-bit operands">];
}
