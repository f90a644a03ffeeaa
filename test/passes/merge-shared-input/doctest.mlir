// Contractions of one value become one where the parts are read in place.
// RUN: nnopt-opt --merge-shared-input --split-input-file %s | FileCheck %s

// Heads of attention are read out of a wider matrix.
// CHECK-LABEL: func.func @attention
func.func @attention(%x: tensor<?x3x2xf32>) -> tensor<?x1x3x2xf32> {
  // CHECK: %[[W:.*]] = nn.constant dense<{{.*}}1.000000e+00, 3.000000e+00], [2.000000e+00, 4.000000e+00], [5.000000e+00, 6.000000e+00], [7.000000e+00, 8.000000e+00], [9.000000e+00, 1.100000e+01], [1.000000e+01, 1.200000e+01]]> : tensor<6x2xf32>
  // CHECK: %[[B:.*]] = nn.constant dense<[0.000000e+00, 0.000000e+00, 1.000000e+00, 2.000000e+00, 0.000000e+00, 0.000000e+00]> : tensor<6xf32>
  // CHECK: %[[M:.*]] = nn.matmul %arg0, %[[W]] bias %[[B]] {transpose_b}
  // CHECK: nn.split %[[M]]{{.*}} {axis = 2 : i64}
  // CHECK-NOT: nn.matmul
  %wq = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %wk = nn.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  %wv = nn.constant dense<[[9.0, 10.0], [11.0, 12.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %q = nn.matmul %x, %wq : (tensor<?x3x2xf32>, tensor<2x2xf32>) -> tensor<?x3x2xf32>
  %k = nn.matmul %x, %wk bias %b {transpose_b} : (tensor<?x3x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x3x2xf32>
  %v = nn.matmul %x, %wv : (tensor<?x3x2xf32>, tensor<2x2xf32>) -> tensor<?x3x2xf32>
  %q1 = nn.unsqueeze %q {axes = array<i64: 1>} : (tensor<?x3x2xf32>) -> tensor<?x1x3x2xf32>
  %k1 = nn.unsqueeze %k {axes = array<i64: 1>} : (tensor<?x3x2xf32>) -> tensor<?x1x3x2xf32>
  %v1 = nn.unsqueeze %v {axes = array<i64: 1>} : (tensor<?x3x2xf32>) -> tensor<?x1x3x2xf32>
  %y = nn.attention %q1, %k1, %v1 {scale = 1.0 : f64} : (tensor<?x1x3x2xf32>, tensor<?x1x3x2xf32>, tensor<?x1x3x2xf32>) -> tensor<?x1x3x2xf32>
  return %y : tensor<?x1x3x2xf32>
}

// -----

// Neighbours in a concatenation of channels: no split at all.
// CHECK-LABEL: func.func @branches
func.func @branches(%x: tensor<1x1x4x4xf32>) -> tensor<1x4x4x4xf32> {
  // CHECK: %[[C:.*]] = nn.conv %arg0, {{.*}} -> tensor<1x3x4x4xf32>
  // CHECK-NEXT: %[[R:.*]] = nn.relu %[[C]]
  // CHECK-NEXT: nn.concat %[[R]], %arg0 {axis = 1 : i64}
  %a = nn.constant dense<[[[[1.0]]]]> : tensor<1x1x1x1xf32>
  %b = nn.constant dense<[[[[2.0]]], [[[3.0]]]]> : tensor<2x1x1x1xf32>
  %0 = nn.conv %x, %a {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x4x4xf32>
  %1 = nn.relu %0 : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  %2 = nn.conv %x, %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x4x4xf32>
  %3 = nn.relu %2 : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %4 = nn.concat %1, %3, %x {axis = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x2x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<1x4x4x4xf32>
  return %4 : tensor<1x4x4x4xf32>
}
