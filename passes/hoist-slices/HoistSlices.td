def HoistSlices : Pass<"hoist-slices", "::mlir::func::FuncOp"> {
  let summary = "Take part of a value before it is computed where the rest is not used";
  let description = [{
    A slice, or a gather at constant positions, of a computed value moves before the computation, where no other
    user needs the rest: the logits of the last token, the class token behind the last layers of an encoder (its
    feed-forward network, its residual sums and the queries of its attention are then computed for one token), some
    columns of a product. `(A B)[i, j] = A[i, :] B[:, j]`; rows of softmax, of normalizations and of attention are
    computed independently of each other.

    It moves through elementwise operations, matrix products (rows, columns, batch), convolutions (batch, output
    channels), normalizations, softmax, rotary embeddings, reductions, pooling, gathers, concatenations and
    attention, along dimensions that these keep apart, and through transposes and reshapes that keep the dimension.
    Causal attention sees other positions when queries are cut off: only the last queries may be taken, and only
    where their number of keys follows from the end.

    Conditions: all uses of the value pick the same positions; the part is at most half of the dimension (one position
    where its size is not known), so that neither multiply-adds nor bytes grow; columns of weights that are used
    elsewhere too are not copied; no epilogue.

    It ends: each move makes an operation smaller and brings a slice nearer to the arguments of the function.

    Doctest: test/passes/hoist-slices/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numHoisted", "hoisted", "Operations made smaller">];
}
