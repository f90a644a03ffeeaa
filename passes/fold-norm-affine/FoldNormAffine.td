def FoldNormAffine : Pass<"fold-norm-affine", "::mlir::func::FuncOp"> {
  let summary = "Fold scale and shift of a layer_norm or rms_norm into the matrix products behind it";
  let description = [{
    `W (g * n + b) + c = (W diag(g)) n + (W b + c)` for a normalized row n: scale and shift of a `layer_norm` or
    `rms_norm` over the last dimension go into the weights and biases of the products that use it. The
    normalization then stores n as it is, and normalizations of one value become equal (and merge by CSE).
    New weights are computed in double.

    Conditions: the products are all that uses the norm (reshapes that keep the last dimension may stand
    between), as their left operand, with constant weights that nobody else uses, a constant bias or none, and
    no epilogue; scale and shift are constant; f32 or f64.

    Doctest: test/passes/fold-norm-affine/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numFolded", "folded", "Normalizations that lost scale and shift">];
}
