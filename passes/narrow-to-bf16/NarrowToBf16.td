def NarrowToBf16 : Pass<"narrow-to-bf16", "::mlir::func::FuncOp"> {
  let summary = "Compute convolutions and matrix products with bf16 operands";
  let description = [{
    `--precision=bf16`: the activation and the constant weights of a convolution or matrix product are rounded to bf16,
    which has the exponents of f32 and 8 bits of precision; products are added in f32, and bias, epilogue and result stay
    f32. Twice the products per instruction and half the bytes of weights. `fuse-epilogue` then rounds an activation
    where it is computed. Attention and LSTM, GRU and RNN with constant weights get `bf16_products`: their kernels
    round what they multiply, and keep scores, softmax, cells, states and sums in f32. So do products whose weights are
    stored in fewer bits, and stay so: kernels of GPUs round what they multiply.

    Not exact: each product has a relative error of up to 2^-8, and errors of a sum average out. Other pipelines than that
    of `--precision=bf16` take `marked-only`: operations with `bf16_products`, which compression chose.

    Conditions: f32 throughout, constant weights, no epilogue yet; not depthwise convolutions and those of few channels,
    whose kernels are no products of matrices, not 3x3 convolutions that Winograd's algorithms compute faster in f32
    (unless `winograd=false`, as with `--gpu`, `--exact-conv` and AMX), and not a product with one column.

    Doctest: test/passes/narrow-to-bf16/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let options = [
    Option<"markedOnly", "marked-only", "bool", "false", "Only operations that have bf16_products">,
    Option<"winograd", "winograd", "bool", "true", "Leave 3x3 convolutions to Winograd's algorithms">
  ];
  let statistics = [Statistic<"numNarrowed", "narrowed", "Operations with bf16 operands">];
}
