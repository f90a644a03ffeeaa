def CleanupTransposes : Pass<"cleanup-transposes", "::mlir::func::FuncOp"> {
  let summary = "Cancel, absorb and view transposes and reshapes, and drop neutral operands";
  let description = [{
    - A transpose that only moves dimensions of one element becomes a reshape, which moves no data.
    - Transposes of transposes and reshapes of reshapes become one.
    - `reshape(transpose(x))`, where the transpose swaps the last two dimensions and the reshape keeps them,
      becomes `transpose(reshape(x))`; between reshapes that merge leading dimensions and split them again, it
      is a transpose of x.
    - A transpose of the last two dimensions of an operand of `nn.matmul` becomes its `transpose_a`
      or `transpose_b`.
    - `matmul(reshape(x), w)` where the reshape merges leading dimensions, followed by a reshape
      that splits them again, becomes a matmul of x itself: rows of a matrix product do not depend
      on each other.
    - A reshape before an elementwise operation with numbers or vectors along its kept last
      dimension is swapped behind it.
    - An elementwise operation between transposes that undo each other works without them; its constants are put in
      the other order.
    - `x + 0`, `x - 0`, `x * 1`, `x / 1`, `x ^ 1` are x (the shape must not change).
    - A cast to a type that has all values of the one before, followed by another cast, is one cast, or none where that
      is back to where it began. (From integers through floats to integers that do not have all values it is not: floats
      out of range are cut off, integers wrap around.)

    Doctest: test/passes/cleanup-transposes/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
}
