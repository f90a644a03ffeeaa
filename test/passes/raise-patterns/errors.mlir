// Near misses: another function in each case.
// RUN: nnopt-opt %s --raise-patterns --split-input-file | FileCheck %s

// 0.4 instead of 0.5.
// CHECK-LABEL: func @gelu_factor
// CHECK-NOT: nn.gelu
func.func @gelu_factor(%x: tensor<4xf32>) -> tensor<4xf32> {
  %sqrt2 = nn.constant dense<1.41421354> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %half = nn.constant dense<0.4> : tensor<f32>
  %0 = nn.div %x, %sqrt2 : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %1 = nn.erf %0 : (tensor<4xf32>) -> tensor<4xf32>
  %2 = nn.add %1, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %3 = nn.mul %x, %2 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %4 = nn.mul %3, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  return %4 : tensor<4xf32>
}

// -----

// The sigmoid of another value.
// CHECK-LABEL: func @gate
// CHECK-NOT: nn.silu
func.func @gate(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.sigmoid %y : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.mul %0, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// Clipped to 0..5.
// CHECK-LABEL: func @clip
// CHECK-NOT: nn.hard_swish
func.func @clip(%x: tensor<4xf32>) -> tensor<4xf32> {
  %three = nn.constant dense<3.0> : tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %five = nn.constant dense<5.0> : tensor<f32>
  %six = nn.constant dense<6.0> : tensor<f32>
  %0 = nn.add %x, %three : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %1 = nn.clip %0, %zero, %five : (tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<4xf32>
  %2 = nn.mul %x, %1 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %3 = nn.div %2, %six : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  return %3 : tensor<4xf32>
}

// -----

// The mean square of the values, not of their differences from the mean.
// CHECK-LABEL: func @no_layer_norm
// CHECK-NOT: nn.layer_norm
// CHECK-NOT: nn.rms_norm
func.func @no_layer_norm(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %eps = nn.constant dense<1.0e-5> : tensor<f32>
  %0 = nn.reduce %x {kind = #nn.reduce_kind<mean>, axes = array<i64: 1>, keep_dims = true} : (tensor<2x4xf32>) -> tensor<2x1xf32>
  %1 = nn.sub %x, %0 : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32>
  %2 = nn.mul %x, %x : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %3 = nn.reduce %2 {kind = #nn.reduce_kind<mean>, axes = array<i64: 1>, keep_dims = true} : (tensor<2x4xf32>) -> tensor<2x1xf32>
  %4 = nn.add %3, %eps : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %5 = nn.sqrt %4 : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %6 = nn.div %1, %5 : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32>
  return %6 : tensor<2x4xf32>
}

// -----

// Over dimension 0, which is not the last.
// CHECK-LABEL: func @first_dimension
// CHECK-NOT: nn.rms_norm
func.func @first_dimension(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %eps = nn.constant dense<1.0e-5> : tensor<f32>
  %0 = nn.mul %x, %x : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = nn.reduce %0 {kind = #nn.reduce_kind<mean>, axes = array<i64: 0>, keep_dims = true} : (tensor<2x4xf32>) -> tensor<1x4xf32>
  %2 = nn.add %1, %eps : (tensor<1x4xf32>, tensor<f32>) -> tensor<1x4xf32>
  %3 = nn.sqrt %2 : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %4 = nn.div %x, %3 : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
  return %4 : tensor<2x4xf32>
}

// -----

// The sum runs along another dimension.
// CHECK-LABEL: func @no_softmax
// CHECK-NOT: nn.softmax
func.func @no_softmax(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %0 = nn.reduce %x {kind = #nn.reduce_kind<max>, axes = array<i64: 1>, keep_dims = true} : (tensor<2x4xf32>) -> tensor<2x1xf32>
  %1 = nn.sub %x, %0 : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32>
  %2 = nn.exp %1 : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %3 = nn.reduce %2 {kind = #nn.reduce_kind<sum>, axes = array<i64: 0, 1>, keep_dims = true} : (tensor<2x4xf32>) -> tensor<1x1xf32>
  %4 = nn.div %2, %3 : (tensor<2x4xf32>, tensor<1x1xf32>) -> tensor<2x4xf32>
  return %4 : tensor<2x4xf32>
}

// -----

// Twice the shift: not log(1 + e^x).
// CHECK-LABEL: func @softplus_of_two
// CHECK-NOT: nn.softplus
func.func @softplus_of_two(%x: tensor<4xf32>) -> tensor<4xf32> {
  %two = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.add %0, %two : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %2 = nn.log %1 : (tensor<4xf32>) -> tensor<4xf32>
  return %2 : tensor<4xf32>
}

// -----

// The groups run over half an image and half a batch.
// CHECK-LABEL: func @groups_across_images
// CHECK: num_groups = 2
// CHECK: nn.reshape
func.func @groups_across_images(%x: tensor<4x4x6xf32>) -> tensor<4x4x6xf32> {
  %a = nn.constant dense<[2, 2, 24]> : tensor<3xi64>
  %b = nn.constant dense<[4, 4, 6]> : tensor<3xi64>
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %zeros = nn.constant dense<0.0> : tensor<2xf32>
  %0 = nn.reshape %x, %a : (tensor<4x4x6xf32>, tensor<3xi64>) -> tensor<2x2x24xf32>
  %1 = nn.group_norm %0, %ones, %zeros {num_groups = 2 : i64, epsilon = 1.0e-5 : f64} : (tensor<2x2x24xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<2x2x24xf32>
  %2 = nn.reshape %1, %b : (tensor<2x2x24xf32>, tensor<3xi64>) -> tensor<4x4x6xf32>
  return %2 : tensor<4x4x6xf32>
}

// -----

// Rows and columns of a block exchanged.
// CHECK-LABEL: func @transposed_blocks
// CHECK-NOT: nn.depth_to_space
func.func @transposed_blocks(%x: tensor<1x12x4x5xf32>) -> tensor<1x3x8x10xf32> {
  %a = nn.constant dense<[1, 3, 2, 2, 4, 5]> : tensor<6xi64>
  %b = nn.constant dense<[1, 3, 8, 10]> : tensor<4xi64>
  %0 = nn.reshape %x, %a : (tensor<1x12x4x5xf32>, tensor<6xi64>) -> tensor<1x3x2x2x4x5xf32>
  %1 = nn.transpose %0 {perm = array<i64: 0, 1, 4, 3, 5, 2>} : (tensor<1x3x2x2x4x5xf32>) -> tensor<1x3x4x2x5x2xf32>
  %2 = nn.reshape %1, %b : (tensor<1x3x4x2x5x2xf32>, tensor<4xi64>) -> tensor<1x3x8x10xf32>
  return %2 : tensor<1x3x8x10xf32>
}
