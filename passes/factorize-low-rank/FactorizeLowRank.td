def FactorizeLowRank : Pass<"factorize-low-rank", "::mlir::func::FuncOp"> {
  let summary = "Write weights of low rank as the product of two smaller matrices";
  let description = [{
    `W x + b = B (A x) + b` for `W = B A`, where W [out, columns] is the matrix of a matrix product or convolution (columns
    are in channels times the kernel), of a rank of which A [rank, columns] and B [out, rank] have at most half of its
    elements. A convolution becomes one with its kernel, strides and padding to `rank` channels, and a 1x1 convolution.

    The rank is numerical: the product, of factors rounded to f32, differs from no weight by more than `max-error` of the
    largest one. Almost all weights have full rank, which is seen cheaply: a part of W, as many of its rows and columns as
    the rank may be and some more, is already of a higher rank (Businger and Golub 1965: QR with column pivoting). What
    passes is decomposed (the leading eigenvectors of W W'). Ranks above 128 are not looked for,
    nor those of matrices with more than 1,024 rows and columns.

    `merge-sequential-linear` does not undo it: the merged operation would take more multiply-adds.

    Conditions: constant finite f32 weights and bias, one group, no epilogue, at least 4,096 weights.

    Doctest: test/passes/factorize-low-rank/doctest.mlir
  }];
  let options = [Option<"maxError", "max-error", "double", "1e-5",
                        "Largest difference of a weight, relative to the largest weight">];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numFactorized", "factorized", "Operations that became two">];
}
