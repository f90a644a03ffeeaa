// What stays channels first.
// RUN: nnopt-opt %s --convert-layout --split-input-file | FileCheck %s

// Without a convolution nothing is converted.
// CHECK-LABEL: func @no_convolution
// CHECK-NOT: nn.transpose
func.func @no_convolution(%x: tensor<1x3x8x8xf32>) -> tensor<1x3x4x4xf32> {
  %0 = nn.max_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
    dilations = array<i64: 1, 1>} : (tensor<1x3x8x8xf32>) -> tensor<1x3x4x4xf32>
  return %0 : tensor<1x3x4x4xf32>
}

// -----

// The positions that max_pool gives count in the model's layout.
// CHECK-LABEL: func @positions
// CHECK: nn.transpose %{{.*}} {perm = array<i64: 0, 3, 1, 2>}
// CHECK: nn.max_pool %{{.*}} {dilations
func.func @positions(%x: tensor<1x3x8x8xf32>) -> (tensor<1x3x4x4xf32>, tensor<1x3x4x4xi64>) {
  %w = nn.constant dense<1.0> : tensor<3x3x1x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<1x3x8x8xf32>, tensor<3x3x1x1xf32>) -> tensor<1x3x8x8xf32>
  %1:2 = nn.max_pool %0 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
    dilations = array<i64: 1, 1>} : (tensor<1x3x8x8xf32>) -> (tensor<1x3x4x4xf32>, tensor<1x3x4x4xi64>)
  return %1#0, %1#1 : tensor<1x3x4x4xf32>, tensor<1x3x4x4xi64>
}

// -----

// Following the convolution would transpose the large operand instead of its small mean.
// CHECK-LABEL: func @small_branch
// CHECK: nn.transpose %{{.*}} {perm = array<i64: 0, 3, 1, 2>} : (tensor<1x1x1x3xf32>)
// CHECK: nn.mul {{.*}} (tensor<1x3x64x64xf32>, tensor<1x3x1x1xf32>)
func.func @small_branch(%x: tensor<1x3x64x64xf32>, %m: tensor<1x3x1x1xf32>) -> tensor<1x3x64x64xf32> {
  %w = nn.constant dense<1.0> : tensor<3x3x1x1xf32>
  %0 = nn.conv %m, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<1x3x1x1xf32>, tensor<3x3x1x1xf32>) -> tensor<1x3x1x1xf32>
  %1 = nn.mul %x, %0 : (tensor<1x3x64x64xf32>, tensor<1x3x1x1xf32>) -> tensor<1x3x64x64xf32>
  return %1 : tensor<1x3x64x64xf32>
}
