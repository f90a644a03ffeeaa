def FoldShapes : Pass<"fold-shapes", "::mlir::func::FuncOp"> {
  let summary = "Fold shape arithmetic and operations that do nothing by symbolic shapes";
  let description = [{
    Computes the symbolic shape of every value (`nn::ShapeContext`), refines the types, and then
    - inlines the branch of an `nn.if` whose condition is known;
    - replaces integer and bool tensors whose elements are known by constants;
    - rewrites what is left of shape arithmetic: target shapes of reshape, expand and slice become
      constants (0 and -1 where a dimension is copied or follows), everything else is recomputed
      from the shapes of the function's arguments, so that no intermediate value is kept or kept
      from being fused for its size;
    - removes reshape, flatten, squeeze, unsqueeze, expand, tile, slice, pad, concat, split, cast,
      transpose and reductions that give back their operand, chains of reshapes, and expansions that
      the elementwise user (or a matrix product, in its batch dimensions) broadcasts anyway;
    - erases dead operations.

    Two dimensions are the same only where their normal forms (`nn::Dim`) are.

    Doctest: test/passes/fold-shapes/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [
    Statistic<"numConstants", "constants", "Values replaced by constants">,
    Statistic<"numRemoved", "removed", "Operations that did nothing">,
    Statistic<"numIfs", "ifs", "Conditionals replaced by a branch">,
    Statistic<"numDead", "dead", "Dead operations erased">
  ];
}
