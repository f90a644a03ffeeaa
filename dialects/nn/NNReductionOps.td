//===- NNReductionOps.td - reductions, scans, sorting, pooling, normalization -*- tablegen -*-===//
#ifndef NN_REDUCTION_OPS_TD
#define NN_REDUCTION_OPS_TD

include "dialects/nn/NNBase.td"

//===----------------------------------------------------------------------===//
// Reductions, scans, sorting
//===----------------------------------------------------------------------===//

def NN_ReduceOp : NN_TiedOp<"reduce"> {
  let summary = "Reduction over axes: sum, mean, max, min, prod, l1, l2, sum_square, log_sum, log_sum_exp.";
  let description = [{
    `axes` (non-negative, sorted) or, when they are known only at run time, `dynamic_axes`. No axes
    at all means all dimensions; the importer turns noop_with_empty_axes into identity.
  }];
  let arguments = (ins NN_Tensor:$x, Optional<NN_ShapeTensor>:$dynamic_axes, NN_ReduceKindAttr:$kind,
                       OptionalAttr<DenseI64ArrayAttr>:$axes, BoolAttr:$keep_dims);
  let results = (outs NN_Tensor:$result);
}
def NN_ArgReduceOp : NN_TiedOp<"arg_reduce"> {
  let summary = "Position (i64) of the largest (`max` set) or smallest element along `axis`; the last one if `select_last`.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis, BoolAttr:$keep_dims, UnitAttr:$max, UnitAttr:$select_last);
  let results = (outs NN_Tensor:$result);
}
def NN_CumSumOp : NN_TiedOp<"cum_sum"> {
  let summary = "Running sum along the dimension given by the scalar `axis`.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$axis, UnitAttr:$exclusive, UnitAttr:$reverse);
  let results = (outs NN_Tensor:$result);
}
def NN_CumProdOp : NN_TiedOp<"cum_prod"> {
  let summary = "Running product along the dimension given by the scalar `axis`.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$axis, UnitAttr:$exclusive, UnitAttr:$reverse);
  let results = (outs NN_Tensor:$result);
}
def NN_TopKOp : NN_TiedOp<"topk"> {
  let summary = "The k largest (smallest) elements along `axis` and their positions; ties by lower position.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$k, I64Attr:$axis, UnitAttr:$largest, UnitAttr:$sorted);
  let results = (outs NN_Tensor:$values, NN_Tensor:$indices);
}
def NN_SoftmaxOp : NN_TiedOp<"softmax"> {
  let summary = "e^(x - max) / sum along `axis`; its logarithm when `log` is set.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis, UnitAttr:$log);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Pooling and normalization
//===----------------------------------------------------------------------===//

def NN_MaxPoolOp : NN_TiedOp<"max_pool"> {
  let summary = "Maximum over windows, and optionally its flat position as ONNX MaxPool gives it.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads,
                       DenseI64ArrayAttr:$dilations, UnitAttr:$ceil_mode, UnitAttr:$column_major, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result, Optional<NN_Tensor>:$indices);
}
def NN_AvgPoolOp : NN_TiedOp<"avg_pool"> {
  let summary = "Mean over windows; padding counts when `count_include_pad` is set.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads,
                       DenseI64ArrayAttr:$dilations, UnitAttr:$ceil_mode, UnitAttr:$count_include_pad, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
}
def NN_LpPoolOp : NN_TiedOp<"lp_pool"> {
  let summary = "(sum of |x|^p)^(1/p) over windows.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads,
                       DenseI64ArrayAttr:$dilations, I64Attr:$p, UnitAttr:$ceil_mode, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
}
def NN_MaxUnpoolOp : NN_Op<"max_unpool"> {
  let summary = "Zeros but for the elements of x, each at its flat position in the result that `indices` gives.";
  let description = [{ The result has the size that a pooling with this kernel makes x of. }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides,
                       DenseI64ArrayAttr:$pads);
  let results = (outs NN_Tensor:$result);
}
def NN_BatchNormOp : NN_TiedOp<"batch_norm"> {
  let summary = "Inference batch normalization: scale * (x - mean) / sqrt(variance + epsilon) + bias along dimension 1 (the last when channels_last).";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, NN_Tensor:$bias, NN_Tensor:$mean, NN_Tensor:$variance,
                       F64Attr:$epsilon, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
}
def NN_LayerNormOp : NN_TiedOp<"layer_norm"> {
  let summary = "(x - mean) / sqrt(variance + epsilon) * scale + bias over the dimensions from `axis` on.";
  let description = [{ scale and bias broadcast to the dimensions from `axis` on. }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, Optional<NN_Tensor>:$bias, I64Attr:$axis, F64Attr:$epsilon);
  let results = (outs NN_Tensor:$result);
}
def NN_RMSNormOp : NN_NarrowedOp<"rms_norm"> {
  let summary = "x / sqrt(mean(x^2) + epsilon) * scale over the dimensions from `axis` on.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, I64Attr:$axis, F64Attr:$epsilon);
  let results = (outs NN_Tensor:$result);
}
def NN_GroupNormOp : NN_NarrowedOp<"group_norm"> {
  let summary = "Normalization over each of num_groups groups of channels and all positions; scale and bias are [C].";
  let description = [{ num_groups = C is instance normalization. }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$scale, NN_Tensor:$bias, I64Attr:$num_groups, F64Attr:$epsilon, UnitAttr:$channels_last);
  let results = (outs NN_Tensor:$result);
}
def NN_LpNormOp : NN_TiedOp<"lp_norm"> {
  let summary = "x divided by its L1 or L2 norm (p) along `axis`.";
  let description = [{ A norm below `floor` counts as `floor`; where the norm is 0, so is the result. }];
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis, I64Attr:$p, DefaultValuedAttr<F64Attr, "0.0">:$floor);
  let results = (outs NN_Tensor:$result);
}
def NN_LRNOp : NN_TiedOp<"lrn"> {
  let summary = "Local response normalization across channels (dimension 1).";
  let arguments = (ins NN_Tensor:$x, F64Attr:$alpha, F64Attr:$beta, F64Attr:$bias, I64Attr:$size);
  let results = (outs NN_Tensor:$result);
}

#endif // NN_REDUCTION_OPS_TD
