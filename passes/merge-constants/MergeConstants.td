def MergeConstants : Pass<"merge-constants", "::mlir::func::FuncOp"> {
  let summary = "Keep one of constants with equal type and bytes";
  let description = [{
    Exporters write the same table once for each layer (masks, relative positions), and tied weights twice.
    One constant of equal type and content stays; operations that then are equal merge by CSE. Constants
    that differ in type, or in any bit (so 0 and -0 are different), stay apart.

    Doctest: test/passes/merge-constants/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numMerged", "merged", "Constants replaced by an equal one">];
}
