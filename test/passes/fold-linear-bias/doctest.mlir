// 2 * (W x + b) + t: the weights are scaled, the bias becomes 2 b + t.
// RUN: nnopt-opt %s --fold-linear-bias --canonicalize | FileCheck %s

// CHECK-LABEL: func @matmul
func.func @matmul(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  // CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[\[}}2.000000e+00, 4.000000e+00], [6.000000e+00, 8.000000e+00]]>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<[1.200000e+01, 1.500000e+01]>
  // CHECK: %[[Y:.*]] = nn.matmul %{{.*}}, %[[W]] bias %[[B]]
  // CHECK-NEXT: return %[[Y]]
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %two = nn.constant dense<2.0> : tensor<f32>
  %t = nn.constant dense<[[10.0, 11.0]]> : tensor<1x2xf32>
  %0 = nn.matmul %x, %w bias %b : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %1 = nn.mul %two, %0 : (tensor<f32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = nn.add %1, %t : (tensor<?x2xf32>, tensor<1x2xf32>) -> tensor<?x2xf32>
  return %2 : tensor<?x2xf32>
}

// t - (W x) / 2 for each output channel of a depthwise convolution.
// CHECK-LABEL: func @conv
func.func @conv(%x: tensor<1x2x8xf32>) -> tensor<1x2x8xf32> {
  // CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[\[}}[-5.000000e-01]], {{\[\[}}-1.000000e+00]]]>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<[3.000000e+00, 4.000000e+00]>
  // CHECK: %[[Y:.*]] = nn.conv %{{.*}}, %[[W]] bias %[[B]]
  // CHECK-NEXT: return %[[Y]]
  %w = nn.constant dense<[[[1.0]], [[2.0]]]> : tensor<2x1x1xf32>
  %two = nn.constant dense<2.0> : tensor<1x1x1xf32>
  %t = nn.constant dense<[[3.0], [4.0]]> : tensor<2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 2 : i64}
    : (tensor<1x2x8xf32>, tensor<2x1x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.div %0, %two : (tensor<1x2x8xf32>, tensor<1x1x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.sub %t, %1 : (tensor<2x1xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// A shift needs no constant weights.
// CHECK-LABEL: func @scores
func.func @scores(%q: tensor<4x2xf32>, %k: tensor<2x3xf32>) -> tensor<4x3xf32> {
  // CHECK: %[[Y:.*]] = nn.matmul %{{.*}}, %{{.*}} bias
  // CHECK-NEXT: return %[[Y]]
  %t = nn.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %0 = nn.matmul %q, %k : (tensor<4x2xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
  %1 = nn.add %0, %t : (tensor<4x3xf32>, tensor<3xf32>) -> tensor<4x3xf32>
  return %1 : tensor<4x3xf32>
}

// The scale of attention, applied to both operands, becomes one factor of the scores.
// CHECK-LABEL: func @attention
func.func @attention(%q: tensor<4x8xf32>, %k: tensor<6x8xf32>) -> tensor<4x6xf32> {
  // CHECK-DAG: %[[S:.*]] = nn.constant dense<2.500000e-01> : tensor<f32>
  // CHECK-DAG: %[[T:.*]] = nn.transpose %arg1
  // CHECK: %[[Y:.*]] = nn.matmul %arg0, %[[T]]
  // CHECK: nn.mul %[[Y]], %[[S]]
  %half = nn.constant dense<0.5> : tensor<1xf32>
  %two = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.mul %q, %half : (tensor<4x8xf32>, tensor<1xf32>) -> tensor<4x8xf32>
  %1 = nn.div %k, %two : (tensor<6x8xf32>, tensor<f32>) -> tensor<6x8xf32>
  %2 = nn.transpose %1 {perm = array<i64: 1, 0>} : (tensor<6x8xf32>) -> tensor<8x6xf32>
  %3 = nn.matmul %0, %2 : (tensor<4x8xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
  return %3 : tensor<4x6xf32>
}

// Pixels from 0 to 255: the weights of the first convolution take the factor.
// CHECK-LABEL: func @pixels
func.func @pixels(%x: tensor<1x1x8xf32>) -> tensor<1x1x8xf32> {
  // CHECK: %[[W:.*]] = nn.constant dense<5.000000e-01> : tensor<1x1x1xf32>
  // CHECK: nn.conv %arg0, %[[W]] bias
  %w = nn.constant dense<127.5> : tensor<1x1x1xf32>
  %b = nn.constant dense<1.0> : tensor<1xf32>
  %n = nn.constant dense<255.0> : tensor<f32>
  %0 = nn.div %x, %n : (tensor<1x1x8xf32>, tensor<f32>) -> tensor<1x1x8xf32>
  %1 = nn.conv %0, %w bias %b {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %1 : tensor<1x1x8xf32>
}

// A scale and a shift of the input channels: W (s x + t) + b = (W s) x + (b + W t).
// CHECK-LABEL: func @before
func.func @before(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  // CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[\[}}1.000000e+01], [4.000000e+01]]>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<1.110000e+02>
  // CHECK: %[[Y:.*]] = nn.matmul %arg0, %[[W]] bias %[[B]]
  // CHECK-NEXT: return %[[Y]]
  %w = nn.constant dense<[[5.0], [10.0]]> : tensor<2x1xf32>
  %b = nn.constant dense<1.0> : tensor<1xf32>
  %s = nn.constant dense<[2.0, 4.0]> : tensor<2xf32>
  %t = nn.constant dense<[6.0, 8.0]> : tensor<2xf32>
  %0 = nn.mul %x, %s : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %1 = nn.add %0, %t : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = nn.matmul %1, %w bias %b : (tensor<?x2xf32>, tensor<2x1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  return %2 : tensor<?x1xf32>
}
