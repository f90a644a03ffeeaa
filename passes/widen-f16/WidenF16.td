def WidenF16 : Pass<"widen-f16", "::mlir::func::FuncOp"> {
  let summary = "Make f32 of the f16 tensors of a model";
  let description = [{
    The first pass of `--precision=f16`: a model that was exported in f16 gets f32 between its inputs and results, so that
    all rewrites apply; `narrow-to-f16` is the last one. Constants become f32 with the same values, casts between the two
    types vanish, and what was rounded to f16 in between no longer is. Inputs and results of the function keep their types.

    Operations to which the type matters stay f16, with casts around them: bit_cast, quantize, calls of kernels and of the
    host library, fused scalar code, and what has an attribute of type f16.

    Doctest: test/passes/widen-f16/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numWidened", "widened", "Operations with f32 in place of f16">];
}
