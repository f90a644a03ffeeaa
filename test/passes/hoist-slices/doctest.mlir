// RUN: nnopt-opt %s --hoist-slices --split-input-file | FileCheck %s

// A classifier on the class token: the normalization and the feed-forward network before it work on one token.
// CHECK-LABEL: func @class_token
func.func @class_token(%x: tensor<2x197x8xf32>, %w: tensor<8x32xf32>, %v: tensor<32x8xf32>, %s: tensor<8xf32>) -> tensor<2x8xf32> {
  // CHECK: nn.gather %arg0, %{{.*}} {axis = 1 : i64} : (tensor<2x197x8xf32>, tensor<1xi64>) -> tensor<2x1x8xf32>
  // CHECK: nn.layer_norm {{.*}} -> tensor<2x1x8xf32>
  // CHECK: nn.matmul {{.*}} -> tensor<2x1x32xf32>
  // CHECK: nn.gelu {{.*}} -> tensor<2x1x32xf32>
  // CHECK: nn.matmul {{.*}} -> tensor<2x1x8xf32>
  // CHECK: nn.add {{.*}} -> tensor<2x1x8xf32>
  // CHECK: nn.squeeze
  %n = nn.layer_norm %x, %s {axis = 2 : i64, epsilon = 1.0e-5 : f64} : (tensor<2x197x8xf32>, tensor<8xf32>) -> tensor<2x197x8xf32>
  %0 = nn.matmul %n, %w : (tensor<2x197x8xf32>, tensor<8x32xf32>) -> tensor<2x197x32xf32>
  %1 = nn.gelu %0 : (tensor<2x197x32xf32>) -> tensor<2x197x32xf32>
  %2 = nn.matmul %1, %v : (tensor<2x197x32xf32>, tensor<32x8xf32>) -> tensor<2x197x8xf32>
  %3 = nn.add %x, %2 : (tensor<2x197x8xf32>, tensor<2x197x8xf32>) -> tensor<2x197x8xf32>
  %first = nn.constant dense<0> : tensor<i64>
  %4 = nn.gather %3, %first {axis = 1 : i64} : (tensor<2x197x8xf32>, tensor<i64>) -> tensor<2x8xf32>
  return %4 : tensor<2x8xf32>
}

// -----

// Logits of the last token, however many there are.
// CHECK-LABEL: func @last_token
func.func @last_token(%x: tensor<1x?x8xf32> {nn.dims = [1, "sequence", 8]}, %w: tensor<8x1000xf32>) -> tensor<1x?x1000xf32> {
  // CHECK: %[[X:.*]] = nn.slice %arg0
  // CHECK: nn.matmul %[[X]], %arg1
  // CHECK-NOT: nn.slice
  %0 = nn.matmul %x, %w : (tensor<1x?x8xf32>, tensor<8x1000xf32>) -> tensor<1x?x1000xf32>
  %last = nn.constant dense<-1> : tensor<1xi64>
  %end = nn.constant dense<9223372036854775807> : tensor<1xi64>
  %axis = nn.constant dense<1> : tensor<1xi64>
  %1 = nn.slice %0[%last : %end axes %axis] : (tensor<1x?x1000xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x?x1000xf32>
  return %1 : tensor<1x?x1000xf32>
}

// -----

// Some columns of a product: some columns of the weights. Through a transpose and a reshape.
// CHECK-LABEL: func @columns
func.func @columns(%x: tensor<4x2xf32>) -> tensor<1x1x4xf32> {
  // CHECK: nn.constant dense<{{\[\[}}2.000000e+00], [6.000000e+00]]> : tensor<2x1xf32>
  // CHECK: nn.matmul %arg0, %{{.*}} -> tensor<4x1xf32>
  // CHECK: nn.transpose {{.*}} -> tensor<1x4xf32>
  // CHECK: nn.reshape
  // CHECK-NOT: nn.slice
  %w = nn.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %0 = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  %1 = nn.transpose %0 {perm = array<i64: 1, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %shape = nn.constant dense<[1, 4, 4]> : tensor<3xi64>
  %2 = nn.reshape %1, %shape : (tensor<4x4xf32>, tensor<3xi64>) -> tensor<1x4x4xf32>
  %start = nn.constant dense<1> : tensor<1xi64>
  %end = nn.constant dense<2> : tensor<1xi64>
  %3 = nn.slice %2[%start : %end axes %start] : (tensor<1x4x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x4xf32>
  return %3 : tensor<1x1x4xf32>
}

// -----

// The last query of causal attention sees all keys.
// CHECK-LABEL: func @attention
func.func @attention(%q: tensor<1x2x6x4xf32>, %k: tensor<1x2x6x4xf32>, %v: tensor<1x2x6x4xf32>) -> tensor<1x2x1x4xf32> {
  // CHECK: %[[Q:.*]] = nn.slice %arg0
  // CHECK: nn.attention %[[Q]], %arg1, %arg2 {{.*}}causal_from_end
  %0 = nn.attention %q, %k, %v {scale = 0.5 : f64, causal} : (tensor<1x2x6x4xf32>, tensor<1x2x6x4xf32>, tensor<1x2x6x4xf32>) -> tensor<1x2x6x4xf32>
  %start = nn.constant dense<5> : tensor<1xi64>
  %end = nn.constant dense<6> : tensor<1xi64>
  %axis = nn.constant dense<2> : tensor<1xi64>
  %1 = nn.slice %0[%start : %end axes %axis] : (tensor<1x2x6x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x4xf32>
  return %1 : tensor<1x2x1x4xf32>
}
