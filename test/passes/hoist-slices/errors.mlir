// What stays, and the reason that is given.
// RUN: nnopt-opt %s --hoist-slices --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// All logits are an output too.
// CHECK-LABEL: func @other_user
// CHECK: nn.matmul
// CHECK: nn.slice
func.func @other_user(%x: tensor<1x8x4xf32>, %w: tensor<4x9xf32>) -> (tensor<1x8x9xf32>, tensor<1x1x9xf32>) {
  %0 = nn.matmul %x, %w : (tensor<1x8x4xf32>, tensor<4x9xf32>) -> tensor<1x8x9xf32>
  %start = nn.constant dense<7> : tensor<1xi64>
  %end = nn.constant dense<8> : tensor<1xi64>
  %axis = nn.constant dense<1> : tensor<1xi64>
  // expected-remark @+1 {{other users need the rest of it}}
  %1 = nn.slice %0[%start : %end axes %axis] : (tensor<1x8x9xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x9xf32>
  return %0, %1 : tensor<1x8x9xf32>, tensor<1x1x9xf32>
}

// -----

// Another part is used by another slice.
// CHECK-LABEL: func @two_parts
func.func @two_parts(%x: tensor<8x4xf32>, %w: tensor<4x9xf32>) -> (tensor<1x9xf32>, tensor<1x9xf32>) {
  %0 = nn.matmul %x, %w : (tensor<8x4xf32>, tensor<4x9xf32>) -> tensor<8x9xf32>
  %zero = nn.constant dense<0> : tensor<1xi64>
  %one = nn.constant dense<1> : tensor<1xi64>
  %two = nn.constant dense<2> : tensor<1xi64>
  // expected-remark @+1 {{other users need the rest of it}}
  %1 = nn.slice %0[%zero : %one axes %zero] : (tensor<8x9xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x9xf32>
  // expected-remark @+1 {{other users need the rest of it}}
  %2 = nn.slice %0[%one : %two axes %zero] : (tensor<8x9xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x9xf32>
  return %1, %2 : tensor<1x9xf32>, tensor<1x9xf32>
}

// -----

// Most of it is kept: two slices would cost as much as they save.
// CHECK-LABEL: func @most
func.func @most(%x: tensor<8x4xf32>, %y: tensor<8x4xf32>) -> tensor<7x4xf32> {
  %0 = nn.add %x, %y : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  %zero = nn.constant dense<0> : tensor<1xi64>
  %end = nn.constant dense<7> : tensor<1xi64>
  // expected-remark @+1 {{more than half of the dimension is kept}}
  %1 = nn.slice %0[%zero : %end axes %zero] : (tensor<8x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<7x4xf32>
  return %1 : tensor<7x4xf32>
}

// -----

// Along the dimension that is normalized.
// CHECK-LABEL: func @row
func.func @row(%x: tensor<8x4xf32>) -> tensor<8x1xf32> {
  %0 = nn.softmax %x {axis = 1 : i64} : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %start = nn.constant dense<0> : tensor<1xi64>
  %end = nn.constant dense<1> : tensor<1xi64>
  // expected-remark @+1 {{nn.softmax: it combines elements along that dimension}}
  %1 = nn.slice %0[%start : %end axes %end] : (tensor<8x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<8x1xf32>
  return %1 : tensor<8x1xf32>
}

// -----

// The first queries of causal attention: their keys follow from their positions.
// CHECK-LABEL: func @first_query
func.func @first_query(%q: tensor<1x2x6x4xf32>) -> tensor<1x2x1x4xf32> {
  %0 = nn.attention %q, %q, %q {scale = 0.5 : f64, causal} : (tensor<1x2x6x4xf32>, tensor<1x2x6x4xf32>, tensor<1x2x6x4xf32>) -> tensor<1x2x6x4xf32>
  %start = nn.constant dense<1> : tensor<1xi64>
  %axis = nn.constant dense<2> : tensor<1xi64>
  // expected-remark @+1 {{which keys its queries see follows from their positions}}
  %1 = nn.slice %0[%start : %axis axes %axis] : (tensor<1x2x6x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x4xf32>
  return %1 : tensor<1x2x1x4xf32>
}

// -----

// Columns of weights that another product reads too.
// CHECK-LABEL: func @shared_weights
func.func @shared_weights(%x: tensor<4x2xf32>, %y: tensor<4x2xf32>) -> (tensor<4x1xf32>, tensor<4x4xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x4xf32>
  %0 = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  %1 = nn.matmul %y, %w : (tensor<4x2xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  %start = nn.constant dense<1> : tensor<1xi64>
  %end = nn.constant dense<2> : tensor<1xi64>
  // expected-remark @+1 {{its weights are used elsewhere too}}
  %2 = nn.slice %0[%start : %end axes %start] : (tensor<4x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4x1xf32>
  return %2, %1 : tensor<4x1xf32>, tensor<4x4xf32>
}

// -----

// Heads are part of a larger dimension.
// CHECK-LABEL: func @reshape
func.func @reshape(%x: tensor<2x12xf32>) -> tensor<2x1x4xf32> {
  %0 = nn.relu %x : (tensor<2x12xf32>) -> tensor<2x12xf32>
  %shape = nn.constant dense<[2, 3, 4]> : tensor<3xi64>
  %1 = nn.reshape %0, %shape : (tensor<2x12xf32>, tensor<3xi64>) -> tensor<2x3x4xf32>
  %start = nn.constant dense<1> : tensor<1xi64>
  %end = nn.constant dense<2> : tensor<1xi64>
  // expected-remark @+1 {{it takes that dimension apart}}
  %2 = nn.slice %1[%start : %end axes %start] : (tensor<2x3x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x1x4xf32>
  return %2 : tensor<2x1x4xf32>
}
