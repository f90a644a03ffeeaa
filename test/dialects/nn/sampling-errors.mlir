// What verifiers and shape functions of sampling operations refuse.
// RUN: nnopt-opt %s --infer-shapes --split-input-file --verify-diagnostics

func.func @bit_cast_width(%x: tensor<4xf32>) -> tensor<4xi64> {
  // expected-error @+1 {{cannot see 'f32' as 'i64': the widths are different}}
  %0 = nn.bit_cast %x {to = i64} : (tensor<4xf32>) -> tensor<4xi64>
  return %0 : tensor<4xi64>
}

// -----

func.func @grid_rank(%x: tensor<1x2x4x4xf32>, %g: tensor<1x3x3x3xf32>) -> tensor<1x2x3x3xf32> {
  // expected-error @+1 {{the last dimension of grid and the number of spatial dimensions do not agree: 3 and 2}}
  %0 = nn.grid_sample %x, %g {mode = #nn.resize_mode<linear>, padding = #nn.sample_padding<zeros>} : (tensor<1x2x4x4xf32>, tensor<1x3x3x3xf32>) -> tensor<1x2x3x3xf32>
  return %0 : tensor<1x2x3x3xf32>
}

// -----

func.func @grid_type(%x: tensor<1x2x4x4xf32>, %g: tensor<1x3x3x2xi32>) -> tensor<1x2x3x3xf32> {
  // expected-error @+1 {{grid must hold floats, got 'i32'}}
  %0 = nn.grid_sample %x, %g {mode = #nn.resize_mode<linear>, padding = #nn.sample_padding<zeros>} : (tensor<1x2x4x4xf32>, tensor<1x3x3x2xi32>) -> tensor<1x2x3x3xf32>
  return %0 : tensor<1x2x3x3xf32>
}

// -----

func.func @deform_positions(%x: tensor<1x4x8x8xf32>, %o: tensor<1x18x8x8xf32>) -> tensor<1x36x64xf32> {
  // expected-error @+1 {{positions of the convolution and of offset do not agree: 6 and 8}}
  %0 = nn.deform_sample %x, %o {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, offset_group = 1 : i64} : (tensor<1x4x8x8xf32>, tensor<1x18x8x8xf32>) -> tensor<1x36x64xf32>
  return %0 : tensor<1x36x64xf32>
}

// -----

func.func @deform_strides(%x: tensor<1x4x8x8xf32>, %o: tensor<1x18x6x6xf32>) -> tensor<1x36x36xf32> {
  // expected-error @+1 {{strides must be at least 1, got 0}}
  %0 = nn.deform_sample %x, %o {kernel = array<i64: 3, 3>, strides = array<i64: 0, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, offset_group = 1 : i64} : (tensor<1x4x8x8xf32>, tensor<1x18x6x6xf32>) -> tensor<1x36x36xf32>
  return %0 : tensor<1x36x36xf32>
}

// -----

func.func @rois(%x: tensor<1x4x8x8xf32>, %r: tensor<3x5xf32>, %b: tensor<3xi64>) -> tensor<3x4x2x2xf32> {
  // expected-error @+1 {{columns of rois and those needed do not agree: 5 and 4}}
  %0 = nn.roi_align %x, %r, %b {height = 2 : i64, width = 2 : i64, sampling_ratio = 2 : i64, spatial_scale = 1.0 : f64} : (tensor<1x4x8x8xf32>, tensor<3x5xf32>, tensor<3xi64>) -> tensor<3x4x2x2xf32>
  return %0 : tensor<3x4x2x2xf32>
}

// -----

func.func @roi_bins(%x: tensor<1x4x8x8xf32>, %r: tensor<3x5xf32>) -> tensor<3x4x2x2xf32> {
  // expected-error @+1 {{height and width must be at least 1}}
  %0 = nn.max_roi_pool %x, %r {height = 0 : i64, width = 2 : i64, spatial_scale = 1.0 : f64} : (tensor<1x4x8x8xf32>, tensor<3x5xf32>) -> tensor<3x4x2x2xf32>
  return %0 : tensor<3x4x2x2xf32>
}

// -----

func.func @col2im_blocks(%x: tensor<1x12x9xf32>) -> tensor<1x2x6x8xf32> {
  %image = nn.constant dense<[6, 8]> : tensor<2xi64>
  %block = nn.constant dense<[2, 3]> : tensor<2xi64>
  // expected-error @+1 {{numbers of blocks do not agree: 9 and 30}}
  %0 = nn.col2im %x, %image, %block {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x12x9xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<1x2x6x8xf32>
  return %0 : tensor<1x2x6x8xf32>
}

// -----

func.func @dft_parts(%x: tensor<1x12x3xf32>) -> tensor<1x12x2xf32> {
  %axis = nn.constant dense<1> : tensor<i64>
  // expected-error @+1 {{the last dimension of [1, 12, 3] must be 1 (real) or 2 (complex)}}
  %0 = nn.dft %x, %axis : (tensor<1x12x3xf32>, tensor<i64>) -> tensor<1x12x2xf32>
  return %0 : tensor<1x12x2xf32>
}

// -----

func.func @tensor_scatter_batch(%x: tensor<2x6x3xf32>, %u: tensor<3x2x3xf32>) -> tensor<2x6x3xf32> {
  // expected-error @+1 {{dimensions of x and update do not agree: 2 and 3}}
  %0 = nn.tensor_scatter %x, %u {axis = 1 : i64} : (tensor<2x6x3xf32>, tensor<3x2x3xf32>) -> tensor<2x6x3xf32>
  return %0 : tensor<2x6x3xf32>
}

// -----

func.func @reverse_axes(%x: tensor<2x6x3xf32>, %l: tensor<2xi64>) -> tensor<2x6x3xf32> {
  // expected-error @+1 {{batch_axis and time_axis are the same}}
  %0 = nn.reverse_sequence %x, %l {batch_axis = 0 : i64, time_axis = 0 : i64} : (tensor<2x6x3xf32>, tensor<2xi64>) -> tensor<2x6x3xf32>
  return %0 : tensor<2x6x3xf32>
}

// -----

func.func @resize_roi(%x: tensor<1x1x4x4xf32>, %s: tensor<4xi64>) -> tensor<?x?x?x?xf32> {
  // expected-error @+1 {{needs roi for tf_crop_and_resize}}
  %0 = nn.resize %x, %s {mode = #nn.resize_mode<linear>, coordinates = #nn.coordinate_mode<tf_crop_and_resize>, nearest = #nn.nearest_mode<floor>, cubic_coeff_a = -0.75 : f64, operandSegmentSizes = array<i32: 1, 0, 1, 0>} : (tensor<1x1x4x4xf32>, tensor<4xi64>) -> tensor<?x?x?x?xf32>
  return %0 : tensor<?x?x?x?xf32>
}
