// RUN: nnopt-opt %s --reorder-resampling --split-input-file | FileCheck %s

// The transition of DenseNet: the mean first, a quarter of the multiply-adds.
// CHECK-LABEL: func @transition
func.func @transition(%x: tensor<1x8x6x6xf32>, %w: tensor<4x8x1x1xf32>, %b: tensor<4xf32>) -> tensor<1x4x3x3xf32> {
  // CHECK-NEXT: %[[P:.*]] = nn.avg_pool %arg0 {{.*}} -> tensor<1x8x3x3xf32>
  // CHECK-NEXT: nn.conv %[[P]], %arg1 bias %arg2
  %0 = nn.conv %x, %w bias %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x8x6x6xf32>, tensor<4x8x1x1xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
  %1 = nn.avg_pool %0 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  return %1 : tensor<1x4x3x3xf32>
}

// -----

// The lateral convolution of a feature pyramid, and what is elementwise behind it, before the image grows.
// CHECK-LABEL: func @pyramid
func.func @pyramid(%x: tensor<1x8x6x6xf32>, %w: tensor<4x8x1x1xf32>) -> tensor<1x4x12x12xf32> {
  // CHECK: %[[C:.*]] = nn.conv %arg0, %arg1 {{.*}} -> tensor<1x4x6x6xf32>
  // CHECK: %[[R:.*]] = nn.relu %[[C]]
  // CHECK: nn.resize %[[R]]
  %s = nn.constant dense<[1.0, 1.0, 2.0, 2.0]> : tensor<4xf32>
  %0 = nn.resize %x, %s {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.resize_mode<nearest>, coordinates = #nn.coordinate_mode<asymmetric>, nearest = #nn.nearest_mode<floor>, cubic_coeff_a = -0.75 : f64} : (tensor<1x8x6x6xf32>, tensor<4xf32>) -> tensor<1x8x12x12xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x8x12x12xf32>, tensor<4x8x1x1xf32>) -> tensor<1x4x12x12xf32>
  %2 = nn.relu %1 : (tensor<1x4x12x12xf32>) -> tensor<1x4x12x12xf32>
  return %2 : tensor<1x4x12x12xf32>
}

// -----

// A convolution of repeated elements, 3 + 2 - 1 = 4 taps of which each position sees 2.
// CHECK-LABEL: func @decoder
func.func @decoder(%x: tensor<1x1x4x4xf32>) -> tensor<1x1x4x8xf32> {
  // CHECK: %[[W:.*]] = nn.constant dense<{{\[\[\[\[}}4.000000e+00, 6.000000e+00, 3.000000e+00, 1.000000e+00]]]]> : tensor<1x1x1x4xf32>
  // CHECK: nn.conv_transpose %arg0, %[[W]] {{.*}}pads = array<i64: 0, 1, 0, 1>{{.*}}strides = array<i64: 1, 2>
  // CHECK-NOT: nn.resize
  %s = nn.constant dense<[1.0, 1.0, 1.0, 2.0]> : tensor<4xf32>
  %w = nn.constant dense<[[[[1.0, 2.0, 4.0]]]]> : tensor<1x1x1x3xf32>
  %0 = nn.resize %x, %s {operandSegmentSizes = array<i32: 1, 1, 0, 0>, mode = #nn.resize_mode<nearest>, coordinates = #nn.coordinate_mode<asymmetric>, nearest = #nn.nearest_mode<floor>, cubic_coeff_a = -0.75 : f64} : (tensor<1x1x4x4xf32>, tensor<4xf32>) -> tensor<1x1x4x8xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x8xf32>, tensor<1x1x1x3xf32>) -> tensor<1x1x4x8xf32>
  return %1 : tensor<1x1x4x8xf32>
}

// -----

// A relu behind a maximum joins the convolution; one without a convolution has fewer elements behind it.
// CHECK-LABEL: func @maximum
func.func @maximum(%x: tensor<1x8x6x6xf32>, %w: tensor<4x8x1x1xf32>) -> (tensor<1x4x3x3xf32>, tensor<1x8x3x3xf32>) {
  // CHECK: %[[C:.*]] = nn.conv
  // CHECK-NEXT: %[[R:.*]] = nn.relu %[[C]]
  // CHECK-NEXT: nn.max_pool %[[R]]
  // CHECK-NEXT: %[[M:.*]] = nn.max_pool %arg0
  // CHECK-NEXT: nn.relu %[[M]]
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x8x6x6xf32>, tensor<4x8x1x1xf32>) -> tensor<1x4x6x6xf32>
  %1 = nn.max_pool %0 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  %2 = nn.relu %1 : (tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  %3 = nn.relu %x : (tensor<1x8x6x6xf32>) -> tensor<1x8x6x6xf32>
  %4 = nn.max_pool %3 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x8x6x6xf32>) -> tensor<1x8x3x3xf32>
  return %2, %4 : tensor<1x4x3x3xf32>, tensor<1x8x3x3xf32>
}

// -----

// CHECK-LABEL: func @whole
func.func @whole(%x: tensor<?x8x2x2xf32>) -> tensor<?x8x1x1xf32> {
  // CHECK: nn.reduce %arg0 {axes = array<i64: 2, 3>, keep_dims = true, kind = #nn.reduce_kind<mean>}
  %0 = nn.avg_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<?x8x2x2xf32>) -> tensor<?x8x1x1xf32>
  return %0 : tensor<?x8x1x1xf32>
}
