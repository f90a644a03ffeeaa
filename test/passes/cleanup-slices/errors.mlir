// What stays.
// RUN: nnopt-opt %s --cleanup-slices --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// The parts come back in another order.
// CHECK-LABEL: func @swapped
// CHECK: nn.concat
func.func @swapped(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0:2 = nn.split %x {axis = 1 : i64} : (tensor<2x8xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
  %1 = nn.concat %0#1, %0#0 {axis = 1 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>
  return %1 : tensor<2x8xf32>
}

// -----

// Along another dimension.
// CHECK-LABEL: func @other_axis
// CHECK: nn.concat
func.func @other_axis(%x: tensor<2x8xf32>) -> tensor<4x4xf32> {
  %0:2 = nn.split %x {axis = 1 : i64} : (tensor<2x8xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
  %1 = nn.concat %0#0, %0#1 {axis = 0 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  return %1 : tensor<4x4xf32>
}

// -----

// A slice across the border of two operands.
// CHECK-LABEL: func @across
// CHECK: nn.concat
// CHECK: nn.slice
func.func @across(%x: tensor<2x3xf32>, %y: tensor<2x5xf32>) -> tensor<2x4xf32> {
  %0 = nn.concat %x, %y {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x5xf32>) -> tensor<2x8xf32>
  %start = nn.constant dense<2> : tensor<1xi64>
  %end = nn.constant dense<6> : tensor<1xi64>
  %axis = nn.constant dense<1> : tensor<1xi64>
  %1 = nn.slice %0[%start : %end axes %axis] : (tensor<2x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x4xf32>
  return %1 : tensor<2x4xf32>
}

// -----

// There may be no such row, which a slice would not say.
// CHECK-LABEL: func @outside
// CHECK: nn.gather
func.func @outside(%x: tensor<?x4xf32>) -> tensor<4xf32> {
  %i = nn.constant dense<1> : tensor<i64>
  // expected-remark @+1 {{a position may lie outside}}
  %0 = nn.gather %x, %i {axis = 0 : i64} : (tensor<?x4xf32>, tensor<i64>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// Not neighbours.
// CHECK-LABEL: func @apart
// CHECK: nn.gather
func.func @apart(%x: tensor<8x4xf32>) -> tensor<2x4xf32> {
  %i = nn.constant dense<[1, 3]> : tensor<2xi64>
  %0 = nn.gather %x, %i {axis = 0 : i64} : (tensor<8x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
