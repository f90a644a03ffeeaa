def EqualizeChannels : Pass<"equalize-channels", "::mlir::func::FuncOp"> {
  let summary = "Give the channels between linear operations weights of equal size";
  let description = [{
    Channel c of a value between two convolutions or matrix products may be divided by any s > 0 where it is made, and
    multiplied where it is read, if all between is positively homogeneous, `f(s x) = s f(x)`:

    `W2 f(W1 x + b) = (W2 s) f((W1 / s) x + b / s)`

    With `s = sqrt(r1 / r2)`, where r1 and r2 are the largest weights of the channel in W1 and W2, both have ranges of
    `sqrt(r1 r2)` (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section
    4.1): a quantization that has one scale for all channels then loses little. s is rounded to a power of two, so that
    floats lose nothing: results stay the same, bit for bit, but for overflow and underflow. Channels are left alone where
    none is `threshold` times further from equal than another.

    A value may have several readers, through relu, leaky and parametric relu, products with other values (the gate of a
    squeeze-and-excitation block), pooling, means, and movement of elements. Pairs are visited until nothing changes, at
    most ten times.

    It runs ahead of the techniques that change a model (`--quantize`, `--budget`, `--recipe`).

    Conditions: 32-bit floats, constant weights, no epilogue yet.

    Doctest: test/passes/equalize-channels/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let options = [
    Option<"threshold", "threshold", "double", "4", "Least ratio of the largest to the least s for which something is done">
  ];
  let statistics = [Statistic<"numEqualized", "equalized", "Operations whose out channels were scaled">];
}
