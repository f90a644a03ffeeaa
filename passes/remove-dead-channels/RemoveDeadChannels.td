def RemoveDeadChannels : Pass<"remove-dead-channels", "::mlir::func::FuncOp"> {
  let summary = "Remove channels, heads and neurons that add nothing from the whole graph, without loss";
  let description = [{
    Removes units (passes/common/AxisGroups.h: a channel with all that depends on it, through sums, concatenations, heads and
    groups) for which every sum over them gets nothing from them, because
    - its weights for them are 0, or
    - the values are 0: rows of weights and biases are 0 and what lies between keeps 0, or
    - the values are a constant c: rows are 0, the bias is not. The weights for them, times c, go into the bias of the layer
      that sums, where no padding is between (`remove-relu-units` does the same for two layers around a relu).

    A mean of squares (`nn.rms_norm`) that misses zeros is corrected: n elements of which m are left have
    `sum / n + e = (m / n) (sum / m + e n / m)`. Repeats until nothing is left to remove. One unit of each axis stays.

    Conditions: weights and biases are constant and without epilogue; as in all of real arithmetic, values are finite: a
    weight of 0 counts as 0 for an infinite x too. An operation that does not say how its axes depend on each other
    (interface `AxisDependency`) keeps all of what it reads and writes; remarks name it.

    Doctest: test/passes/remove-dead-channels/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
  let statistics = [Statistic<"numRemoved", "removed", "Units removed">];
}
