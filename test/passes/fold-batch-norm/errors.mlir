// What does not fold, and the reason that is given.
// RUN: nnopt-opt %s --fold-batch-norm --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// The convolution is read by somebody else too.
// CHECK-LABEL: func @other_user
// CHECK: nn.conv
// CHECK: nn.mul
// CHECK: nn.add
func.func @other_user(%x: tensor<1x1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x1x8xf32>) {
  %one = nn.constant dense<1.0> : tensor<1xf32>
  %w = nn.constant dense<2.0> : tensor<1x1x1xf32>
  %y = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  // expected-remark @+1 {{the contraction before it has other users}}
  %z = nn.batch_norm %y, %one, %one, %one, %one {epsilon = 0.1 : f64} : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %z, %y : tensor<1x1x8xf32>, tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @weights_of_the_user
// CHECK: nn.conv
// CHECK: nn.mul
func.func @weights_of_the_user(%x: tensor<1x1x8xf32>, %w: tensor<1x1x1xf32>) -> tensor<1x1x8xf32> {
  %one = nn.constant dense<1.0> : tensor<1xf32>
  %y = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  // expected-remark @+1 {{its weights are not constant}}
  %z = nn.batch_norm %y, %one, %one, %one, %one {epsilon = 0.1 : f64} : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %z : tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @parameters_of_the_user
// CHECK: nn.batch_norm
func.func @parameters_of_the_user(%x: tensor<1x1x8xf32>, %s: tensor<1xf32>) -> tensor<1x1x8xf32> {
  %one = nn.constant dense<1.0> : tensor<1xf32>
  // expected-remark @+1 {{its parameters are not constant}}
  %z = nn.batch_norm %x, %s, %one, %one, %one {epsilon = 0.1 : f64} : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %z : tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @negative_variance
// CHECK: nn.batch_norm
func.func @negative_variance(%x: tensor<1x1x8xf32>) -> tensor<1x1x8xf32> {
  %one = nn.constant dense<1.0> : tensor<1xf32>
  %v = nn.constant dense<-1.0> : tensor<1xf32>
  // expected-remark @+1 {{variance + epsilon is not positive}}
  %z = nn.batch_norm %x, %one, %one, %one, %v {epsilon = 0.1 : f64} : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %z : tensor<1x1x8xf32>
}

// -----

// Dimension 1 of a batched matrix product is not its columns.
// CHECK-LABEL: func @rows
// CHECK: nn.matmul
// CHECK: nn.mul
func.func @rows(%x: tensor<1x3x2xf32>) -> tensor<1x3x2xf32> {
  %three = nn.constant dense<1.0> : tensor<3xf32>
  %w = nn.constant dense<2.0> : tensor<2x2xf32>
  %y = nn.matmul %x, %w : (tensor<1x3x2xf32>, tensor<2x2xf32>) -> tensor<1x3x2xf32>
  // expected-remark @+1 {{it normalizes a dimension that is not the output channel of the contraction}}
  %z = nn.batch_norm %y, %three, %three, %three, %three {epsilon = 0.1 : f64} : (tensor<1x3x2xf32>, tensor<3xf32>,
    tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<1x3x2xf32>
  return %z : tensor<1x3x2xf32>
}
