// RUN: nnopt-opt --remove-dead-channels %s | FileCheck %s

// Channel 1 of the sum is 0 in both summands: it goes in both layers before and in the layer behind.
// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<2x2x5x5xf32>) -> tensor<2x1x5x5xf32> {
  %v = nn.constant dense<[[[[1.0]],[[2.0]]],[[[0.0]],[[0.0]]],[[[3.0]],[[4.0]]]]> : tensor<3x2x1x1xf32>
  %w = nn.constant dense<[[[[5.0]],[[6.0]]],[[[0.0]],[[0.0]]],[[[7.0]],[[8.0]]]]> : tensor<3x2x1x1xf32>
  %b = nn.constant dense<[1.0, 0.0, 3.0]> : tensor<3xf32>
  %u = nn.constant dense<[[[[1.0]],[[2.0]],[[3.0]]]]> : tensor<1x3x1x1xf32>
  // CHECK: nn.constant dense<[1.000000e+00, 3.000000e+00]> : tensor<2xf32>
  // CHECK: nn.conv {{.*}} : (tensor<2x2x5x5xf32>, tensor<2x2x1x1xf32>, tensor<2xf32>) -> tensor<2x2x5x5xf32>
  %0 = nn.conv %x, %v bias %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<2x2x5x5xf32>, tensor<3x2x1x1xf32>, tensor<3xf32>) -> tensor<2x3x5x5xf32>
  // CHECK: nn.conv {{.*}} : (tensor<2x2x5x5xf32>, tensor<2x2x1x1xf32>) -> tensor<2x2x5x5xf32>
  %1 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<2x2x5x5xf32>, tensor<3x2x1x1xf32>) -> tensor<2x3x5x5xf32>
  // CHECK: nn.add {{.*}} -> tensor<2x2x5x5xf32>
  %2 = nn.add %0, %1 : (tensor<2x3x5x5xf32>, tensor<2x3x5x5xf32>) -> tensor<2x3x5x5xf32>
  %3 = nn.relu %2 : (tensor<2x3x5x5xf32>) -> tensor<2x3x5x5xf32>
  // CHECK: nn.constant dense<{{.*}}1.000000e+00{{.*}}3.000000e+00{{.*}}> : tensor<1x2x1x1xf32>
  // CHECK: nn.conv {{.*}} : (tensor<2x2x5x5xf32>, tensor<1x2x1x1xf32>) -> tensor<2x1x5x5xf32>
  %4 = nn.conv %3, %u {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<2x3x5x5xf32>, tensor<1x3x1x1xf32>) -> tensor<2x1x5x5xf32>
  return %4 : tensor<2x1x5x5xf32>
}

// Neurons behind a gate: of number 0 all is read by a weight of 0; number 2 is 0; number 3 is sigmoid(0) * 2 = 1, and 3 of it
// go into the bias.
// CHECK-LABEL: func.func @neurons
func.func @neurons(%x: tensor<4x2xf32>) -> tensor<4x1xf32> {
  %gate = nn.constant dense<[[1.0, 2.0, 3.0, 0.0], [5.0, 6.0, 7.0, 0.0]]> : tensor<2x4xf32>
  %up = nn.constant dense<[[1.0, 2.0, 0.0, 0.0], [4.0, 5.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %two = nn.constant dense<[0.0, 0.0, 0.0, 2.0]> : tensor<4xf32>
  %down = nn.constant dense<[[0.0], [1.0], [2.0], [3.0]]> : tensor<4x1xf32>
  %bias = nn.constant dense<10.0> : tensor<1xf32>
  // CHECK: nn.constant dense<{{\[}}[2.000000e+00], [6.000000e+00]]> : tensor<2x1xf32>
  %0 = nn.matmul %x, %gate : (tensor<4x2xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  // CHECK: nn.sigmoid {{.*}} -> tensor<4x1xf32>
  %1 = nn.sigmoid %0 : (tensor<4x4xf32>) -> tensor<4x4xf32>
  // CHECK: nn.constant dense<{{\[}}[2.000000e+00], [5.000000e+00]]> : tensor<2x1xf32>
  %2 = nn.matmul %x, %up bias %two : (tensor<4x2xf32>, tensor<2x4xf32>, tensor<4xf32>) -> tensor<4x4xf32>
  %3 = nn.mul %1, %2 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  // CHECK: nn.constant dense<1.300000e+01> : tensor<1xf32>
  // CHECK: nn.matmul {{.*}} : (tensor<4x1xf32>, tensor<1x1xf32>, tensor<1xf32>) -> tensor<4x1xf32>
  %4 = nn.matmul %3, %down bias %bias : (tensor<4x4xf32>, tensor<4x1xf32>, tensor<1xf32>) -> tensor<4x1xf32>
  return %4 : tensor<4x1xf32>
}
