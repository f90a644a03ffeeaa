def RaisePatterns : Pass<"raise-patterns", "::mlir::func::FuncOp"> {
  let summary = "Recognize activations, normalizations, attention, rotary embeddings and pixel shuffles that are written out";
  let description = [{
    Exporters spell one function as several operations. Recognized, in any order of factors and
    summands and with division or multiplication by the inverse:
    - `silu`, also with a factor inside (x sigmoid(1.702 x) stands for GELU), `hard_sigmoid` and `hard_swish` (by clip of x + 3 to 0..6), `mish`;
    - `gelu` by erf, and its tanh approximation;
    - `softmax` as exponentials over their sum;
    - `layer_norm` and `rms_norm` over trailing dimensions, with scale and shift by vectors behind
      them.
    - L2 normalization: over the largest of the norm and a number as `lp_norm` (of one dimension; L1 too), over
      sqrt(sum of x^2 + epsilon) as `rms_norm`: with n elements sqrt(n) sqrt(mean of x^2 + epsilon / n);
    - `softplus` as log(1 + e^x);
    - instance normalization as a normalization over all positions with a scale or shift of each channel behind
      it, or over positions of unknown number; `group_norm` as one between reshapes to one channel a group,
      with scale and shift of each channel behind it;
    - `rotary` as x cos + rotated(x) sin or part by part, with halves or neighbours as pairs;
    - `lstm` and `gru` (both places of the reset gate) as gates that are sums of products with constant weights,
      parts of one product or each with its own, of state and input or of both concatenated; cells that follow
      each other on steps of one sequence, in either direction, as one operation; so are loops (Scan too) over
      one. The first state may be zeros whose product became a constant;
    - `depth_to_space` (both orders of channels) as a transpose between reshapes;
    - `attention` as `softmax(scale * q k^T + mask) v`: the scale on q, k, both or the scores, by mul or div
      and through transposes; a soft cap; masks that are added, or chosen by `where`; key heads repeated by
      expand and reshape (grouped queries); `where(is_nan(p), 0, p)` behind the softmax. A constant mask, or
      a slice of one, that is 0 up to a diagonal and -infinity (or the lowest f32) behind it is `causal`.

    Attention keeps its form where scores or probabilities have other users, where the head size is not
    static, or where the operands of a product broadcast other than one key head to all query heads.

    Each is the same function of real numbers; the constants must agree to 1e-6.

    Doctest: test/passes/raise-patterns/doctest.mlir
  }];
  let statistics = [Statistic<"numAttentions", "attentions", "Attentions recognized">];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
}
