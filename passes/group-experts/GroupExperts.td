def GroupExperts : Pass<"group-experts", "::mlir::func::FuncOp"> {
  let summary = "Compute only the chosen experts of a mixture";
  let description = [{
    A mixture of experts adds up, for each token, the results of the experts that a router chose, times their
    scores (Shazeer et al. 2017, equation 1). Exporters spell it as
    - all experts on all tokens, as batched products, times scores that are 0 but for the chosen ones, added up
      over the experts;
    - the same expert by expert;
    - expert by expert on the tokens that chose it: `one_hot`, `non_zero`, `gather`, and `scatter_elements` into
      zeros.

    All become `nn.grouped_matmul` on [tokens, choices, ...], with what is elementwise in between, and a sum over
    the choices: tokens times choices rows instead of tokens times experts, and only weights that are chosen are
    read.

    Where the scores of all experts are 0 for what a threshold left out (`where`, or a product with a condition), or for tokens that
    an expert did not choose (`topk` and `scatter_elements` along the tokens: Zhou et al. 2022, expert choice), each token has
    another number of experts: all experts, of two products with elementwise operations between, perhaps a gate, become `nn.moe`.

    Conditions: the choices are the indices of one `topk` (each at most once for a token), fewer than there are
    experts; every expert occurs once; experts are the same chain of products with constant weights and
    elementwise operations, and differ in weights only. An expert that is not chosen counts as 0 even if it would
    be infinite or NaN.

    Doctest: test/passes/group-experts/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
  let statistics = [Statistic<"numMixtures", "mixtures", "Mixtures of experts">];
}
