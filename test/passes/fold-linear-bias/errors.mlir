// What does not fold, and the reason that is given.
// RUN: nnopt-opt %s --fold-linear-bias --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// CHECK-LABEL: func @scale_of_variable_weights
// CHECK: nn.mul
func.func @scale_of_variable_weights(%q: tensor<4x2xf32>, %k: tensor<2x3xf32>) -> tensor<4x3xf32> {
  %t = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.matmul %q, %k : (tensor<4x2xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
  // expected-remark @+1 {{its weights are not constant}}
  %1 = nn.mul %0, %t : (tensor<4x3xf32>, tensor<f32>) -> tensor<4x3xf32>
  return %1 : tensor<4x3xf32>
}

// -----

// A vector along the rows.
// CHECK-LABEL: func @rows
// CHECK: nn.add
func.func @rows(%q: tensor<3x2xf32>, %k: tensor<2x3xf32>) -> tensor<3x3xf32> {
  %t = nn.constant dense<[[1.0], [2.0], [3.0]]> : tensor<3x1xf32>
  %0 = nn.matmul %q, %k : (tensor<3x2xf32>, tensor<2x3xf32>) -> tensor<3x3xf32>
  // expected-remark @+1 {{it maps a dimension that is not the output channel of the contraction}}
  %1 = nn.add %0, %t : (tensor<3x3xf32>, tensor<3x1xf32>) -> tensor<3x3xf32>
  return %1 : tensor<3x3xf32>
}

// -----

// The addition makes the result larger.
// CHECK-LABEL: func @enlarged
// CHECK: nn.add
func.func @enlarged(%q: tensor<3x2xf32>, %k: tensor<2x3xf32>) -> tensor<1x3x3xf32> {
  %t = nn.constant dense<1.0> : tensor<1x1x3xf32>
  %0 = nn.matmul %q, %k : (tensor<3x2xf32>, tensor<2x3xf32>) -> tensor<3x3xf32>
  // expected-remark @+1 {{the constant does not depend on one dimension alone}}
  %1 = nn.add %0, %t : (tensor<3x3xf32>, tensor<1x1x3xf32>) -> tensor<1x3x3xf32>
  return %1 : tensor<1x3x3xf32>
}

// -----

// CHECK-LABEL: func @other_user
// CHECK: nn.mul
func.func @other_user(%x: tensor<4x2xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
  %w = nn.constant dense<2.0> : tensor<2x2xf32>
  %t = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  // expected-remark @+1 {{the contraction before it has other users}}
  %1 = nn.mul %0, %t : (tensor<4x2xf32>, tensor<f32>) -> tensor<4x2xf32>
  return %0, %1 : tensor<4x2xf32>, tensor<4x2xf32>
}

// -----

// CHECK-LABEL: func @by_zero
// CHECK: nn.div
func.func @by_zero(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %w = nn.constant dense<2.0> : tensor<2x2xf32>
  %t = nn.constant dense<0.0> : tensor<f32>
  %0 = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  // expected-remark @+1 {{division by zero}}
  %1 = nn.div %0, %t : (tensor<4x2xf32>, tensor<f32>) -> tensor<4x2xf32>
  return %1 : tensor<4x2xf32>
}

// -----

// The bias is not scaled, so the factor cannot move behind; the operand has another user.
// CHECK-LABEL: func @factor
// CHECK: nn.mul
// CHECK: nn.mul
func.func @factor(%q: tensor<4x4xf32>, %k: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) {
  %half = nn.constant dense<0.5> : tensor<f32>
  %b = nn.constant dense<1.0> : tensor<4xf32>
  // expected-remark @+1 {{of nn.matmul behind it: its weights are not constant}}
  %0 = nn.mul %q, %half : (tensor<4x4xf32>, tensor<f32>) -> tensor<4x4xf32>
  %1 = nn.matmul %0, %k bias %b : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<4x4xf32>
  // expected-remark @+1 {{its result leaves here too}}
  %2 = nn.mul %k, %half : (tensor<4x4xf32>, tensor<f32>) -> tensor<4x4xf32>
  %3 = nn.matmul %q, %2 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %1, %2, %3 : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
}
