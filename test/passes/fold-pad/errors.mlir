// What does not fold, and the reason that is given.
// RUN: nnopt-opt %s --fold-pad --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// Padding that repeats the image.
// CHECK-LABEL: func @reflect
// CHECK: nn.pad
func.func @reflect(%x: tensor<1x2x8x8xf32>, %w: tensor<4x2x3x3xf32>) -> tensor<1x4x8x8xf32> {
  %p = nn.constant dense<[0, 0, 1, 1, 0, 0, 1, 1]> : tensor<8xi64>
  // expected-remark @+1 {{its mode is not constant}}
  %0 = nn.pad %x, %p {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.pad_mode<reflect>} : (tensor<1x2x8x8xf32>, tensor<8xi64>) -> tensor<1x2x10x10xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x2x10x10xf32>, tensor<4x2x3x3xf32>) -> tensor<1x4x8x8xf32>
  return %1 : tensor<1x4x8x8xf32>
}

// -----

// Padding with ones.
// CHECK-LABEL: func @ones
// CHECK: nn.pad
func.func @ones(%x: tensor<1x2x8x8xf32>, %w: tensor<4x2x3x3xf32>) -> tensor<1x4x8x8xf32> {
  %p = nn.constant dense<[0, 0, 1, 1, 0, 0, 1, 1]> : tensor<8xi64>
  %one = nn.constant dense<1.0> : tensor<f32>
  // expected-remark @+1 {{it does not pad with the value that the window ignores}}
  %0 = nn.pad %x, %p, %one {operandSegmentSizes = array<i32: 1, 1, 1, 0>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<8xi64>, tensor<f32>) -> tensor<1x2x10x10xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x2x10x10xf32>, tensor<4x2x3x3xf32>) -> tensor<1x4x8x8xf32>
  return %1 : tensor<1x4x8x8xf32>
}

// -----

// It removes a row.
// CHECK-LABEL: func @cropped
// CHECK: nn.pad
func.func @cropped(%x: tensor<1x2x8x8xf32>, %w: tensor<4x2x3x3xf32>) -> tensor<1x4x6x8xf32> {
  %p = nn.constant dense<[0, 0, -1, 1, 0, 0, 1, 1]> : tensor<8xi64>
  // expected-remark @+1 {{it removes elements}}
  %0 = nn.pad %x, %p {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<8xi64>) -> tensor<1x2x8x10xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x2x8x10xf32>, tensor<4x2x3x3xf32>) -> tensor<1x4x6x8xf32>
  return %1 : tensor<1x4x6x8xf32>
}

// -----

// It adds a channel.
// CHECK-LABEL: func @channels
// CHECK: nn.pad
func.func @channels(%x: tensor<1x2x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<1x4x8x8xf32> {
  %p = nn.constant dense<[0, 1, 1, 1, 0, 0, 1, 1]> : tensor<8xi64>
  // expected-remark @+1 {{it pads batch or channels}}
  %0 = nn.pad %x, %p {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<8xi64>) -> tensor<1x3x10x10xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x3x10x10xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x8x8xf32>
  return %1 : tensor<1x4x8x8xf32>
}

// -----

// Whole windows would lie in padding.
// CHECK-LABEL: func @wide
// CHECK: nn.pad
func.func @wide(%x: tensor<1x2x8x8xf32>, %w: tensor<4x2x3x3xf32>) -> tensor<1x4x12x12xf32> {
  %p = nn.constant dense<[0, 0, 3, 3, 0, 0, 3, 3]> : tensor<8xi64>
  // expected-remark @+1 {{windows would lie in padding alone}}
  %0 = nn.pad %x, %p {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<8xi64>) -> tensor<1x2x14x14xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x2x14x14xf32>, tensor<4x2x3x3xf32>) -> tensor<1x4x12x12xf32>
  return %1 : tensor<1x4x12x12xf32>
}

// -----

// The padded image is an output as well.
// CHECK-LABEL: func @output
// CHECK: nn.pad
func.func @output(%x: tensor<1x2x8x8xf32>, %w: tensor<4x2x3x3xf32>) -> (tensor<1x4x8x8xf32>, tensor<1x2x10x10xf32>) {
  %p = nn.constant dense<[0, 0, 1, 1, 0, 0, 1, 1]> : tensor<8xi64>
  // expected-remark @+1 {{it has other users}}
  %0 = nn.pad %x, %p {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<8xi64>) -> tensor<1x2x10x10xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x2x10x10xf32>, tensor<4x2x3x3xf32>) -> tensor<1x4x8x8xf32>
  return %1, %0 : tensor<1x4x8x8xf32>, tensor<1x2x10x10xf32>
}

// -----

// Something else reads it.
// CHECK-LABEL: func @relu
// CHECK: nn.pad
func.func @relu(%x: tensor<1x2x8x8xf32>) -> tensor<1x2x10x10xf32> {
  %p = nn.constant dense<[0, 0, 1, 1, 0, 0, 1, 1]> : tensor<8xi64>
  // expected-remark @+1 {{what uses it is no convolution or pooling}}
  %0 = nn.pad %x, %p {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<8xi64>) -> tensor<1x2x10x10xf32>
  %1 = nn.relu %0 : (tensor<1x2x10x10xf32>) -> tensor<1x2x10x10xf32>
  return %1 : tensor<1x2x10x10xf32>
}

// -----

// Own padding does not count, this one does.
// CHECK-LABEL: func @average_of_both
// CHECK: nn.pad
func.func @average_of_both(%x: tensor<1x2x8x8xf32>) -> tensor<1x2x10x10xf32> {
  %p = nn.constant dense<[0, 0, 1, 1, 0, 0, 1, 1]> : tensor<8xi64>
  // expected-remark @+1 {{the average would count its own padding and this one alike}}
  %0 = nn.pad %x, %p {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<8xi64>) -> tensor<1x2x10x10xf32>
  %1 = nn.avg_pool %0 {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x2x10x10xf32>) -> tensor<1x2x10x10xf32>
  return %1 : tensor<1x2x10x10xf32>
}

// -----

// Zeros take part in a maximum.
// CHECK-LABEL: func @maximum_of_zeros
// CHECK: nn.pad
func.func @maximum_of_zeros(%x: tensor<1x2x8x8xf32>) -> tensor<1x2x10x10xf32> {
  %p = nn.constant dense<[0, 0, 1, 1, 0, 0, 1, 1]> : tensor<8xi64>
  // expected-remark @+1 {{it does not pad with the value that the window ignores}}
  %0 = nn.pad %x, %p {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<8xi64>) -> tensor<1x2x10x10xf32>
  %1 = nn.max_pool %0 {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x2x10x10xf32>) -> tensor<1x2x10x10xf32>
  return %1 : tensor<1x2x10x10xf32>
}
