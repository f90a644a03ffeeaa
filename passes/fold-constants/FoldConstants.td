def FoldConstants : Pass<"fold-constants", "::mlir::func::FuncOp"> {
  let summary = "Compute operations on constants at compile time";
  let description = [{
    An operation all of whose operands are constants, or computed from constants, is replaced by its
    value. Small elementwise operations, reshapes and transposes are computed directly; all others
    together, by one call of `nnopt::evaluate`, which compiles them for this machine and runs them.
    What ends in a weight, a bias or the parameters of a normalization (standardized weights, masks,
    kernels made of coordinates, sums of adapters) is computed in f64 and rounded once.

    Not folded: results above `max-growth-bytes` that are more than four times larger than the
    constants they come from (expand, tile, range, ...), because the artifact would carry them;
    control flow; results whose size is not static; and what widens the weights of matrix products (a dequantization of
    integers, a cast of 16-bit floats): kernels do that on the way, and read a half to an eighth of the memory. Products
    of 16-bit floats have such kernels on GPUs, for which `keep-narrow-16-bit` is set.

    Doctest: test/passes/fold-constants/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let options = [
    Option<"maxGrowthBytes", "max-growth-bytes", "int64_t", "1 << 20", "Smaller results may always grow">,
    Option<"keepDequantize", "keep-dequantize", "bool", "false", "Leave nn.dequantize as it is">,
    Option<"keepNarrow16Bit", "keep-narrow-16-bit", "bool", "false",
           "Leave what widens integers for matrix products of 16-bit floats, too">,
    Option<"compile", "compile", "bool", "true", "Compile and run what is not computed directly">
  ];
  let statistics = [
    Statistic<"numDirect", "direct", "Operations computed directly">,
    Statistic<"numEvaluated", "evaluated", "Values computed by compiled kernels">,
    Statistic<"numKept", "kept", "Operations on constants that were kept because of their size">
  ];
}
