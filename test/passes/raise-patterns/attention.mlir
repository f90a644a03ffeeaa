// Attention as exporters spell it.
// RUN: nnopt-opt %s --raise-patterns --split-input-file | FileCheck %s

// The scale on the scores, an added mask.
// CHECK-LABEL: func @bert
func.func @bert(%q: tensor<?x4x?x8xf32> {nn.dims = ["b", 4, "t", 8]}, %k: tensor<?x4x?x8xf32> {nn.dims = ["b", 4, "s", 8]},
                %v: tensor<?x4x?x16xf32> {nn.dims = ["b", 4, "s", 16]},
                %m: tensor<?x1x1x?xf32> {nn.dims = ["b", 1, 1, "s"]}) -> tensor<?x4x?x16xf32> {
  // CHECK-NEXT: nn.attention %arg0, %arg1, %arg2, %arg3 {scale = 2.500000e-01 : f64} :
  // CHECK-NEXT: return
  %c = nn.constant dense<4.0> : tensor<f32>
  %s = nn.matmul %q, %k {transpose_b} : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x?xf32>
  %0 = nn.div %s, %c : (tensor<?x4x?x?xf32>, tensor<f32>) -> tensor<?x4x?x?xf32>
  %1 = nn.add %m, %0 : (tensor<?x1x1x?xf32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %p = nn.softmax %1 {axis = 3 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = nn.matmul %p, %v : (tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32>) -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// -----

// Its root on both operands, transposed keys, a Where that makes zeros of NaN.
// CHECK-LABEL: func @sdpa
func.func @sdpa(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x6x8xf32>, %v: tensor<2x4x6x8xf32>) -> tensor<2x4x5x8xf32> {
  // CHECK-NEXT: nn.attention %arg0, %arg1, %arg2 {empty_rows = #nn.empty_rows<nan_to_zero>, scale = 2.500000e-01 : f64} :
  // CHECK-NEXT: return
  %r = nn.constant dense<0.5> : tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %kt = nn.transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x6x8xf32>) -> tensor<2x4x8x6xf32>
  %0 = nn.mul %q, %r : (tensor<2x4x5x8xf32>, tensor<f32>) -> tensor<2x4x5x8xf32>
  %1 = nn.mul %kt, %r : (tensor<2x4x8x6xf32>, tensor<f32>) -> tensor<2x4x8x6xf32>
  %s = nn.matmul %0, %1 : (tensor<2x4x5x8xf32>, tensor<2x4x8x6xf32>) -> tensor<2x4x5x6xf32>
  %p = nn.softmax %s {axis = 3 : i64} : (tensor<2x4x5x6xf32>) -> tensor<2x4x5x6xf32>
  %nan = nn.is_nan %p : (tensor<2x4x5x6xf32>) -> tensor<2x4x5x6xi1>
  %w = nn.where %nan, %zero, %p : (tensor<2x4x5x6xi1>, tensor<f32>, tensor<2x4x5x6xf32>) -> tensor<2x4x5x6xf32>
  %y = nn.matmul %w, %v : (tensor<2x4x5x6xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x5x8xf32>
  return %y : tensor<2x4x5x8xf32>
}

// -----

// Grouped queries: repeated key heads are not repeated.
// CHECK-LABEL: func @grouped
func.func @grouped(%q: tensor<2x8x5x4xf32>, %k: tensor<2x2x6x4xf32>, %v: tensor<2x2x6x4xf32>) -> tensor<2x8x5x4xf32> {
  // CHECK-NEXT: nn.attention %arg0, %arg1, %arg2 {scale = 1.000000e+00 : f64} :
  // CHECK-NEXT: return
  %e = nn.constant dense<[1, 1, 4, 1, 1]> : tensor<5xi64>
  %f = nn.constant dense<[2, 8, 6, 4]> : tensor<4xi64>
  %k0 = nn.unsqueeze %k {axes = array<i64: 2>} : (tensor<2x2x6x4xf32>) -> tensor<2x2x1x6x4xf32>
  %k1 = nn.expand %k0, %e : (tensor<2x2x1x6x4xf32>, tensor<5xi64>) -> tensor<2x2x4x6x4xf32>
  %k2 = nn.reshape %k1, %f : (tensor<2x2x4x6x4xf32>, tensor<4xi64>) -> tensor<2x8x6x4xf32>
  %v0 = nn.unsqueeze %v {axes = array<i64: 2>} : (tensor<2x2x6x4xf32>) -> tensor<2x2x1x6x4xf32>
  %v1 = nn.expand %v0, %e : (tensor<2x2x1x6x4xf32>, tensor<5xi64>) -> tensor<2x2x4x6x4xf32>
  %v2 = nn.reshape %v1, %f : (tensor<2x2x4x6x4xf32>, tensor<4xi64>) -> tensor<2x8x6x4xf32>
  %s = nn.matmul %q, %k2 {transpose_b} : (tensor<2x8x5x4xf32>, tensor<2x8x6x4xf32>) -> tensor<2x8x5x6xf32>
  %p = nn.softmax %s {axis = 3 : i64} : (tensor<2x8x5x6xf32>) -> tensor<2x8x5x6xf32>
  %y = nn.matmul %p, %v2 : (tensor<2x8x5x6xf32>, tensor<2x8x6x4xf32>) -> tensor<2x8x5x4xf32>
  return %y : tensor<2x8x5x4xf32>
}

// -----

// Where instead of an addition: scores of other keys become a number.
// CHECK-LABEL: func @where
func.func @where(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>, %m: tensor<3x3xi1>) -> tensor<1x2x3x4xf32> {
  // CHECK: %[[M:.*]] = nn.logical_not %arg3
  // CHECK-NEXT: nn.attention %arg0, %arg1, %arg2, %[[M]] {mask_value = -1.000000e+04 : f64, scale = 5.000000e-01 : f64}
  %c = nn.constant dense<0.5> : tensor<f32>
  %low = nn.constant dense<-1.0e4> : tensor<f32>
  %s = nn.matmul %q, %k {transpose_b} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x3xf32>
  %0 = nn.mul %s, %c : (tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %1 = nn.where %m, %low, %0 : (tensor<3x3xi1>, tensor<f32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %p = nn.softmax %1 {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %y : tensor<1x2x3x4xf32>
}

// -----

// A constant triangle is `causal`; heads as the only batch.
// CHECK-LABEL: func @causal
func.func @causal(%q: tensor<2x3x4xf32>, %k: tensor<2x3x4xf32>, %v: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  // CHECK: nn.attention %{{.*}}, %{{.*}}, %{{[^,]*}} {causal, scale = 1.000000e+00 : f64} : (tensor<1x2x3x4xf32>
  // CHECK-NEXT: nn.squeeze
  %m = nn.constant dense<[[0.0, 0xFF800000, 0xFF800000], [0.0, 0.0, 0xFF800000], [0.0, 0.0, 0.0]]> : tensor<3x3xf32>
  %s = nn.matmul %q, %k {transpose_b} : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x3xf32>
  %1 = nn.add %s, %m : (tensor<2x3x3xf32>, tensor<3x3xf32>) -> tensor<2x3x3xf32>
  %p = nn.softmax %1 {axis = 2 : i64} : (tensor<2x3x3xf32>) -> tensor<2x3x3xf32>
  %y = nn.matmul %p, %v : (tensor<2x3x3xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

// Windows of Swin: a relative bias for each head and, in a view with the windows apart, a mask for each window.
// CHECK-LABEL: func @windows
func.func @windows(%q: tensor<4x2x3x4xf32>, %k: tensor<4x2x3x4xf32>, %v: tensor<4x2x3x4xf32>, %bias: tensor<1x2x3x3xf32>,
                   %m: tensor<1x4x1x3x3xf32>) -> tensor<4x2x3x4xf32> {
  // CHECK: %[[M:.*]] = nn.reshape %arg4{{.*}} -> tensor<4x1x3x3xf32>
  // CHECK: %[[S:.*]] = nn.add %arg3, %[[M]] {{.*}} -> tensor<4x2x3x3xf32>
  // CHECK: nn.attention %arg0, %arg1, %arg2, %[[S]] {scale = 1.000000e+00 : f64}
  %a = nn.constant dense<[1, 4, 2, 3, 3]> : tensor<5xi64>
  %b = nn.constant dense<[4, 2, 3, 3]> : tensor<4xi64>
  %s = nn.matmul %q, %k {transpose_b} : (tensor<4x2x3x4xf32>, tensor<4x2x3x4xf32>) -> tensor<4x2x3x3xf32>
  %0 = nn.add %s, %bias : (tensor<4x2x3x3xf32>, tensor<1x2x3x3xf32>) -> tensor<4x2x3x3xf32>
  %1 = nn.reshape %0, %a : (tensor<4x2x3x3xf32>, tensor<5xi64>) -> tensor<1x4x2x3x3xf32>
  %2 = nn.add %1, %m : (tensor<1x4x2x3x3xf32>, tensor<1x4x1x3x3xf32>) -> tensor<1x4x2x3x3xf32>
  %3 = nn.reshape %2, %b : (tensor<1x4x2x3x3xf32>, tensor<4xi64>) -> tensor<4x2x3x3xf32>
  %p = nn.softmax %3 {axis = 3 : i64} : (tensor<4x2x3x3xf32>) -> tensor<4x2x3x3xf32>
  %y = nn.matmul %p, %v : (tensor<4x2x3x3xf32>, tensor<4x2x3x4xf32>) -> tensor<4x2x3x4xf32>
  return %y : tensor<4x2x3x4xf32>
}

// -----

// A soft cap on the scores.
// CHECK-LABEL: func @softcap
func.func @softcap(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  // CHECK: nn.attention %arg0, %arg1, %arg2 {scale = 0.49999{{[0-9]+}} : f64, softcap = 5.000000e+01 : f64}
  %c = nn.constant dense<0.01> : tensor<f32>
  %cap = nn.constant dense<50.0> : tensor<f32>
  %s = nn.matmul %q, %k {transpose_b} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x3xf32>
  %0 = nn.mul %s, %c : (tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %1 = nn.tanh %0 : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %2 = nn.mul %1, %cap : (tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %p = nn.softmax %2 {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %y : tensor<1x2x3x4xf32>
}
