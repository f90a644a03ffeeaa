def QuantizeKVCache : Pass<"quantize-kv-cache", "::mlir::func::FuncOp"> {
  let summary = "Keep the keys and values of earlier tokens in 8 bits";
  let description = [{
    `--kv-cache=int8`: an output *present* that is an input *past* with new rows behind it, and that attention reads as keys or
    values, becomes i8 with an f32 scale for each row (of a token and a head), and so does the past. The scales are an input
    and an output of their own, `past.scale` and `present.scale`, [..., length, 1], behind the other inputs and outputs. New
    rows are rounded once, when they come: the scale is the largest magnitude / 127, halves go to even. Attention reads
    `dequantize(present, present.scale)`; the kernel for CPUs reads the bytes.

    Not exact: an element of a row is wrong by up to a 254th of the row's largest.

    Conditions: f32; the past is an input that nothing but the concatenation reads; it grows along a dimension that is not its
    last one; the present is read by attention alone, perhaps through a transpose that leaves rows whole. A cache that is left
    as it is gives a warning that says why; with `required`, as `--kv-cache=int8` has it, a graph without any cache in 8 bits is an error.

    Doctest: test/passes/quantize-kv-cache/doctest.mlir
  }];
  let options = [Option<"required", "required", "bool", "false", "Whether a graph without such a cache is an error">];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numQuantized", "quantized", "Pairs of past and present in 8 bits">];
}
