def RaisePatterns : Pass<"raise-patterns", "::mlir::func::FuncOp"> {
  let summary = "Recognize activations and normalizations that are written out";
  let description = [{
    Exporters spell one function as several operations. Recognized, in any order of factors and
    summands and with division or multiplication by the inverse:
    - `silu`, `hard_sigmoid` and `hard_swish` (by clip of x + 3 to 0..6), `mish`;
    - `gelu` by erf, and its tanh approximation;
    - `softmax` as exponentials over their sum;
    - `layer_norm` and `rms_norm` over trailing dimensions, with scale and shift by vectors behind
      them.

    Each is the same function of real numbers; the constants must agree to 1e-6.

    Doctest: test/passes/raise-patterns/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
}
