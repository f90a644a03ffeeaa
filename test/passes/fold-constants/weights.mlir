// What ends in a weight is computed in f64: in f32 this sum is 0.
// RUN: nnopt-opt %s --fold-constants --split-input-file | FileCheck %s

// CHECK-LABEL: func @weight
func.func @weight(%x: tensor<4x1xf32>) -> tensor<4x1xf32> {
  // CHECK-NEXT: nn.constant dense<1.000000e+00> : tensor<1x1xf32>
  // CHECK-NEXT: nn.matmul
  %a = nn.constant dense<[[16777216.0], [1.0], [-16777216.0]]> : tensor<3x1xf32>
  %w = nn.reduce %a {kind = #nn.reduce_kind<sum>, axes = array<i64: 0>, keep_dims = true} : (tensor<3x1xf32>) -> tensor<1x1xf32>
  %0 = nn.matmul %x, %w : (tensor<4x1xf32>, tensor<1x1xf32>) -> tensor<4x1xf32>
  return %0 : tensor<4x1xf32>
}

// -----

// Also what is computed without compiling: 2^24 + 1 has no f32.
// CHECK-LABEL: func @direct
func.func @direct(%x: tensor<4x1xf32>) -> tensor<4x1xf32> {
  // CHECK-NEXT: nn.constant dense<1.000000e+00> : tensor<1x1xf32>
  // CHECK-NEXT: nn.matmul
  %a = nn.constant dense<16777216.0> : tensor<1x1xf32>
  %b = nn.constant dense<1.0> : tensor<1x1xf32>
  %s = nn.add %a, %b : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
  %w = nn.sub %s, %a : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
  %0 = nn.matmul %x, %w : (tensor<4x1xf32>, tensor<1x1xf32>) -> tensor<4x1xf32>
  return %0 : tensor<4x1xf32>
}

// -----

// And a chain of both: the sum of a + b over the rows of b, minus a.
// CHECK-LABEL: func @mixed
func.func @mixed(%x: tensor<4x1xf32>) -> tensor<4x1xf32> {
  // CHECK-NEXT: nn.constant dense<2.000000e+00> : tensor<1x1xf32>
  // CHECK-NEXT: nn.matmul
  %a = nn.constant dense<16777216.0> : tensor<1x1xf32>
  %two = nn.constant dense<33554432.0> : tensor<1x1xf32>
  %b = nn.constant dense<1.0> : tensor<2x1xf32>
  %s = nn.add %a, %b : (tensor<1x1xf32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  %r = nn.reduce %s {kind = #nn.reduce_kind<sum>, axes = array<i64: 0>, keep_dims = true} : (tensor<2x1xf32>) -> tensor<1x1xf32>
  %w = nn.sub %r, %two : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
  %0 = nn.matmul %x, %w : (tensor<4x1xf32>, tensor<1x1xf32>) -> tensor<4x1xf32>
  return %0 : tensor<4x1xf32>
}

// -----

// The model rounds where a function jumps: floor(2 - 2^-25) is 1, of the f32 it is 2.
// CHECK-LABEL: func @jump
func.func @jump(%x: tensor<4x1xf32>) -> tensor<4x1xf32> {
  // CHECK-NEXT: nn.constant dense<2.000000e+00> : tensor<1x1xf32>
  // CHECK-NEXT: nn.matmul
  %a = nn.constant dense<2.0> : tensor<1x1xf32>
  %b = nn.constant dense<2.98023224e-8> : tensor<1x1xf32>
  %s = nn.sub %a, %b : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
  %w = nn.floor %s : (tensor<1x1xf32>) -> tensor<1x1xf32>
  %0 = nn.matmul %x, %w : (tensor<4x1xf32>, tensor<1x1xf32>) -> tensor<4x1xf32>
  return %0 : tensor<4x1xf32>
}
