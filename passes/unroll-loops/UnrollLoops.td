def UnrollLoops : Pass<"unroll-loops", "::mlir::func::FuncOp"> {
  let summary = "Write out loops that run a small, known number of times";
  let description = [{
    A `loop` whose trip count is known and small, and which nothing else ends, becomes copies of its body: the
    number of the iteration is a constant in each, sizes that grow are known, and what the copies have in common is
    computed once. Scan outputs are concatenations.

    Conditions: at most `max-trips` iterations and `max-ops` operations in all; the condition is absent or
    always true; no random numbers are drawn inside (each iteration draws anew, copies of one operation would draw the
    same).

    Doctest: test/passes/unroll-loops/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let options = [
    Option<"maxTrips", "max-trips", "int64_t", "16", "Most iterations that are written out">,
    Option<"maxOps", "max-ops", "int64_t", "256", "Most operations of all iterations of a loop">
  ];
  let statistics = [Statistic<"numUnrolled", "unrolled", "Loops written out">];
}
