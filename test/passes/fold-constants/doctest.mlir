// Operations on constants are computed; only the addition of the input is left.
// RUN: nnopt-opt %s --fold-constants --split-input-file | FileCheck %s

// CHECK-LABEL: func @small
func.func @small(%x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK-NEXT: %[[C:.*]] = nn.constant dense<[6.000000e+00, 2.500000e+00]>
  // CHECK-NEXT: nn.add %arg0, %[[C]]
  %a = nn.constant dense<[9.0, 4.0]> : tensor<2xf32>
  %b = nn.constant dense<[[2.0], [0.5]]> : tensor<2x1xf32>
  %0 = nn.sqrt %a : (tensor<2xf32>) -> tensor<2xf32>
  %1 = nn.squeeze %b {axes = array<i64: 1>} : (tensor<2x1xf32>) -> tensor<2xf32>
  %2 = nn.add %0, %1 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %three = nn.constant dense<[1, 0]> : tensor<2xi64>
  %3 = nn.cast %three {to = f32} : (tensor<2xi64>) -> tensor<2xf32>
  %4 = nn.add %2, %3 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %5 = nn.add %x, %4 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %5 : tensor<2xf32>
}

// -----

// CHECK-LABEL: func @transposed
func.func @transposed(%x: tensor<3x2xi8>) -> tensor<3x2xi8> {
  // CHECK-NEXT: nn.constant dense<{{\[\[}}1, 4], [2, 5], [3, 6]]> : tensor<3x2xi8>
  // CHECK-NEXT: nn.add
  %w = nn.constant dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi8>
  %0 = nn.transpose %w {perm = array<i64: 1, 0>} : (tensor<2x3xi8>) -> tensor<3x2xi8>
  %1 = nn.add %x, %0 : (tensor<3x2xi8>, tensor<3x2xi8>) -> tensor<3x2xi8>
  return %1 : tensor<3x2xi8>
}

// -----

// What is not computed directly is compiled for this machine and run.
// CHECK-LABEL: func @compiled
func.func @compiled(%x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK-NEXT: nn.constant dense<[1.700000e+01, 3.900000e+01]>
  // CHECK-NEXT: nn.add
  %a = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[[5.0], [6.0]]> : tensor<2x1xf32>
  %0 = nn.matmul %a, %b : (tensor<2x2xf32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  %1 = nn.reduce %0 {kind = #nn.reduce_kind<sum>, axes = array<i64: 1>, keep_dims = false} : (tensor<2x1xf32>) -> tensor<2xf32>
  %2 = nn.add %x, %1 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %2 : tensor<2xf32>
}
