// What stays, and the reason that is given.
// RUN: nnopt-opt %s --remove-relu-units --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// A negative multiple is another function.
// CHECK-LABEL: func @negative
func.func @negative(%x: tensor<3x1xf32>) -> tensor<3x1xf32> {
  // CHECK: nn.relu {{.*}} -> tensor<3x2xf32>
  %w = nn.constant dense<[[1.0, -2.0]]> : tensor<1x2xf32>
  %v = nn.constant dense<1.0> : tensor<2x1xf32>
  %0 = nn.matmul %x, %w : (tensor<3x1xf32>, tensor<1x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{every unit counts}}
  %1 = nn.relu %0 : (tensor<3x2xf32>) -> tensor<3x2xf32>
  %2 = nn.matmul %1, %v : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %2 : tensor<3x1xf32>
}

// -----

// Equal rows, another bias.
// CHECK-LABEL: func @bias
func.func @bias(%x: tensor<3x1xf32>) -> tensor<3x1xf32> {
  %w = nn.constant dense<1.0> : tensor<1x2xf32>
  %b = nn.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2x1xf32>
  %0 = nn.matmul %x, %w bias %b : (tensor<3x1xf32>, tensor<1x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{every unit counts}}
  %1 = nn.relu %0 : (tensor<3x2xf32>) -> tensor<3x2xf32>
  %2 = nn.matmul %1, %v : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %2 : tensor<3x1xf32>
}

// -----

// The hidden values are an output too.
// CHECK-LABEL: func @output
func.func @output(%x: tensor<3x1xf32>) -> (tensor<3x1xf32>, tensor<3x2xf32>) {
  %w = nn.constant dense<0.0> : tensor<1x2xf32>
  %v = nn.constant dense<1.0> : tensor<2x1xf32>
  %0 = nn.matmul %x, %w : (tensor<3x1xf32>, tensor<1x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{a value between has other users}}
  %1 = nn.relu %0 : (tensor<3x2xf32>) -> tensor<3x2xf32>
  %2 = nn.matmul %1, %v : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %2, %1 : tensor<3x1xf32>, tensor<3x2xf32>
}

// -----

// A constant unit under padding: at the border it would not be that constant.
// CHECK-LABEL: func @border
func.func @border(%x: tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32> {
  %w = nn.constant dense<[[[[0.0]]], [[[1.0]]]]> : tensor<2x1x1x1xf32>
  %b = nn.constant dense<[1.0, 0.0]> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<1x2x3x3xf32>
  %0 = nn.conv %x, %w bias %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<2x1x1x1xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  // expected-remark @+1 {{every unit counts}}
  %1 = nn.relu %0 : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %2 = nn.conv %1, %v {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x2x4x4xf32>, tensor<1x2x3x3xf32>) -> tensor<1x1x4x4xf32>
  return %2 : tensor<1x1x4x4xf32>
}
