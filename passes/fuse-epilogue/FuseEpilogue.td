def FuseEpilogue : Pass<"fuse-epilogue", "::mlir::func::FuncOp"> {
  let summary = "Move elementwise operations after a contraction into its epilogue region";
  let description = [{
    Elementwise operations on the result of a convolution, transposed convolution or matrix product
    are computed on the accumulators before they are stored. A cluster may branch and join inside
    (`x * sigmoid(x)`). Its last value leaves it, and at most one more: then the contraction has two
    results, as for a residual sum that a skip reads as it is and that is normalized for the next layer
    (He et al. 2016, Identity Mappings, figure 4e). Further operands become arguments of the epilogue.

    Conditions: f32 or f64 throughout, but that a quantization to 8 bits may end it; or a contraction of integers of up to
    8 bits, whose i32 accumulators the cluster turns into any type (scales, rounding). An operand that is dequantized by
    constant numbers is read as integers. Every operation of the cluster has exactly the result's
    dimensions, and every further operand is (a) one element, (b) a vector along the last dimension,
    for matrix products and channels_last convolutions, or (c) exactly as large as the result. The
    fused operation stands where the last operation of the cluster stood, so all operands are known
    there. With a second result it stands behind its last operand, before all that uses the inner value,
    or the cluster ends earlier. Contractions are visited from the last to the first: of two that feed one addition the
    later one takes it.

    Doctest: test/passes/fuse-epilogue/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
  let options = [
    Option<"maxArgs", "max-args", "unsigned", "8", "Most arguments of an epilogue">,
    Option<"maxOps", "max-ops", "unsigned", "24", "Most operations in an epilogue">
  ];
  let statistics = [
    Statistic<"numFused", "fused", "Elementwise operations moved into an epilogue">,
    Statistic<"numEpilogues", "epilogues", "Contractions that got an epilogue">
  ];
}
