def FoldLinearBias : Pass<"fold-linear-bias", "::mlir::func::FuncOp"> {
  let summary = "Fold constant scales and shifts beside a linear operation into its weights and bias";
  let description = [{
    Additions, subtractions, multiplications and divisions by a constant that depends on one
    dimension only (or is one number), negations, and chains of them go into the convolutions,
    transposed convolutions and matrix products before or behind them, as `fold-batch-norm`
    describes it: `c * (W x + b) + t = (c W) x + (c b + t)`, `W (c x + t) + b = (W c) x + (b + W
    t)`.

    A number that multiplies or divides an operand of a matrix product of two variable operands
    without bias moves behind it: `(s a) b = s (a b)`. Transposes and reshapes may stand between.
    There it can become part of the epilogue instead of a pass over memory (the scale of attention).

    Conditions: nobody else reads the values between, and no operation has an epilogue; a shift
    behind a linear operation needs a bias that is constant or absent, a scale constant weights too;
    the constant does not enlarge the result.

    Doctest: test/passes/fold-linear-bias/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let options = [
    Option<"maxBorderBytes", "max-border-bytes", "int64_t", "1 << 20", "Largest correction of a border">
  ];
  let statistics = [Statistic<"numFolded", "folded", "Chains folded into what comes before">,
                    Statistic<"numForward", "folded-forward", "Chains folded into what reads them">,
                    Statistic<"numPulled", "pulled", "Factors of operands moved behind a matrix product">];
}
