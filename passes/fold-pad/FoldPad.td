def FoldPad : Pass<"fold-pad", "::mlir::func::FuncOp"> {
  let summary = "Make padding before a convolution or pooling part of it";
  let description = [{
    A `pad` with zeros of spatial dimensions becomes the pads of the convolution that is its only use, or of an
    average pooling, which then counts padding; one with -infinity (or the lowest f32) those of a maximum
    pooling. Where the pooling pads itself already, an average would count both kinds alike: refused.

    Conditions: constant pads, none negative and none of batch or channels; the pads that result are smaller
    than the (dilated) window, so that no window lies in padding alone.

    Doctest: test/passes/fold-pad/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numFolded", "folded", "Pads folded">];
}
