//===- NNDataMovementOps.td - constants, shapes, data movement -*- tablegen -*-===//
#ifndef NN_DATA_MOVEMENT_OPS_TD
#define NN_DATA_MOVEMENT_OPS_TD

include "dialects/nn/NNBase.td"

//===----------------------------------------------------------------------===//
// Constants and shapes
//===----------------------------------------------------------------------===//

def NN_ConstantOp : NN_Op<"constant", [ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "A constant tensor.";
  let description = [{
    Small tensors are `dense`, larger ones `dense_resource` blobs over the mapped model file (bool:
    one byte each; little endian). `nn::ConstantData` (Constants.h) reads both alike.
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
  let builders = [OpBuilder<(ins "::mlir::ElementsAttr":$value), [{
    build($_builder, $_state, ::llvm::cast<::mlir::RankedTensorType>(value.getType()), value);
  }]>];
}
def NN_ShapeOp : NN_TiedOp<"shape"> {
  let summary = "The dimensions start..end of x as an i64 tensor.";
  let arguments = (ins NN_Tensor:$x, DefaultValuedAttr<I64Attr, "0">:$start, OptionalAttr<I64Attr>:$end);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_SizeOp : NN_Op<"size"> {
  let summary = "The number of elements of x as an i64 scalar.";
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}

/// Operations whose result is the operand under another shape: never a copy after planning.
def NN_ReshapeOp : NN_NarrowedOp<"reshape"> {
  let summary = "x with dimensions from `shape`: -1 is inferred, 0 copies the dimension of x unless allow_zero is set.";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$shape, UnitAttr:$allow_zero);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_FlattenOp : NN_TiedOp<"flatten"> {
  let summary = "x as a matrix: dimensions before `axis` (0 <= axis <= rank) by the rest.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_BitCastOp : NN_TiedOp<"bit_cast"> {
  let summary = "The bits of x as elements of type `to`, which has the same width and is not bool unless x is.";
  let arguments = (ins NN_Tensor:$x, TypeAttr:$to);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_SqueezeOp : NN_TiedOp<"squeeze"> {
  let summary = "x without the dimensions `axes` (non-negative, of x), which are 1.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$axes);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
  let hasVerifier = 1;
}
def NN_UnsqueezeOp : NN_TiedOp<"unsqueeze"> {
  let summary = "x with dimensions of 1 at `axes` (non-negative, of the result).";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$axes);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

def NN_TransposeOp : NN_TiedOp<"transpose"> {
  let summary = "Permuted dimensions: result dimension i is dimension perm[i] of x.";
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$perm);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
  let hasVerifier = 1;
}
def NN_ExpandOp : NN_NarrowedOp<"expand"> {
  let summary = "x broadcast with `shape` (both ways, as in numpy).";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$shape);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_ConcatOp : NN_TiedOp<"concat"> {
  let summary = "The inputs one after another along `axis` (non-negative).";
  let arguments = (ins Variadic<NN_Tensor>:$inputs, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_SplitOp : NN_NarrowedOp<"split"> {
  let summary = "Consecutive parts along `axis`; equal parts (the last may be shorter) without `sizes`.";
  let arguments = (ins NN_Tensor:$x, Optional<NN_ShapeTensor>:$sizes, I64Attr:$axis);
  let results = (outs Variadic<NN_Tensor>:$results);
}
def NN_SliceOp : NN_NarrowedOp<"slice", [AttrSizedOperandSegments]> {
  let summary = "Part of x by starts, ends, axes and steps as in ONNX Slice.";
  let description = [{
    Negative positions count from the end, positions out of range are clamped, steps may be
    negative. Without `axes` the i-th entry belongs to dimension i, without `steps` all are 1.
  }];
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$starts, NN_ShapeTensor:$ends,
                       Optional<NN_ShapeTensor>:$axes, Optional<NN_ShapeTensor>:$steps);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = [{
    $x `[` $starts `:` $ends (`axes` $axes^)? (`steps` $steps^)? `]` attr-dict `:`
    functional-type(operands, results)
  }];
}
def NN_PadOp : NN_TiedOp<"pad", [AttrSizedOperandSegments]> {
  let summary = "x with pads[i] elements before and pads[n + i] after axis i (negative: removed).";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$pads, Optional<NN_Tensor>:$value,
                       Optional<NN_ShapeTensor>:$axes, NN_PadModeAttr:$mode);
  let results = (outs NN_Tensor:$result);
}
def NN_TileOp : NN_TiedOp<"tile"> {
  let summary = "x repeated repeats[i] times along dimension i.";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$repeats);
  let results = (outs NN_Tensor:$result);
}
def NN_GatherOp : NN_NarrowedOp<"gather"> {
  let summary = "Slices of x along `axis` at `indices` (negative indices count from the end).";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_GatherElementsOp : NN_Op<"gather_elements"> {
  let summary = "result[i][j].. = x[..indices[i][j]..] along `axis`.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_GatherNDOp : NN_Op<"gather_nd"> {
  let summary = "Slices of x at index tuples (last dimension of indices), after batch_dims common dimensions.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, DefaultValuedAttr<I64Attr, "0">:$batch_dims);
  let results = (outs NN_Tensor:$result);
}
def NN_ScatterElementsOp : NN_Op<"scatter_elements"> {
  let summary = "Copy of x where elements at `indices` along `axis` are set to (or combined with) updates.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, NN_Tensor:$updates, I64Attr:$axis,
                       NN_ScatterReductionAttr:$reduction);
  let results = (outs NN_Tensor:$result);
}
def NN_TensorScatterOp : NN_TiedOp<"tensor_scatter"> {
  let summary = "Copy of x where the slices from write_indices[batch] on along `axis` are those of `update` (KV cache update).";
  let description = [{
    x and update agree in all dimensions but `axis`, which is not 0 (the batch). Without write_indices
    ([batch]) writing begins at 0. With `circular` set positions wrap around; else what would lie outside
    of x is dropped.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$update, Optional<NN_Tensor>:$write_indices, I64Attr:$axis,
                       UnitAttr:$circular);
  let results = (outs NN_Tensor:$result);
}
def NN_ReverseSequenceOp : NN_TiedOp<"reverse_sequence"> {
  let summary = "The first lengths[b] slices along time_axis of each batch element b in reverse order, the rest unchanged.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$lengths, I64Attr:$batch_axis, I64Attr:$time_axis);
  let results = (outs NN_Tensor:$result);
}
def NN_ScatterNDOp : NN_Op<"scatter_nd"> {
  let summary = "Copy of x where slices at index tuples are set to (or combined with) updates.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$indices, NN_Tensor:$updates, NN_ScatterReductionAttr:$reduction);
  let results = (outs NN_Tensor:$result);
}
def NN_OneHotOp : NN_Op<"one_hot"> {
  let summary = "values[1] at the indexed position of a new dimension `axis` of size depth, values[0] elsewhere.";
  let arguments = (ins NN_Tensor:$indices, NN_Tensor:$depth, NN_Tensor:$values, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
}
def NN_RangeOp : NN_Op<"range"> {
  let summary = "start, start + delta, ... below limit (above it for a negative delta). Scalars.";
  let arguments = (ins NN_Tensor:$start, NN_Tensor:$limit, NN_Tensor:$delta);
  let results = (outs NN_Tensor:$result);
}
def NN_ConstantOfShapeOp : NN_Op<"constant_of_shape"> {
  let summary = "A tensor of dimensions `shape` filled with `value` (a one-element attribute).";
  let arguments = (ins NN_ShapeTensor:$shape, ElementsAttr:$value);
  let results = (outs NN_Tensor:$result);
  let hasFolder = 1;
}
def NN_NonZeroOp : NN_Op<"non_zero"> {
  let summary = "Indices of the non-zero elements, [rank, count]; the count depends on the data.";
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_Tensor:$result);
}
def NN_UniqueOp : NN_Op<"unique"> {
  let summary = "Unique slices of x along `axis` (elements of x without one): y, first positions, inverse, counts.";
  let description = [{
    In ascending (lexicographic) order when `sorted` is set, in order of first occurrence otherwise.
    NaN is the largest element and equal to itself. `inverse` has the position in y of every slice.
    How many there are depends on the data.
  }];
  let arguments = (ins NN_Tensor:$x, OptionalAttr<I64Attr>:$axis, UnitAttr:$sorted);
  let results = (outs NN_Tensor:$y, NN_Tensor:$indices, NN_Tensor:$inverse, NN_Tensor:$counts);
}
def NN_NonMaxSuppressionOp : NN_Op<"non_max_suppression", [AttrSizedOperandSegments]> {
  let summary = "Boxes that overlap no better box of their class: (batch, class, box) in rows of i64.";
  let description = [{
    boxes [batch, boxes, 4] are two opposite corners (y, x, y, x), or center and size (x, y, width, height)
    when `center_point_box` is set; scores are [batch, classes, boxes]. For each class the boxes with a
    score above `score_threshold` are visited in order of score (ties by position); a box is selected
    unless its intersection over union with one selected before is above `iou_threshold` (0 when absent),
    up to `max_boxes` (none when absent). How many there are depends on the data.
  }];
  let arguments = (ins NN_Tensor:$boxes, NN_Tensor:$scores, Optional<NN_Tensor>:$max_boxes,
                       Optional<NN_Tensor>:$iou_threshold, Optional<NN_Tensor>:$score_threshold,
                       UnitAttr:$center_point_box);
  let results = (outs NN_Tensor:$result);
}
def NN_TriluOp : NN_TiedOp<"trilu"> {
  let summary = "The upper (lower) triangle of the last two dimensions above (below) diagonal k, zero elsewhere.";
  let arguments = (ins NN_Tensor:$x, Optional<NN_Tensor>:$k, UnitAttr:$upper);
  let results = (outs NN_Tensor:$result);
}
def NN_ResizeOp : NN_NarrowedOp<"resize", [AttrSizedOperandSegments]> {
  let summary = "Interpolation by the rules of ONNX Resize.";
  let description = [{
    `scales`, `sizes` and `roi` (starts, then ends) have one entry (two) per dimension of x; the importer expands
    `axes`. Sizes are those of the result; without them it has floor(size * scale) elements. Scales relate
    coordinates; without them they are size of the result / size of x. roi is for `tf_crop_and_resize`. With
    `antialias` set, linear and cubic filters are stretched where a dimension shrinks.
  }];
  let arguments = (ins NN_Tensor:$x, Optional<NN_Tensor>:$scales, Optional<NN_ShapeTensor>:$sizes,
                       Optional<NN_Tensor>:$roi, NN_ResizeModeAttr:$mode, NN_CoordinateModeAttr:$coordinates,
                       NN_NearestModeAttr:$nearest, F64Attr:$cubic_coeff_a, UnitAttr:$exclude_outside,
                       DefaultValuedAttr<F64Attr, "0.0">:$extrapolation_value, UnitAttr:$antialias);
  let results = (outs NN_Tensor:$result);
}
def NN_DepthToSpaceOp : NN_TiedOp<"depth_to_space"> {
  let summary = "Channels moved into blocksize x blocksize squares; `crd` selects the column-row-depth order.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$blocksize, UnitAttr:$crd);
  let results = (outs NN_Tensor:$result);
}
def NN_SpaceToDepthOp : NN_TiedOp<"space_to_depth"> {
  let summary = "Squares of blocksize x blocksize moved into channels; `crd` selects the column-row-depth order.";
  let arguments = (ins NN_Tensor:$x, I64Attr:$blocksize, UnitAttr:$crd);
  let results = (outs NN_Tensor:$result);
}

#endif // NN_DATA_MOVEMENT_OPS_TD
