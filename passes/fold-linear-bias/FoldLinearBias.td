def FoldLinearBias : Pass<"fold-linear-bias", "::mlir::func::FuncOp"> {
  let summary = "Fold constant scales and shifts after a contraction into its weights and bias";
  let description = [{
    Addition, subtraction, multiplication, division by a constant that depends on the output channel only (or is one
    number), and negation, right after a convolution, transposed convolution or matrix product: `c * (W x + b) + t = (c W) x + (c b + t)`.
    New weights are computed in double.

    Conditions: the contraction has no other user and no epilogue; a shift needs a bias that is constant or absent, a
    scale constant weights too; the constant does not enlarge the result.

    Doctest: test/passes/fold-linear-bias/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numFolded", "folded", "Elementwise operations folded into a contraction">];
}
