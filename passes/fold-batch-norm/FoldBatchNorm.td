def FoldBatchNorm : Pass<"fold-batch-norm", "::mlir::func::FuncOp"> {
  let summary = "Fold batch normalization into the convolution or matrix product before it";
  let description = [{
    Inference batch normalization is an affine map of each channel: with `s = scale / sqrt(variance
    + epsilon)` it is `s * x + (bias - s * mean)`. After a convolution, a transposed convolution or
    a matrix product with constant weights that map goes into weights and bias (computed in double);
    everywhere else it becomes a multiplication and an addition by constants, which fuse with their
    neighbours.

    Conditions: the five parameters are constant, `variance + epsilon` is positive, the contraction
    has no other user and no epilogue, its weights and bias are constant, and its channels are those
    that are normalized. What does not fold says why in a remark.

    Doctest: test/passes/fold-batch-norm/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [
    Statistic<"numFolded", "folded", "Batch normalizations folded into a contraction">,
    Statistic<"numAffine", "affine", "Batch normalizations rewritten as multiplication and addition">
  ];
}
