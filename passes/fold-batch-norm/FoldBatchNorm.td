def FoldBatchNorm : Pass<"fold-batch-norm", "::mlir::func::FuncOp"> {
  let summary = "Fold batch normalization into the linear operations before or behind it";
  let description = [{
    Inference batch normalization is an affine map of each channel: with `s = scale / sqrt(variance
    + epsilon)` it is `s * x + (bias - s * mean)`. So are additions, subtractions, multiplications
    and divisions by constants that depend on one dimension only, chains of all of these (batch
    normalization written out, batch normalization twice), and sums of such maps of one value
    (RepBN, `BN(x) + eta * x`). The longest chains that contain a batch normalization or several
    operations are folded whole; `fold-linear-bias` folds what remains.

    1. Into the convolution, transposed convolution or matrix product that computes x: `s (W x + b)
       + t = (s W) x + (s b + t)`. Between them may stand reshapes (that keep the channels apart),
       transposes, concatenations (each part takes its channels), splits and slices, average
       pooling, means, maximum pooling (scales that are not negative), padding (where it can hold
       the mapped value) and resizing, as long as nobody else reads the values between.
    2. Otherwise into all linear operations that read the result, through the same operations: `W (s
       x + t) + b = (W s) x + (b + W t)`. Zero padding of a convolution would need the value that
       the map takes to zero. A shift therefore folds over padding only by a correction of the
       border: the image that a constant activation `t` gives, added to the result. It is used for
       one image of static size, below `max-border-bytes`, where it costs less than the map, that
       is, where the map cannot join the epilogue of what computes x.
    3. Otherwise it becomes a multiplication and an addition by constants, which fuse with their
       neighbours.

    Conditions: parameters, weights and bias are constant, f32 or f64, `variance + epsilon` is
    positive; values between have no other user, and no operation an epilogue. Shared weights are
    cloned where a copy is smaller than the result that would be scaled. New weights are computed in
    double. What does not fold says why in a remark.

    Doctest: test/passes/fold-batch-norm/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let options = [
    Option<"maxBorderBytes", "max-border-bytes", "int64_t", "1 << 20", "Largest correction of a border">
  ];
  let statistics = [
    Statistic<"numFolded", "folded", "Maps folded into what comes before">,
    Statistic<"numForward", "folded-forward", "Maps folded into what reads them">,
    Statistic<"numAffine", "affine", "Maps rewritten as multiplication and addition">
  ];
}
