def FoldNormAffine : Pass<"fold-norm-affine", "::mlir::func::FuncOp"> {
  let summary = "Fold scale and shift of normalizations, means of rows and the scale of attention into weights";
  let description = [{
    `W (g * n + b) + c = (W diag(g)) n + (W b + c)` for a normalized row n: scale and shift of a `layer_norm` or
    `rms_norm` over the last dimension go into the weights and biases of the products that use it. The
    normalization then stores n as it is, and normalizations of one value become equal (and merge by CSE).
    New weights are computed in double.

    `layer_norm(x) = rms_norm(x - mean(x))`: the subtraction of the mean is linear, and goes into everything that
    makes x: the weights and biases of linear operations (their out channels get mean 0), rows of tables that are
    gathered, constants that are added. It does so for a whole stream of values that are added to each other, moved,
    and read by layer_norms only (the residual stream of a pre-norm transformer); layer_norms of it that have no
    shift become rms_norms. It does not where anything else reads the stream, or makes it: an activation, a
    normalization with a skip beside it (post-norm), an input.

    The scale of attention goes into what computes the queries, through rotations, splits and views: `softmax(c q
    k^T) = softmax((c q) k^T)`.

    Conditions of the first: the products are all that uses the norm (what moves rows, or takes some of
    them, may stand between), as their left operand, with constant weights that nobody else uses, a constant bias or none, and
    no epilogue; scale and shift are constant; f32 or f64.

    Doctest: test/passes/fold-norm-affine/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let options = [
    Option<"center", "center", "bool", "true", "Make rms_norms of layer_norms (ONNX has none before opset 23)">
  ];
  let statistics = [Statistic<"numFolded", "folded", "Normalizations that lost scale and shift">,
                    Statistic<"numCentered", "centered", "layer_norms that became rms_norms">,
                    Statistic<"numScales", "scales", "Scales of attention that went into weights">];
}
