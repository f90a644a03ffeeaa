// A 1x1 and a 3x3 convolution behind it are one 3x3: 2 * 3 in each tap and channel, b = 3 taps * 3 * 3 + 1.
// RUN: nnopt-opt %s --merge-sequential-linear | FileCheck %s

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<1x1x8xf32>) -> tensor<1x1x6xf32> {
  // CHECK-DAG: %[[W:.*]] = nn.constant dense<6.000000e+00> : tensor<1x1x3xf32>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<2.800000e+01> : tensor<1xf32>
  // CHECK: %[[Y:.*]] = nn.conv %arg0, %[[W]] bias %[[B]]
  // CHECK-NEXT: return %[[Y]]
  %w1 = nn.constant dense<2.0> : tensor<1x1x1xf32>
  %b1 = nn.constant dense<3.0> : tensor<1xf32>
  %w2 = nn.constant dense<3.0> : tensor<1x1x3xf32>
  %b2 = nn.constant dense<1.0> : tensor<1xf32>
  %0 = nn.conv %x, %w1 bias %b1 {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  %1 = nn.conv %0, %w2 bias %b2 {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x3xf32>, tensor<1xf32>) -> tensor<1x1x6xf32>
  return %1 : tensor<1x1x6xf32>
}
