// How removal passes through operations: offsets, heads, groups, windows, positions.
// RUN: nnopt-opt %s --remove-dead-channels --split-input-file | FileCheck %s

// Channel 0 of %0 is read by nobody, channel 0 of %1 is 0: of the concatenation channels 1 and 3 are left, the slice that took
// 1 and 2 takes the first of these, and the gather that took 3 and 2 the second.
// CHECK-LABEL: func @parts
func.func @parts(%x: tensor<3x1xf32>) -> (tensor<3x1xf32>, tensor<3x1xf32>) {
  %v = nn.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %w = nn.constant dense<[[0.0, 3.0]]> : tensor<1x2xf32>
  %start = nn.constant dense<1> : tensor<1xi64>
  %end = nn.constant dense<3> : tensor<1xi64>
  %axis = nn.constant dense<1> : tensor<1xi64>
  %swap = nn.constant dense<[3, 2]> : tensor<2xi64>
  %u = nn.constant dense<[[4.0], [5.0]]> : tensor<2x1xf32>
  // CHECK: nn.constant dense<2.000000e+00> : tensor<1x1xf32>
  // CHECK: nn.matmul {{.*}} -> tensor<3x1xf32>
  %0 = nn.matmul %x, %v : (tensor<3x1xf32>, tensor<1x2xf32>) -> tensor<3x2xf32>
  // CHECK: nn.matmul {{.*}} -> tensor<3x1xf32>
  %1 = nn.matmul %x, %w : (tensor<3x1xf32>, tensor<1x2xf32>) -> tensor<3x2xf32>
  // CHECK: nn.concat {{.*}} -> tensor<3x2xf32>
  // CHECK: %[[FROM:.*]] = nn.constant dense<0> : tensor<1xi64>
  // CHECK: %[[TO:.*]] = nn.constant dense<1> : tensor<1xi64>
  %2 = nn.concat %0, %1 {axis = 1 : i64} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x4xf32>
  // CHECK: nn.slice {{.*}}[%[[FROM]] : %[[TO]] axes {{.*}} -> tensor<3x1xf32>
  // CHECK: %[[AT:.*]] = nn.constant dense<1> : tensor<1xi64>
  %3 = nn.slice %2[%start : %end axes %axis] : (tensor<3x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3x2xf32>
  // CHECK: nn.gather {{.*}}, %[[AT]] {{.*}} -> tensor<3x1xf32>
  %4 = nn.gather %2, %swap {axis = 1 : i64} : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<3x2xf32>
  %5 = nn.matmul %3, %u : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  %6 = nn.matmul %4, %u : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %5, %6 : tensor<3x1xf32>, tensor<3x1xf32>
}

// -----

// Grouped queries: key head 1 serves query heads 2 and 3; its values are 0.
// CHECK-LABEL: func @heads
func.func @heads(%x: tensor<1x3x2xf32>) -> tensor<1x3x1xf32> {
  %wq = nn.constant dense<1.0> : tensor<2x4xf32>
  %wk = nn.constant dense<1.0> : tensor<2x2xf32>
  %wv = nn.constant dense<[[1.0, 0.0], [2.0, 0.0]]> : tensor<2x2xf32>
  %wo = nn.constant dense<[[1.0], [2.0], [3.0], [4.0]]> : tensor<4x1xf32>
  %four = nn.constant dense<[0, 0, 4, 1]> : tensor<4xi64>
  %two = nn.constant dense<[0, 0, 2, 1]> : tensor<4xi64>
  %merged = nn.constant dense<[0, 0, 4]> : tensor<3xi64>
  %q0 = nn.matmul %x, %wq : (tensor<1x3x2xf32>, tensor<2x4xf32>) -> tensor<1x3x4xf32>
  %k0 = nn.matmul %x, %wk : (tensor<1x3x2xf32>, tensor<2x2xf32>) -> tensor<1x3x2xf32>
  %v0 = nn.matmul %x, %wv : (tensor<1x3x2xf32>, tensor<2x2xf32>) -> tensor<1x3x2xf32>
  %q1 = nn.reshape %q0, %four : (tensor<1x3x4xf32>, tensor<4xi64>) -> tensor<1x3x4x1xf32>
  %k1 = nn.reshape %k0, %two : (tensor<1x3x2xf32>, tensor<4xi64>) -> tensor<1x3x2x1xf32>
  %v1 = nn.reshape %v0, %two : (tensor<1x3x2xf32>, tensor<4xi64>) -> tensor<1x3x2x1xf32>
  %q = nn.transpose %q1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x3x4x1xf32>) -> tensor<1x4x3x1xf32>
  %k = nn.transpose %k1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x1xf32>) -> tensor<1x2x3x1xf32>
  %v = nn.transpose %v1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x1xf32>) -> tensor<1x2x3x1xf32>
  // CHECK: nn.attention {{.*}} : (tensor<1x2x3x1xf32>, tensor<1x1x3x1xf32>, tensor<1x1x3x1xf32>) -> tensor<1x2x3x1xf32>
  %a = nn.attention %q, %k, %v {scale = 1.0 : f64} : (tensor<1x4x3x1xf32>, tensor<1x2x3x1xf32>, tensor<1x2x3x1xf32>) -> tensor<1x4x3x1xf32>
  %b = nn.transpose %a {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x3x1xf32>) -> tensor<1x3x4x1xf32>
  %c = nn.reshape %b, %merged : (tensor<1x3x4x1xf32>, tensor<3xi64>) -> tensor<1x3x4xf32>
  // CHECK: nn.constant dense<{{\[}}[1.000000e+00], [2.000000e+00]]> : tensor<2x1xf32>
  // CHECK: nn.matmul {{.*}} : (tensor<1x3x2xf32>, tensor<2x1xf32>) -> tensor<1x3x1xf32>
  %d = nn.matmul %c, %wo : (tensor<1x3x4xf32>, tensor<4x1xf32>) -> tensor<1x3x1xf32>
  return %d : tensor<1x3x1xf32>
}

