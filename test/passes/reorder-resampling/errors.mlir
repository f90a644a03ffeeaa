// What stays, and the reason that is given.
// RUN: nnopt-opt %s --reorder-resampling --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// The mean counts padding, to which the bias would not be added.
// CHECK-LABEL: func @padding
func.func @padding(%x: tensor<1x8x6x6xf32>, %w: tensor<4x8x1x1xf32>, %b: tensor<4xf32>) -> tensor<1x4x4x4xf32> {
  %0 = nn.conv %x, %w bias %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x8x6x6xf32>, tensor<4x8x1x1xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
  // expected-remark @+1 {{it counts its padding}}
  %1 = nn.avg_pool %0 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, count_include_pad} : (tensor<1x4x6x6xf32>) -> tensor<1x4x4x4xf32>
  return %1 : tensor<1x4x4x4xf32>
}

// -----

// Few results of many channels: the mean would have to read more.
// CHECK-LABEL: func @narrow
func.func @narrow(%x: tensor<1x64x6x6xf32>, %w: tensor<1x64x1x1xf32>) -> tensor<1x1x3x3xf32> {
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x64x6x6xf32>, tensor<1x64x1x1xf32>) -> tensor<1x1x6x6xf32>
  // expected-remark @+1 {{would become}}
  %1 = nn.avg_pool %0 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x1x6x6xf32>) -> tensor<1x1x3x3xf32>
  return %1 : tensor<1x1x3x3xf32>
}

// -----

// The larger image is needed too.
// CHECK-LABEL: func @used
func.func @used(%x: tensor<1x8x6x6xf32>, %w: tensor<4x8x1x1xf32>) -> (tensor<1x4x6x6xf32>, tensor<1x4x3x3xf32>) {
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x8x6x6xf32>, tensor<4x8x1x1xf32>) -> tensor<1x4x6x6xf32>
  // expected-remark @+1 {{the convolution before it has other users}}
  %1 = nn.avg_pool %0 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  return %0, %1 : tensor<1x4x6x6xf32>, tensor<1x4x3x3xf32>
}

// -----

// Interpolated elements are not repeated ones.
// CHECK-LABEL: func @linear
func.func @linear(%x: tensor<1x1x4x4xf32>) -> tensor<1x1x8x8xf32> {
  %s = nn.constant dense<[1.0, 1.0, 2.0, 2.0]> : tensor<4xf32>
  %w = nn.constant dense<1.0> : tensor<1x1x3x3xf32>
  %0 = nn.resize %x, %s {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.resize_mode<linear>, coordinates = #nn.coordinate_mode<half_pixel>, nearest = #nn.nearest_mode<floor>, cubic_coeff_a = -0.75 : f64} : (tensor<1x1x4x4xf32>, tensor<4xf32>) -> tensor<1x1x8x8xf32>
  // expected-remark @+1 {{resizing interpolates}}
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x8x8xf32>, tensor<1x1x3x3xf32>) -> tensor<1x1x8x8xf32>
  return %1 : tensor<1x1x8x8xf32>
}

// -----

// More channels than the larger image has positions more: it would be written with more elements.
// CHECK-LABEL: func @wide
func.func @wide(%x: tensor<1x1x4x4xf32>, %w: tensor<64x1x1x1xf32>) -> tensor<1x64x4x8xf32> {
  %s = nn.constant dense<[1.0, 1.0, 1.0, 2.0]> : tensor<4xf32>
  %0 = nn.resize %x, %s {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.resize_mode<nearest>, coordinates = #nn.coordinate_mode<asymmetric>, nearest = #nn.nearest_mode<floor>, cubic_coeff_a = -0.75 : f64} : (tensor<1x1x4x4xf32>, tensor<4xf32>) -> tensor<1x1x4x8xf32>
  // expected-remark @+1 {{for each position would become}}
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x8xf32>, tensor<64x1x1x1xf32>) -> tensor<1x64x4x8xf32>
  return %1 : tensor<1x64x4x8xf32>
}

// -----

// A function that falls and rises does not commute with a maximum; one that joins a convolution stays.
// CHECK-LABEL: func @falls
func.func @falls(%x: tensor<1x8x6x6xf32>, %w: tensor<4x8x1x1xf32>) -> (tensor<1x4x3x3xf32>, tensor<1x4x3x3xf32>) {
  // CHECK: nn.max_pool
  // CHECK-NEXT: nn.abs
  // CHECK: nn.relu
  // CHECK-NEXT: nn.max_pool
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x8x6x6xf32>, tensor<4x8x1x1xf32>) -> tensor<1x4x6x6xf32>
  %1 = nn.max_pool %0 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  %2 = nn.abs %1 : (tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  %3 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x8x6x6xf32>, tensor<4x8x1x1xf32>) -> tensor<1x4x6x6xf32>
  %4 = nn.relu %3 : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  // expected-remark @+1 {{the function before it joins a convolution}}
  %5 = nn.max_pool %4 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  return %2, %5 : tensor<1x4x3x3xf32>, tensor<1x4x3x3xf32>
}

// -----

// A value for each position of the larger image.
// CHECK-LABEL: func @positions
func.func @positions(%x: tensor<1x8x6x6xf32>, %y: tensor<1x8x12x12xf32>) -> tensor<1x8x12x12xf32> {
  %s = nn.constant dense<[1.0, 1.0, 2.0, 2.0]> : tensor<4xf32>
  %0 = nn.resize %x, %s {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.resize_mode<nearest>, coordinates = #nn.coordinate_mode<asymmetric>, nearest = #nn.nearest_mode<floor>, cubic_coeff_a = -0.75 : f64} : (tensor<1x8x6x6xf32>, tensor<4xf32>) -> tensor<1x8x12x12xf32>
  // expected-remark @+1 {{another operand has a value for each position}}
  %1 = nn.add %0, %y : (tensor<1x8x12x12xf32>, tensor<1x8x12x12xf32>) -> tensor<1x8x12x12xf32>
  return %1 : tensor<1x8x12x12xf32>
}
