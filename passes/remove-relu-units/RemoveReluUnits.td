def RemoveReluUnits : Pass<"remove-relu-units", "::mlir::func::FuncOp"> {
  let summary = "Remove hidden units of a ReLU layer that are dead, constant or multiples of another one, without loss";
  let description = [{
    In `V relu(W x + b) + d`, unit i is row i of W, element i of b and column i of V.
    - Dead: the row is 0 and `b[i] <= 0`, so that it is always 0; or the column is 0, so that nothing reads it. It goes.
    - Constant: the row is 0 and `b[i] > 0`. `V[:, i] b[i]` is added to d, where no padding is between.
    - Multiple: row and bias are c > 0 times those of unit j. As `relu(c z) = c relu(z)`, `c V[:, i]` is added to column j
      (positively scaled units: Neyshabur et al. 2015, "Path-SGD", section 2; units of equal weights: Serra et al. 2020,
      "Lossless Compression of Deep Neural Networks", section 3).

    The layers are matrix products, or convolutions without groups; maximum and average pooling may stand behind the relu:
    they work on each channel, and positive factors pass.

    Conditions: weights and biases are constant, f32 or f64, and used nowhere else; nobody else reads the values between;
    no epilogue. c is one number for which c times row j is row i up to the rounding of the element type. As in all of
    real arithmetic, values are finite: a row of zeros counts as 0 for an infinite x too.

    Doctest: test/passes/remove-relu-units/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numRemoved", "removed", "Units removed">];
}