// -----

// A depthwise convolution loses a group with the channel, and the flattened image a block of positions.
// CHECK-LABEL: func @depthwise
func.func @depthwise(%x: tensor<1x1x2x2xf32>) -> tensor<1x1xf32> {
  %w = nn.constant dense<[[[[1.0]]],[[[0.0]]],[[[3.0]]]]> : tensor<3x1x1x1xf32>
  %d = nn.constant dense<2.0> : tensor<3x1x3x3xf32>
  %v = nn.constant dense<1.0> : tensor<12x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x2x2xf32>, tensor<3x1x1x1xf32>) -> tensor<1x3x2x2xf32>
  // CHECK: nn.conv {{.*}}group = 2 : i64{{.*}} : (tensor<1x2x2x2xf32>, tensor<2x1x3x3xf32>) -> tensor<1x2x2x2xf32>
  %1 = nn.conv %0, %d {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 3 : i64} : (tensor<1x3x2x2xf32>, tensor<3x1x3x3xf32>) -> tensor<1x3x2x2xf32>
  // CHECK: nn.flatten {{.*}} -> tensor<1x8xf32>
  %2 = nn.flatten %1 {axis = 1 : i64} : (tensor<1x3x2x2xf32>) -> tensor<1x12xf32>
  // CHECK: tensor<8x1xf32>
  %3 = nn.matmul %2, %v : (tensor<1x12xf32>, tensor<12x1xf32>) -> tensor<1x1xf32>
  return %3 : tensor<1x1xf32>
}

// -----

// sum / 2 + e of two elements, one of which is 0, is half of sum + 2 e: the scale takes sqrt(2), e becomes 2 e.
// CHECK-LABEL: func @rms_norm
func.func @rms_norm(%x: tensor<3x1xf32>) -> tensor<3x1xf32> {
  %w = nn.constant dense<[[1.0, 0.0]]> : tensor<1x2xf32>
  %s = nn.constant dense<[3.0, 5.0]> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2x1xf32>
  %0 = nn.matmul %x, %w : (tensor<3x1xf32>, tensor<1x2xf32>) -> tensor<3x2xf32>
  // CHECK: nn.constant dense<4.24264{{.*}}> : tensor<1xf32>
  // CHECK: nn.rms_norm {{.*}}epsilon = 5.000000e-01
  %1 = nn.rms_norm %0, %s {axis = 1 : i64, epsilon = 0.25 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %2 = nn.matmul %1, %v : (tensor<3x2xf32>, tensor<2x1xf32>) -> tensor<3x1xf32>
  return %2 : tensor<3x1xf32>
}
