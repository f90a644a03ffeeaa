def NarrowToF16 : Pass<"narrow-to-f16", "::mlir::func::FuncOp"> {
  let summary = "Keep the f32 tensors between operations as f16";
  let description = [{
    `--precision=f16`, for GPUs: what lies in memory between operations has half the bytes, and tensor cores multiply f16.
    Kernels compute as before: scalar code of maps and epilogues extends its arguments to f32 and rounds what it yields,
    sums, softmax and statistics are f32. Activations and weights of linear operations, of attention, mixtures of experts,
    normalizations, softmax, reductions, pooling and resizing become f16, and what moves elements moves f16; biases and
    parameters of normalizations stay f32. Runs behind fusion, when each value is a tensor in memory.

    The inputs and results of the function keep their types. A map reads f32 as well as f16, and a map or an epilogue
    writes a result as f32 where only that is read, so that casts remain for few values.

    Stay f32: recurrent operations, scans, sorting, quantization, control flow and whatever else is not named above; what
    angles, integers and bools are computed from (positions of more than 2048 are not f16) and masks of attention; an
    operation that moves, pools, reduces or normalizes f32 and gets it from the outside, or whose result only f32 is made of.
    So does attention with f32 keys or values from the outside, as caches are; its products may round to tf32
    (`tf32_products`). Models that are exported with caches of f16 have f16 throughout.

    Not exact: each tensor is rounded by up to 2^-11 of its elements. Constants beyond the range of f16 become its largest
    numbers, and so do results of scalar code with such numbers (masks of -3.4e38), infinities stay.

    Doctest: test/passes/narrow-to-f16/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
  let statistics = [
    Statistic<"numNarrowed", "narrowed", "Operations that read or write f16 in place of f32">,
    Statistic<"numCasts", "casts", "Conversions between f32 and f16 that operations of their own make">
  ];
}
