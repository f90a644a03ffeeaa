// A block of RepVGG, normalizations folded: 3x3 + 1x1 + scaled identity is one 3x3. The 1x1 (5) and the scale (2)
// come to the middle tap, the biases add up.
// RUN: nnopt-opt %s --merge-parallel-convs | FileCheck %s

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32> {
  // CHECK-DAG: %[[W:.*]] = nn.constant dense<{{.*}}1.000000e+00, 2.000000e+00, 3.000000e+00], [4.000000e+00, 1.200000e+01, 6.000000e+00], [7.000000e+00, 8.000000e+00, 9.000000e+00]{{.*}}> : tensor<1x1x3x3xf32>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<1.500000e+01> : tensor<1xf32>
  // CHECK: %[[Y:.*]] = nn.conv %arg0, %[[W]] bias %[[B]] {{.*}}pads = array<i64: 1, 1, 1, 1>
  // CHECK-NEXT: return %[[Y]]
  %w3 = nn.constant dense<[[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]]> : tensor<1x1x3x3xf32>
  %w1 = nn.constant dense<5.0> : tensor<1x1x1x1xf32>
  %b3 = nn.constant dense<10.0> : tensor<1xf32>
  %b1 = nn.constant dense<2.0> : tensor<1xf32>
  %s = nn.constant dense<2.0> : tensor<1x1x1xf32>
  %t = nn.constant dense<3.0> : tensor<1x1x1xf32>
  %0 = nn.conv %x, %w3 bias %b3 {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<1x1x8x8xf32>, tensor<1x1x3x3xf32>, tensor<1xf32>) -> tensor<1x1x8x8xf32>
  %1 = nn.conv %x, %w1 bias %b1 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<1x1x8x8xf32>, tensor<1x1x1x1xf32>, tensor<1xf32>) -> tensor<1x1x8x8xf32>
  %2 = nn.mul %x, %s : (tensor<1x1x8x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8x8xf32>
  %3 = nn.add %2, %t : (tensor<1x1x8x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8x8xf32>
  %4 = nn.add %0, %1 : (tensor<1x1x8x8xf32>, tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32>
  %5 = nn.add %4, %3 : (tensor<1x1x8x8xf32>, tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32>
  return %5 : tensor<1x1x8x8xf32>
}
