def PackTokens : Pass<"pack-tokens", "::mlir::func::FuncOp"> {
  let summary = "Compute what is done for each token only where a mask says that there is one";
  let description = [{
    Sequences of a batch are padded to the longest one, and `mask`, an input [batch, sequence], says which tokens are real.
    What is computed for each token by itself (embeddings, projections, feed-forward layers, normalizations, residual
    sums) is computed for the real ones alone: rows that are not masked are gathered into one tensor [1, tokens, ...],
    and rows are put back, zeros between them, where an operation sees whole sequences: attention, an output.
    (Zhai et al. 2023, "ByteTransformer", pack the tokens of a batch in the same way.)

    Results for real tokens stay the same where the model, as it should, hides masked tokens from the others. **Rows of
    masked tokens become zeros** in outputs that have them, so this is done only on request (`--skip-padding=INPUT`).

    Tokens are inputs of the shape of the mask, or of one that begins with it, what is looked up or computed of them token
    by token, and what is combined with that element by element. An operation is done token by token where each of its
    rows needs the same row of its operands and no other (passes/common/Through.h).

    Only together with a matrix product: elementwise operations alone are not worth the copies.

    It ends: each operation is looked at a finite number of times and packed once.

    Doctest: test/passes/pack-tokens/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let options = [Option<"mask", "mask", "std::string", "", "Name of the input that says which tokens are real: not 0. Empty: nothing is done">];
  let statistics = [Statistic<"numPacked", "packed", "Operations on real tokens alone">];
}
