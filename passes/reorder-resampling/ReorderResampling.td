def ReorderResampling : Pass<"reorder-resampling", "::mlir::func::FuncOp"> {
  let summary = "Move pointwise work to the side of pooling and resizing that has fewer elements";
  let description = [{
    1. A 1x1 convolution before average pooling (or before the mean over all positions) moves behind it: both are sums,
       `mean(W x + b) = W mean(x) + b` (the transitions of DenseNet: a quarter of the multiply-adds). Padding must not
       count, unless there is no bias.
    2. A 1x1 convolution behind resizing moves before it: the weights of an interpolation add up to 1, `W resize(x) + b
       = resize(W x + b)`.
    3. An elementwise operation with numbers or one value for each channel moves before enlarging by nearest neighbours,
       which copies elements.
    4. Monotone elementwise operations commute with a maximum. Behind maximum pooling one moves before it, where it can
       join the convolution that computes the operand; before it, it moves behind, where no convolution computes its
       operand: there are fewer elements.
    5. A convolution behind enlarging by s with nearest neighbours is a transposed convolution of stride s on the small
       image. With `u[s i + b] = x[i]`, `0 <= b < s`, kernel k and padding p,
       `sum_j w[j] u[o + j - p] = sum_a v[a] x[i]` for `o = s i + a - (k - 1 - p)`, `v[a] = sum of w[j] over j with 0 <= a + j -
       (k - 1) < s`: a kernel of k + s - 1, of which each position sees (k + s - 1) / s instead of k, and the enlarged image
       is never written. Zero padding stays zero padding.
    6. Average or maximum pooling over the whole image is a reduction.

    Conditions: nobody else reads the value between; no epilogue; neither multiply-adds nor bytes grow, by these counts
    for each position. In 4, an elementwise operation on more elements that joins a convolution saves a pass over memory.
    New weights are computed in double and rounded once.

    Each operation moves in one direction only (4: towards a convolution, away from everything else), so it ends.

    Doctest: test/passes/reorder-resampling/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numMoved", "moved", "Operations moved">];
}
