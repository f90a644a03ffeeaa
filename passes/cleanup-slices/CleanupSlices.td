def CleanupSlices : Pass<"cleanup-slices", "::mlir::func::FuncOp"> {
  let summary = "Cancel concatenations, splits, slices and gathers that undo each other";
  let description = [{
    - A gather at one constant position, or at consecutive ones, becomes a slice, which kernels read in place
      (q, k and v of one product; channels of an image).
    - A concatenation of neighbouring parts of one value is the value, or one slice of it.
    - A concatenation of concatenations along the same dimension is one, where nobody else reads the inner one.
    - Slices and splits of a concatenation are its operands, or slices of them.
    - A split of which one part is used is a slice.
    - A concatenation of neighbouring parts of one value, each scaled and shifted by constants (the input transform of
      GoogLeNet: an affine map for each channel of the image), is one map of the value, `concat(s_i x_i + t_i) =
      s * x + t`, which then folds into the convolution behind it.

    Conditions: sizes along the dimension are static; positions of a gather are proven to lie inside. None of this adds
    arithmetic, or moves an element more often. Each rewrite makes (gathers, splits, operands of concatenations, slices)
    fewer in lexicographic order.

    Doctest: test/passes/cleanup-slices/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
}
