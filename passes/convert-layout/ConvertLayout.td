def ConvertLayout : Pass<"convert-layout", "::mlir::func::FuncOp"> {
  let summary = "Put channels last where convolutions want them, with the fewest bytes transposed";
  let description = [{
    Kernels of convolutions vectorize over channels, so every `nn.conv` and `nn.conv_transpose` of
    rank 3 to 5 gets `channels_last`. Operations around them work in either layout: elementwise
    operations and `nn.map`, pooling, batch and group normalization, concat, split, slice, pad,
    resize, softmax, reductions, reshapes that keep the first two dimensions. For these the layout
    is chosen so that transposes move the fewest elements in total: a minimum cut of the graph whose
    edges are values, weighted by their size (dynamic dimensions count as 16). A transpose of the
    model between the two layouts is such an edge too, so it disappears where its operand is already
    laid out that way. A value whose channel count is 1, or whose spatial dimensions are all 1,
    costs nothing: its transpose is a view. Ties go to channels last, which keeps activations next
    to their convolution; pooling and normalization pay as much as one transpose for staying
    channels first, because their kernels vectorize over channels too.

    Operations that stay in the model's layout (they have no channels-last form): depth_to_space,
    lrn, max_pool whose positions are used, matrix products and everything else.

    Doctest: test/passes/convert-layout/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [
    Statistic<"numConverted", "converted", "Contractions that got channels last">,
    Statistic<"numFollowed", "followed", "Other operations that got channels last">,
    Statistic<"numTransposes", "transposes", "Transposes inserted that move data">
  ];
}
