// Channels between two convolutions are divided by powers of two where they are made, and multiplied where they are read.
// RUN: nnopt-opt --equalize-channels --split-input-file %s | FileCheck %s

// Channel 0: sqrt(16 / 1) = 4; channel 1: sqrt(1 / 16) = 1/4.
// CHECK-LABEL: func.func @relu
func.func @relu(%x: tensor<?x1x8x8xf32>) -> tensor<?x1x8x8xf32> {
  // CHECK-DAG: %[[W1:.*]] = nn.constant dense<4.000000e+00> : tensor<2x1x1x1xf32>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<[2.000000e+00, -4.000000e+00]> : tensor<2xf32>
  // CHECK: %[[C:.*]] = nn.conv %arg0, %[[W1]] bias %[[B]]
  // CHECK: %[[R:.*]] = nn.relu %[[C]]
  // CHECK: %[[W2:.*]] = nn.constant dense<4.000000e+00> : tensor<1x2x1x1xf32>
  // CHECK: nn.conv %[[R]], %[[W2]]
  %w1 = nn.constant dense<[[[[16.0]]], [[[1.0]]]]> : tensor<2x1x1x1xf32>
  %b = nn.constant dense<[8.0, -1.0]> : tensor<2xf32>
  %w2 = nn.constant dense<[[[[1.0]], [[16.0]]]]> : tensor<1x2x1x1xf32>
  %1 = nn.conv %x, %w1 bias %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<?x1x8x8xf32>, tensor<2x1x1x1xf32>, tensor<2xf32>) -> tensor<?x2x8x8xf32>
  %2 = nn.relu %1 : (tensor<?x2x8x8xf32>) -> tensor<?x2x8x8xf32>
  %3 = nn.conv %2, %w2 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<?x2x8x8xf32>, tensor<1x2x1x1xf32>) -> tensor<?x1x8x8xf32>
  return %3 : tensor<?x1x8x8xf32>
}

// -----

// All readers are scaled: the product with the gate, and behind a mean the layer that computes the gate.
// CHECK-LABEL: func.func @gate
func.func @gate(%x: tensor<?x1x8x8xf32>) -> tensor<?x2x8x8xf32> {
  // CHECK-DAG: nn.constant dense<8.000000e+00> : tensor<2x1x1x1xf32>
  // CHECK-DAG: nn.constant dense<{{\[\[\[\[}}4.000000e+00]], {{\[\[}}3.125000e-02]]], {{\[\[\[}}2.000000e+00]], {{\[\[}}6.250000e-02]]]]> : tensor<2x2x1x1xf32>
  // CHECK-DAG: nn.constant dense<{{\[\[\[\[}}8.000000e+00]], {{\[\[}}2.500000e-01]]], {{\[\[\[}}0.000000e+00]], {{\[\[}}8.000000e+00]]]]> : tensor<2x2x1x1xf32>
  %w1 = nn.constant dense<[[[[64.0]]], [[[1.0]]]]> : tensor<2x1x1x1xf32>
  %wg = nn.constant dense<[[[[0.5]], [[0.25]]], [[[0.25]], [[0.5]]]]> : tensor<2x2x1x1xf32>
  %w2 = nn.constant dense<[[[[1.0]], [[2.0]]], [[[0.0]], [[64.0]]]]> : tensor<2x2x1x1xf32>
  %1 = nn.conv %x, %w1 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<?x1x8x8xf32>, tensor<2x1x1x1xf32>) -> tensor<?x2x8x8xf32>
  %2 = nn.relu %1 : (tensor<?x2x8x8xf32>) -> tensor<?x2x8x8xf32>
  %3 = nn.reduce %2 {kind = #nn.reduce_kind<mean>, axes = array<i64: 2, 3>, keep_dims = true} : (tensor<?x2x8x8xf32>) -> tensor<?x2x1x1xf32>
  %4 = nn.conv %3, %wg {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<?x2x1x1xf32>, tensor<2x2x1x1xf32>) -> tensor<?x2x1x1xf32>
  %5 = nn.sigmoid %4 : (tensor<?x2x1x1xf32>) -> tensor<?x2x1x1xf32>
  %6 = nn.mul %2, %5 : (tensor<?x2x8x8xf32>, tensor<?x2x1x1xf32>) -> tensor<?x2x8x8xf32>
  %7 = nn.conv %6, %w2 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<?x2x8x8xf32>, tensor<2x2x1x1xf32>) -> tensor<?x2x8x8xf32>
  return %7 : tensor<?x2x8x8xf32>
}
