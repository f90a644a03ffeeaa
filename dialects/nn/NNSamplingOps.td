//===- NNSamplingOps.td - sampling of images and signals, random numbers -*- tablegen -*-===//
#ifndef NN_SAMPLING_OPS_TD
#define NN_SAMPLING_OPS_TD

include "dialects/nn/NNBase.td"

//===----------------------------------------------------------------------===//
// Sampling images, signals
//===----------------------------------------------------------------------===//

def NN_GridSampleOp : NN_TiedOp<"grid_sample"> {
  let summary = "x [N, C, spatial...] interpolated at the positions of grid [N, result spatial..., spatial rank].";
  let description = [{
    The last dimension of the grid names spatial dimensions from the last to the first; -1 and 1 are the centers
    of the outermost elements (`align_corners`), else their outer borders.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$grid, NN_ResizeModeAttr:$mode, NN_SamplePaddingAttr:$padding,
                       UnitAttr:$align_corners);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_DeformSampleOp : NN_TiedOp<"deform_sample"> {
  let summary = "What a deformable convolution multiplies with its weights: [N, C * kernel size, result positions].";
  let description = [{
    For each channel, element of the kernel and position of the result, the linear interpolation of x [N, C,
    spatial...] at the position shifted by offset [N, offset_group * kernel size * spatial rank, result spatial...],
    times mask [N, offset_group * kernel size, result spatial...]. Outside of x there are zeros. See
    arXiv:1703.06211 and arXiv:1811.11168.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$offset, Optional<NN_Tensor>:$mask, DenseI64ArrayAttr:$kernel,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations,
                       I64Attr:$offset_group);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_RoiAlignOp : NN_TiedOp<"roi_align"> {
  let summary = "Mean (or maximum) of samples in the bins of regions of x [N, C, H, W]: [regions, C, height, width].";
  let description = [{
    rois is [regions, 4] (x1, y1, x2, y2), multiplied with spatial_scale; region r lies in image batch_indices[r].
    A bin has sampling_ratio^2 samples, or as many as it has elements where that is 0. `half_pixel` shifts
    positions by half an element. The maximum is over the four weighted neighbours of each sample. See
    arXiv:1703.06870.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$rois, NN_Tensor:$batch_indices, I64Attr:$height, I64Attr:$width,
                       I64Attr:$sampling_ratio, F64Attr:$spatial_scale, UnitAttr:$half_pixel, UnitAttr:$max);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_MaxRoiPoolOp : NN_TiedOp<"max_roi_pool"> {
  let summary = "Maximum over the bins of regions of x [N, C, H, W]: [regions, C, height, width]; 0 for empty bins.";
  let description = [{
    rois is [regions, 5] (image, x1, y1, x2, y2); the corners are multiplied with spatial_scale and rounded. See
    arXiv:1504.08083.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$rois, I64Attr:$height, I64Attr:$width, F64Attr:$spatial_scale);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}
def NN_Col2ImOp : NN_TiedOp<"col2im"> {
  let summary = "Blocks x [N, C * block size, blocks] added up at their places in images [N, C, image_shape...].";
  let arguments = (ins NN_Tensor:$x, NN_ShapeTensor:$image_shape, NN_ShapeTensor:$block_shape,
                       DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations);
  let results = (outs NN_Tensor:$result);
}
def NN_DFTOp : NN_Op<"dft"> {
  let summary = "Discrete Fourier transform along `axis` of x [..., 1] (real) or [..., 2] (complex).";
  let description = [{
    dft_length (a scalar) is the length of the transform: x is cut or continued with zeros. With `onesided` the
    forward transform gives only the first dft_length / 2 + 1 elements, and the inverse one takes them and gives
    a real result [..., 1]. `axis` is a scalar. The inverse divides by the length.
  }];
  let arguments = (ins NN_Tensor:$x, Optional<NN_Tensor>:$dft_length, NN_Tensor:$axis, UnitAttr:$inverse,
                       UnitAttr:$onesided);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Random numbers
//===----------------------------------------------------------------------===//

/// The only operation with a side effect: it counts. So it is never folded, merged, moved or dropped.
def NN_RandomKeyOp : Op<NN_Dialect, "random_key", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<NN_ShapeFunction>]> {
  let summary = "A key for nn.random that no other operation has (`stream`) and that is new each time: two i64.";
  let description = [{
    The second number counts how often a session has run the operation: the n-th run of any session
    gives the same numbers. A key that does not change is an nn.constant.
  }];
  let arguments = (ins I64Attr:$stream);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "attr-dict `:` functional-type(operands, results)";
}
def NN_RandomOp : NN_Op<"random"> {
  let summary = "Numbers of a tensor of dimensions `shape`: uniform in [0, 1) or standard normal, a function of `key` alone.";
  let description = [{ Philox 4x32-10; see docs/rationale/random.md. `element` is f32 or f64. }];
  let arguments = (ins NN_Tensor:$key, NN_ShapeTensor:$shape, NN_DistributionAttr:$distribution, TypeAttr:$element);
  let results = (outs NN_Tensor:$result);
  let hasVerifier = 1;
}

#endif // NN_SAMPLING_OPS_TD
