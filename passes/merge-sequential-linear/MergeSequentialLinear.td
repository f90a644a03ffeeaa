def MergeSequentialLinear : Pass<"merge-sequential-linear", "::mlir::func::FuncOp"> {
  let summary = "Merge linear operations that follow each other where one is cheaper";
  let description = [{
    `W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)`: a convolution or matrix product behind another
    one becomes part of it, with affine maps of channels, average pooling and padding between: 1x1
    and kxk in either order, depthwise and 1x1, products of a value with constant matrices (the
    factors of a low rank, an adapter). Of all ways to cut a chain into merged operations the one of
    fewest multiply-adds is taken (shortest path over the values of the chain), the one of fewest
    operations among those that cost the same. Two factors of a low rank stay apart where the rank
    pays. Padding by zeros before a convolution becomes padding of the convolution.

    Kernels compose on a common grid: tap j2 of the second and j1 of the first read `x[r s1 s2 + j2
    s1 d2 + j1 d1 - p1]`. Padding of the second operation must hold what the first gives for zeros,
    and the first have a 1-wide window along the padded dimensions: a 1x1 convolution without bias,
    or padding by its bias.

    Around attention with one head: the product that makes the values and the one behind the attention are one, as
    each row of probabilities sums to 1; the products of queries and keys are one in the queries, as softmax does
    not see what is the same for all keys. Both where the values, or keys, do not become wider.

    Conditions: weights and bias are constant, f32 or f64; values between have no other user; no
    epilogue. Weights are multiplied in double and rounded once. What stays apart says why in a
    remark.

    Doctest: test/passes/merge-sequential-linear/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [
    Statistic<"numMerged", "merged", "Operations that replace several in a chain">,
    Statistic<"numAttentions", "attention", "Pairs of products around attention that became one">
  ];
}
