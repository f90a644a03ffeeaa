def FoldLinearBias : Pass<"fold-linear-bias", "::mlir::func::FuncOp"> {
  let summary = "Fold constant scales and shifts after a contraction into its weights and bias";
  let description = [{
    Addition, subtraction, multiplication, division by a constant that depends on the output channel
    only (or is one number), and negation, right after a convolution, transposed convolution or
    matrix product: `c * (W x + b) + t = (c W) x + (c b + t)`. New weights are computed in double.

    A number that multiplies or divides an operand of a contraction goes into its constant weights,
    or, in a matrix product of two variable operands without bias, behind it: `(s a) b = s (a b)`.
    Transposes and reshapes may stand between. There it can become part of the epilogue instead of a
    pass over memory (the scale of attention).

    Conditions: the contraction has no other user and no epilogue; a shift needs a bias that is
    constant or absent, a scale constant weights too; the constant does not enlarge the result.

    Doctest: test/passes/fold-linear-bias/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numFolded", "folded", "Elementwise operations folded into a contraction">,
                    Statistic<"numPulled", "pulled", "Factors of operands moved into weights or behind">];
}
