// The passes together: a block of a residual network becomes convolutions with epilogues and one
// transpose at each end; nothing else is left.
// RUN: nnopt-opt %s --nnopt-default --split-input-file | FileCheck %s

// CHECK-LABEL: func @residual_block
func.func @residual_block(%x: tensor<?x4x8x8xf32> {nn.dims = ["n", 4, 8, 8]}) -> tensor<?x4x8x8xf32> {
  // CHECK: %[[X:.*]] = nn.transpose %arg0 {perm = array<i64: 0, 2, 3, 1>}
  // CHECK: %[[A:.*]] = nn.conv %[[X]], %{{.*}} bias %{{.*}} {channels_last
  // CHECK: arith.select
  // CHECK: %[[B:.*]] = nn.conv %[[A]], %{{.*}} bias %{{.*}} epilogue(%[[X]]) {channels_last
  // CHECK: arith.addf
  // CHECK: arith.select
  // CHECK: %[[Y:.*]] = nn.transpose %[[B]] {perm = array<i64: 0, 3, 1, 2>}
  // CHECK-NEXT: return %[[Y]]
  %w = nn.constant dense<0.5> : tensor<4x4x3x3xf32>
  %c = nn.constant dense<2.0> : tensor<4xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<?x4x8x8xf32>, tensor<4x4x3x3xf32>) -> tensor<?x4x8x8xf32>
  %1 = nn.batch_norm %0, %c, %c, %c, %c {epsilon = 0.0 : f64} : (tensor<?x4x8x8xf32>, tensor<4xf32>, tensor<4xf32>,
    tensor<4xf32>, tensor<4xf32>) -> tensor<?x4x8x8xf32>
  %2 = nn.relu %1 : (tensor<?x4x8x8xf32>) -> tensor<?x4x8x8xf32>
  %3 = nn.conv %2, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<?x4x8x8xf32>, tensor<4x4x3x3xf32>) -> tensor<?x4x8x8xf32>
  %4 = nn.batch_norm %3, %c, %c, %c, %c {epsilon = 0.0 : f64} : (tensor<?x4x8x8xf32>, tensor<4xf32>, tensor<4xf32>,
    tensor<4xf32>, tensor<4xf32>) -> tensor<?x4x8x8xf32>
  %5 = nn.add %4, %x : (tensor<?x4x8x8xf32>, tensor<?x4x8x8xf32>) -> tensor<?x4x8x8xf32>
  %6 = nn.relu %5 : (tensor<?x4x8x8xf32>) -> tensor<?x4x8x8xf32>
  return %6 : tensor<?x4x8x8xf32>
}
