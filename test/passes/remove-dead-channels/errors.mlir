// What stays, and the reason that is given.
// RUN: nnopt-opt %s --remove-dead-channels --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// The channel of zeros is in the output, too.
// CHECK-LABEL: func @output
func.func @output(%x: tensor<3x1xf32>) -> (tensor<3x1xf32>, tensor<3x2xf32>) {
  // CHECK: nn.matmul {{.*}} -> tensor<3x2xf32>
  %w = nn.constant dense<[[1.0, 0.0]]> : tensor<1x2xf32>
  %v = nn.constant dense<1.0> : tensor<2x1xf32>
  %0 = nn.matmul %x, %w : (tensor<3x1xf32>, tensor<1x2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %v : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %1, %0 : tensor<3x1xf32>, tensor<3x2xf32>
}

// -----

// An operation that does not say how its axes depend on each other is a barrier.
// CHECK-LABEL: func @barrier
func.func @barrier(%x: tensor<2x1xf32>) -> tensor<2x1xf32> {
  // CHECK: nn.matmul {{.*}} -> tensor<2x2xf32>
  %w = nn.constant dense<[[1.0, 0.0]]> : tensor<1x2xf32>
  %v = nn.constant dense<1.0> : tensor<2x1xf32>
  %0 = nn.matmul %x, %w : (tensor<2x1xf32>, tensor<1x2xf32>) -> tensor<2x2xf32>
  // expected-remark @+1 {{nn.inverse: it does not say how its axes depend on each other}}
  %1 = nn.inverse %0 : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %2 = nn.matmul %1, %v : (tensor<2x2xf32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  return %2 : tensor<2x1xf32>
}

// -----

// The mean of layer normalization counts zeros.
// CHECK-LABEL: func @layer_norm
func.func @layer_norm(%x: tensor<3x1xf32>) -> tensor<3x1xf32> {
  // CHECK: nn.layer_norm {{.*}} -> tensor<3x2xf32>
  %w = nn.constant dense<[[1.0, 0.0]]> : tensor<1x2xf32>
  %s = nn.constant dense<1.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2x1xf32>
  %0 = nn.matmul %x, %w : (tensor<3x1xf32>, tensor<1x2xf32>) -> tensor<3x2xf32>
  %1 = nn.layer_norm %0, %s {axis = 1 : i64, epsilon = 1.0e-05 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %2 = nn.matmul %1, %v : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %2 : tensor<3x1xf32>
}

// -----

// A mean of squares misses units that nobody reads, if they are not 0.
// CHECK-LABEL: func @rms_norm
func.func @rms_norm(%x: tensor<3x1xf32>) -> tensor<3x1xf32> {
  // CHECK: nn.rms_norm {{.*}} -> tensor<3x2xf32>
  %w = nn.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %s = nn.constant dense<1.0> : tensor<2xf32>
  %v = nn.constant dense<[[1.0], [0.0]]> : tensor<2x1xf32>
  %0 = nn.matmul %x, %w : (tensor<3x1xf32>, tensor<1x2xf32>) -> tensor<3x2xf32>
  %1 = nn.rms_norm %0, %s {axis = 1 : i64, epsilon = 1.0e-05 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %2 = nn.matmul %1, %v : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %2 : tensor<3x1xf32>
}

// -----

// A constant behind which there is padding is no constant of the sum.
// CHECK-LABEL: func @border
func.func @border(%x: tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32> {
  // CHECK: nn.conv {{.*}} -> tensor<1x2x4x4xf32>
  %w = nn.constant dense<[[[[1.0]]],[[[0.0]]]]> : tensor<2x1x1x1xf32>
  %b = nn.constant dense<1.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<1x2x3x3xf32>
  %0 = nn.conv %x, %w bias %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<2x1x1x1xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  %1 = nn.conv %0, %v {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x2x4x4xf32>, tensor<1x2x3x3xf32>) -> tensor<1x1x4x4xf32>
  return %1 : tensor<1x1x4x4xf32>
}
