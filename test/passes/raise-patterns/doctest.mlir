// Functions that exporters write out.
// RUN: nnopt-opt %s --raise-patterns --split-input-file | FileCheck %s

// CHECK-LABEL: func @gelu
func.func @gelu(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK-NEXT: nn.gelu %arg0 :
  // CHECK-NEXT: return
  %sqrt2 = nn.constant dense<1.41421354> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.div %x, %sqrt2 : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>
  %1 = nn.erf %0 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %2 = nn.add %1, %one : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>
  %3 = nn.mul %x, %2 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %4 = nn.mul %3, %half : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>
  return %4 : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func @gelu_tanh
func.func @gelu_tanh(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT: nn.gelu %arg0 {tanh}
  // CHECK-NEXT: return
  %a = nn.constant dense<0.044715> : tensor<f32>
  %b = nn.constant dense<0.797884583> : tensor<f32>
  %three = nn.constant dense<3.0> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.pow %x, %three : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %1 = nn.mul %0, %a : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %2 = nn.add %x, %1 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %3 = nn.mul %2, %b : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %4 = nn.tanh %3 : (tensor<4xf32>) -> tensor<4xf32>
  %5 = nn.add %4, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %6 = nn.mul %x, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %7 = nn.mul %6, %5 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %7 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func @silu
func.func @silu(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT: nn.silu %arg0
  %0 = nn.sigmoid %x : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.mul %0, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func @hard_swish
func.func @hard_swish(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT: nn.hard_swish %arg0
  // CHECK-NEXT: return
  %three = nn.constant dense<3.0> : tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %six = nn.constant dense<6.0> : tensor<f32>
  %0 = nn.add %x, %three : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %1 = nn.clip %0, %zero, %six : (tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<4xf32>
  %2 = nn.mul %x, %1 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %3 = nn.div %2, %six : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  return %3 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func @layer_norm
func.func @layer_norm(%x: tensor<?x4xf32>, %w: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<?x4xf32> {
  // CHECK-NEXT: nn.layer_norm %arg0, %arg1, %arg2 {axis = 1 : i64, epsilon = 9.9{{.*}}E-6 : f64}
  // CHECK-NEXT: return
  %two = nn.constant dense<2.0> : tensor<f32>
  %eps = nn.constant dense<1.0e-5> : tensor<f32>
  %0 = nn.reduce %x {kind = #nn.reduce_kind<mean>, axes = array<i64: 1>, keep_dims = true} : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %1 = nn.sub %x, %0 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %2 = nn.pow %1, %two : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>
  %3 = nn.reduce %2 {kind = #nn.reduce_kind<mean>, axes = array<i64: 1>, keep_dims = true} : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %4 = nn.add %3, %eps : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %5 = nn.sqrt %4 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %6 = nn.div %1, %5 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %7 = nn.mul %6, %w : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %8 = nn.add %7, %b : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %8 : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func @rms_norm
func.func @rms_norm(%x: tensor<?x4xf32>, %w: tensor<4xf32>) -> tensor<?x4xf32> {
  // CHECK-NEXT: nn.rms_norm %arg0, %arg1 {axis = 1 : i64
  // CHECK-NEXT: return
  %one = nn.constant dense<1.0> : tensor<f32>
  %eps = nn.constant dense<1.0e-5> : tensor<f32>
  %0 = nn.mul %x, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = nn.reduce %0 {kind = #nn.reduce_kind<mean>, axes = array<i64: 1>, keep_dims = true} : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %2 = nn.add %1, %eps : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = nn.sqrt %2 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = nn.div %one, %3 : (tensor<f32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %5 = nn.mul %x, %4 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %6 = nn.mul %w, %5 : (tensor<4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %6 : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func @softmax
func.func @softmax(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK-NEXT: nn.softmax %arg0 {axis = 1 : i64}
  // CHECK-NEXT: return
  %0 = nn.reduce %x {kind = #nn.reduce_kind<max>, axes = array<i64: 1>, keep_dims = true} : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %1 = nn.sub %x, %0 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %2 = nn.exp %1 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %3 = nn.reduce %2 {kind = #nn.reduce_kind<sum>, axes = array<i64: 1>, keep_dims = true} : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %4 = nn.div %2, %3 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %4 : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func @attention
func.func @attention(%q: tensor<1x2x?x8xf32>, %k: tensor<1x2x5x8xf32>, %v: tensor<1x2x5x8xf32>, %m: tensor<1x1x1x5xf32>) -> tensor<1x2x?x8xf32> {
  // CHECK-NEXT: nn.attention %arg0, %arg1, %arg2, %arg3 {scale = 5.000000e-01 : f64}
  // CHECK-NEXT: return
  %c = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.matmul %q, %k {transpose_b} : (tensor<1x2x?x8xf32>, tensor<1x2x5x8xf32>) -> tensor<1x2x?x5xf32>
  %1 = nn.mul %0, %c : (tensor<1x2x?x5xf32>, tensor<f32>) -> tensor<1x2x?x5xf32>
  %2 = nn.add %1, %m : (tensor<1x2x?x5xf32>, tensor<1x1x1x5xf32>) -> tensor<1x2x?x5xf32>
  %3 = nn.softmax %2 {axis = 3 : i64} : (tensor<1x2x?x5xf32>) -> tensor<1x2x?x5xf32>
  %4 = nn.matmul %3, %v : (tensor<1x2x?x5xf32>, tensor<1x2x5x8xf32>) -> tensor<1x2x?x8xf32>
  return %4 : tensor<1x2x?x8xf32>
}

// -----

// CHECK-LABEL: func @softplus
func.func @softplus(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT: nn.softplus %arg0
  // CHECK-NEXT: return
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.add %0, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %2 = nn.log %1 : (tensor<4xf32>) -> tensor<4xf32>
  return %2 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func @group_norm
func.func @group_norm(%x: tensor<?x4x5x5xf32>) -> tensor<?x4x5x5xf32> {
  // CHECK-DAG: %[[S:.*]] = nn.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00]>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<5.000000e-01> : tensor<4xf32>
  // CHECK-NEXT: nn.group_norm %arg0, %[[S]], %[[B]] {epsilon = 1.000000e-05 : f64, num_groups = 2 : i64}
  // CHECK-NEXT: return
  %a = nn.constant dense<[0, 2, -1]> : tensor<3xi64>
  %b = nn.constant dense<[-1, 4, 5, 5]> : tensor<4xi64>
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %zeros = nn.constant dense<0.0> : tensor<2xf32>
  %w = nn.constant dense<[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]> : tensor<4x1x1xf32>
  %t = nn.constant dense<0.5> : tensor<1x4x1x1xf32>
  %0 = nn.reshape %x, %a : (tensor<?x4x5x5xf32>, tensor<3xi64>) -> tensor<?x2x50xf32>
  %1 = nn.group_norm %0, %ones, %zeros {num_groups = 2 : i64, epsilon = 1.0e-5 : f64} : (tensor<?x2x50xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2x50xf32>
  %2 = nn.reshape %1, %b : (tensor<?x2x50xf32>, tensor<4xi64>) -> tensor<?x4x5x5xf32>
  %3 = nn.mul %2, %w : (tensor<?x4x5x5xf32>, tensor<4x1x1xf32>) -> tensor<?x4x5x5xf32>
  %4 = nn.add %3, %t : (tensor<?x4x5x5xf32>, tensor<1x4x1x1xf32>) -> tensor<?x4x5x5xf32>
  return %4 : tensor<?x4x5x5xf32>
}

// -----

// CHECK-LABEL: func @pixel_shuffle
func.func @pixel_shuffle(%x: tensor<1x12x4x5xf32>) -> tensor<1x3x8x10xf32> {
  // CHECK-NEXT: nn.depth_to_space %arg0 {blocksize = 2 : i64, crd}
  // CHECK-NEXT: return
  %a = nn.constant dense<[1, 3, 2, 2, 4, 5]> : tensor<6xi64>
  %b = nn.constant dense<[1, 3, 8, 10]> : tensor<4xi64>
  %0 = nn.reshape %x, %a : (tensor<1x12x4x5xf32>, tensor<6xi64>) -> tensor<1x3x2x2x4x5xf32>
  %1 = nn.transpose %0 {perm = array<i64: 0, 1, 4, 2, 5, 3>} : (tensor<1x3x2x2x4x5xf32>) -> tensor<1x3x4x2x5x2xf32>
  %2 = nn.reshape %1, %b : (tensor<1x3x4x2x5x2xf32>, tensor<4xi64>) -> tensor<1x3x8x10xf32>
  return %2 : tensor<1x3x8x10xf32>
}

// -----

// x / max(norm, 1e-12), as PyTorch normalizes features.
// CHECK-LABEL: func @l2_norm
func.func @l2_norm(%x: tensor<?x4x5xf32>) -> tensor<?x4x5xf32> {
  // CHECK-NEXT: nn.lp_norm %arg0 {axis = 1 : i64, floor = {{.*}}E-13 : f64, p = 2 : i64}
  // CHECK-NEXT: return
  %eps = nn.constant dense<1.0e-12> : tensor<f32>
  %0 = nn.reduce %x {axes = array<i64: 1>, kind = #nn.reduce_kind<l2>, keep_dims = true} : (tensor<?x4x5xf32>) -> tensor<?x1x5xf32>
  %1 = nn.max %0, %eps : (tensor<?x1x5xf32>, tensor<f32>) -> tensor<?x1x5xf32>
  %2 = nn.div %x, %1 : (tensor<?x4x5xf32>, tensor<?x1x5xf32>) -> tensor<?x4x5xf32>
  return %2 : tensor<?x4x5xf32>
}

// -----

// x / sqrt(sum(x^2) + epsilon) is rms_norm times 1 / sqrt(4).
// CHECK-LABEL: func @l2_norm_epsilon
func.func @l2_norm_epsilon(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK: %[[S:.*]] = nn.constant dense<5.000000e-01> : tensor<4xf32>
  // CHECK-NEXT: nn.rms_norm %arg0, %[[S]] {axis = 1 : i64, epsilon = 2.500000e-01 : f64}
  // CHECK-NEXT: return
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.mul %x, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = nn.reduce %0 {axes = array<i64: 1>, kind = #nn.reduce_kind<sum>, keep_dims = true} : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %2 = nn.add %1, %one : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = nn.sqrt %2 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = nn.div %x, %3 : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %4 : tensor<?x4xf32>
}

// -----

// Over any number of positions.
// CHECK-LABEL: func @instance_norm
func.func @instance_norm(%x: tensor<?x2x?x?xf32>) -> tensor<?x2x?x?xf32> {
  // CHECK-DAG: %[[S:.*]] = nn.constant dense<[3.000000e+00, 4.000000e+00]>
  // CHECK-DAG: %[[Z:.*]] = nn.constant dense<0.000000e+00> : tensor<2xf32>
  // CHECK: nn.group_norm %arg0, %[[S]], %[[Z]] {epsilon = 1.000000e+00 : f64, num_groups = 2 : i64}
  // CHECK-NEXT: return
  %one = nn.constant dense<1.0> : tensor<f32>
  %s = nn.constant dense<[[[3.0]], [[4.0]]]> : tensor<2x1x1xf32>
  %m = nn.reduce %x {axes = array<i64: 2, 3>, kind = #nn.reduce_kind<mean>, keep_dims = true} : (tensor<?x2x?x?xf32>) -> tensor<?x2x1x1xf32>
  %d = nn.sub %x, %m : (tensor<?x2x?x?xf32>, tensor<?x2x1x1xf32>) -> tensor<?x2x?x?xf32>
  %0 = nn.mul %d, %d : (tensor<?x2x?x?xf32>, tensor<?x2x?x?xf32>) -> tensor<?x2x?x?xf32>
  %1 = nn.reduce %0 {axes = array<i64: 2, 3>, kind = #nn.reduce_kind<mean>, keep_dims = true} : (tensor<?x2x?x?xf32>) -> tensor<?x2x1x1xf32>
  %2 = nn.add %1, %one : (tensor<?x2x1x1xf32>, tensor<f32>) -> tensor<?x2x1x1xf32>
  %3 = nn.sqrt %2 : (tensor<?x2x1x1xf32>) -> tensor<?x2x1x1xf32>
  %4 = nn.div %d, %3 : (tensor<?x2x?x?xf32>, tensor<?x2x1x1xf32>) -> tensor<?x2x?x?xf32>
  %5 = nn.mul %4, %s : (tensor<?x2x?x?xf32>, tensor<2x1x1xf32>) -> tensor<?x2x?x?xf32>
  return %5 : tensor<?x2x?x?xf32>
}
