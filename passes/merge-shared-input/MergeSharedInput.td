def MergeSharedInput : Pass<"merge-shared-input", "::mlir::func::FuncOp"> {
  let summary = "Merge contractions that read the same value into one with concatenated weights";
  let description = [{
    `[W1; W2] x = [W1 x; W2 x]`: matrix products, or convolutions with equal windows, of one value become one
    with as many outputs. It reads x once and is one launch; weights and multiply-adds stay as many. That pays
    only where taking the parts out again costs nothing:
    - the parts are neighbours in a concatenation along their channels: the merged result takes their place
      there. One activation may stand between, when it is the same for all;
    - everything that uses the parts reads them in place: attention, concatenations along an inner dimension,
      and elementwise operations behind a transpose or slice (those right behind the product are better off
      in its epilogue), through reshapes and transposes (see `StridedView` in the lowering). The parts are then
      results of an `nn.split`. This is Q, K and V.

    Conditions: constant weights that nobody else uses (else the copy would be memory on top), bias constant or
    absent, f32 or f64, no epilogue yet; convolutions without groups.

    Doctest: test/passes/merge-shared-input/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numMerged", "merged", "Contractions that became part of another">];
}
