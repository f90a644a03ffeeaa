// What does not fold, and the reason that is given.
// RUN: nnopt-opt %s --fold-norm-affine --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// A residual needs the scaled rows.
// CHECK-LABEL: func @residual
// CHECK: nn.rms_norm
func.func @residual(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{nn.add uses it too}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %2 = nn.add %0, %1 : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  return %2 : tensor<3x2xf32>
}

// -----

// So does an output.
// CHECK-LABEL: func @output
// CHECK: nn.rms_norm
func.func @output(%x: tensor<3x2xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{it is an output}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1, %0 : tensor<3x2xf32>, tensor<3x2xf32>
}

// -----

// Weights that an embedding uses too.
// CHECK-LABEL: func @shared
// CHECK: nn.rms_norm
func.func @shared(%x: tensor<3x2xf32>) -> (tensor<3x2xf32>, tensor<2x2xf32>) {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{the weights of a product are used elsewhere too}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1, %w : tensor<3x2xf32>, tensor<2x2xf32>
}

// -----

// A scale that is an input.
// CHECK-LABEL: func @variable_scale
// CHECK: nn.rms_norm
func.func @variable_scale(%x: tensor<3x2xf32>, %s: tensor<2xf32>) -> tensor<3x2xf32> {
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{its scale or shift is not constant}}
  %0 = nn.rms_norm %x, %s {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// -----

// Weights that are an input.
// CHECK-LABEL: func @variable_weights
// CHECK: nn.rms_norm
func.func @variable_weights(%x: tensor<3x2xf32>, %w: tensor<2x2xf32>) -> tensor<3x2xf32> {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  // expected-remark @+1 {{a product uses it otherwise than as rows times constant weights}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// -----

// Columns instead of rows.
// CHECK-LABEL: func @right_operand
// CHECK: nn.rms_norm
func.func @right_operand(%x: tensor<3x2xf32>) -> tensor<1x2xf32> {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0, 3.0]]> : tensor<1x3xf32>
  // expected-remark @+1 {{a product uses it otherwise than as rows times constant weights}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %w, %0 : (tensor<1x3xf32>, tensor<3x2xf32>) -> tensor<1x2xf32>
  return %1 : tensor<1x2xf32>
}

// -----

// A row is two dimensions.
// CHECK-LABEL: func @two_dimensions
// CHECK: nn.rms_norm
func.func @two_dimensions(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %g = nn.constant dense<2.0> : tensor<3x2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{it normalizes over more than the last dimension}}
  %0 = nn.rms_norm %x, %g {axis = 0 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// -----

// A reshape between them mixes the rows.
// CHECK-LABEL: func @rows_apart
// CHECK: nn.rms_norm
func.func @rows_apart(%x: tensor<3x2xf32>) -> tensor<2x2xf32> {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<2.0> : tensor<3x2xf32>
  %t = nn.constant dense<[2, 3]> : tensor<2xi64>
  // expected-remark @+1 {{a reshape that takes rows apart uses it}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.reshape %0, %t : (tensor<3x2xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %2 = nn.matmul %1, %w : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
  return %2 : tensor<2x2xf32>
}
