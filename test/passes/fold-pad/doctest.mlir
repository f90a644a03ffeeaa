// Padding becomes part of the window that reads it.
// RUN: nnopt-opt --fold-pad --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @conv
func.func @conv(%x: tensor<?x2x8x8xf32>, %w: tensor<4x2x3x3xf32>) -> tensor<?x4x8x9xf32> {
  // CHECK-NOT: nn.pad
  // CHECK: nn.conv %arg0, %arg1 {{.*}}pads = array<i64: 1, 2, 1, 1>
  %p = nn.constant dense<[0, 0, 0, 2, 0, 0, 0, 1]> : tensor<8xi64>
  %0 = nn.pad %x, %p {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.pad_mode<constant>} : (tensor<?x2x8x8xf32>, tensor<8xi64>) -> tensor<?x2x8x11xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 0, 1, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<?x2x8x11xf32>, tensor<4x2x3x3xf32>) -> tensor<?x4x8x9xf32>
  return %1 : tensor<?x4x8x9xf32>
}

// -----

// CHECK-LABEL: func.func @average
func.func @average(%x: tensor<1x2x8x8xf32>) -> tensor<1x2x9x9xf32> {
  // CHECK-NOT: nn.pad
  // CHECK: nn.avg_pool %arg0 {count_include_pad, {{.*}}pads = array<i64: 1, 1, 1, 1>
  %p = nn.constant dense<[1, 1, 1, 1]> : tensor<4xi64>
  %axes = nn.constant dense<[-2, -1]> : tensor<2xi64>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %0 = nn.pad %x, %p, %zero, %axes {operandSegmentSizes = array<i32: 1, 1, 1, 1>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<4xi64>, tensor<f32>, tensor<2xi64>) -> tensor<1x2x10x10xf32>
  %1 = nn.avg_pool %0 {kernel = array<i64: 2, 2>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x2x10x10xf32>) -> tensor<1x2x9x9xf32>
  return %1 : tensor<1x2x9x9xf32>
}

// -----

// CHECK-LABEL: func.func @maximum
func.func @maximum(%x: tensor<1x2x8x8xf32>) -> tensor<1x2x9x9xf32> {
  // CHECK-NOT: nn.pad
  // CHECK: nn.max_pool %arg0 {{.*}}pads = array<i64: 1, 1, 1, 1>
  %p = nn.constant dense<[0, 0, 1, 1, 0, 0, 1, 1]> : tensor<8xi64>
  %low = nn.constant dense<0xFF800000> : tensor<f32>
  %0 = nn.pad %x, %p, %low {operandSegmentSizes = array<i32: 1, 1, 1, 0>, mode = #nn.pad_mode<constant>} : (tensor<1x2x8x8xf32>, tensor<8xi64>, tensor<f32>) -> tensor<1x2x10x10xf32>
  %1 = nn.max_pool %0 {kernel = array<i64: 2, 2>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x2x10x10xf32>) -> tensor<1x2x9x9xf32>
  return %1 : tensor<1x2x9x9xf32>
}
