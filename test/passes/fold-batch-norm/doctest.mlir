// Batch normalization after a convolution goes into its weights: with scale 3, variance 4, mean 1, bias 5
// and epsilon 0, s = 3 / 2, so weights [2, 4] become [3, 6] and the bias 7 becomes 1.5 * 7 + 5 - 1.5 * 1.
// RUN: nnopt-opt %s --fold-batch-norm --canonicalize | FileCheck %s

// CHECK-LABEL: func @conv
func.func @conv(%x: tensor<1x2x8x8xf32>) -> tensor<1x1x8x8xf32> {
  // CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[\[}}{{\[\[}}3.000000e+00]], {{\[\[}}6.000000e+00]]]]> : tensor<1x2x1x1xf32>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<1.400000e+01> : tensor<1xf32>
  // CHECK: nn.conv %{{.*}}, %[[W]] bias %[[B]]
  // CHECK-NOT: nn.batch_norm
  %w = nn.constant dense<[[[[2.0]], [[4.0]]]]> : tensor<1x2x1x1xf32>
  %b = nn.constant dense<7.0> : tensor<1xf32>
  %scale = nn.constant dense<3.0> : tensor<1xf32>
  %bias = nn.constant dense<5.0> : tensor<1xf32>
  %mean = nn.constant dense<1.0> : tensor<1xf32>
  %variance = nn.constant dense<4.0> : tensor<1xf32>
  %y = nn.conv %x, %w bias %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<1x2x8x8xf32>, tensor<1x2x1x1xf32>, tensor<1xf32>) -> tensor<1x1x8x8xf32>
  %z = nn.batch_norm %y, %scale, %bias, %mean, %variance {epsilon = 0.0 : f64} : (tensor<1x1x8x8xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8x8xf32>
  return %z : tensor<1x1x8x8xf32>
}

// The weights of a transposed convolution are [C, M / group, ...]: of two groups, rows 0 and 1 make output
// channels 0 and 1.
// CHECK-LABEL: func @conv_transpose
func.func @conv_transpose(%x: tensor<1x2x8xf32>) -> tensor<1x2x8xf32> {
  // CHECK: nn.constant dense<{{\[\[}}[2.000000e+00]], {{\[\[}}3.000000e+00]]]> : tensor<2x1x1xf32>
  // CHECK: nn.conv_transpose
  // CHECK-NOT: nn.batch_norm
  %w = nn.constant dense<1.0> : tensor<2x1x1xf32>
  %scale = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %zero = nn.constant dense<0.0> : tensor<2xf32>
  %one = nn.constant dense<1.0> : tensor<2xf32>
  %y = nn.conv_transpose %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>,
    output_padding = array<i64: 0>, group = 2 : i64} : (tensor<1x2x8xf32>, tensor<2x1x1xf32>) -> tensor<1x2x8xf32>
  %z = nn.batch_norm %y, %scale, %zero, %zero, %one {epsilon = 0.0 : f64} : (tensor<1x2x8xf32>, tensor<2xf32>,
    tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %z : tensor<1x2x8xf32>
}

// After a matrix product the columns of the weights are scaled, rows where they are transposed.
// CHECK-LABEL: func @matmul
func.func @matmul(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  // CHECK: nn.constant dense<{{\[\[}}2.000000e+00, 4.000000e+00], [9.000000e+00, 1.200000e+01]]>
  // CHECK: nn.matmul %{{.*}} {transpose_b}
  // CHECK-NOT: nn.batch_norm
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %scale = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %zero = nn.constant dense<0.0> : tensor<2xf32>
  %one = nn.constant dense<1.0> : tensor<2xf32>
  %y = nn.matmul %x, %w {transpose_b} : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %z = nn.batch_norm %y, %scale, %zero, %zero, %one {epsilon = 0.0 : f64} : (tensor<?x2xf32>, tensor<2xf32>,
    tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %z : tensor<?x2xf32>
}

// Alone it is a multiplication and an addition: s = 3 / 2, t = 5 - s * 1.
// CHECK-LABEL: func @alone
func.func @alone(%x: tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32> {
  // CHECK-DAG: %[[S:.*]] = nn.constant dense<1.500000e+00> : tensor<1x1x1xf32>
  // CHECK-DAG: %[[T:.*]] = nn.constant dense<3.500000e+00> : tensor<1x1x1xf32>
  // CHECK: %[[Y:.*]] = nn.mul %{{.*}}, %[[S]]
  // CHECK: nn.add %[[Y]], %[[T]]
  %scale = nn.constant dense<3.0> : tensor<1xf32>
  %bias = nn.constant dense<5.0> : tensor<1xf32>
  %mean = nn.constant dense<1.0> : tensor<1xf32>
  %variance = nn.constant dense<4.0> : tensor<1xf32>
  %z = nn.batch_norm %x, %scale, %bias, %mean, %variance {epsilon = 0.0 : f64} : (tensor<1x1x8x8xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8x8xf32>
  return %z : tensor<1x1x8x8xf32>
}
