// Near misses, and the reason that is given.
// RUN: nnopt-opt %s --merge-parallel-convs --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// A branch that is also a result stays.
// CHECK-LABEL: func @other_user(
// CHECK: nn.conv
// CHECK: nn.conv
// CHECK: nn.add
func.func @other_user(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{its result has other users}}
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2, %0 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @used_by_a_relu(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @used_by_a_relu(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{its result has other users}}
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %3 = nn.relu %0 : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2, %3 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// An initializer that is a graph input may be overridden.
// CHECK-LABEL: func @weights_of_the_user(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @weights_of_the_user(%x: tensor<1x2x8xf32>, %w: tensor<2x2x3xf32>) -> (tensor<1x2x8xf32>) {
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{its weights are not constant}}
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @bias_of_the_user(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @bias_of_the_user(%x: tensor<1x2x8xf32>, %b: tensor<2xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{its bias is not constant}}
  %0 = nn.conv %x, %w bias %b {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @relu_between(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @relu_between(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{nn.relu is not linear}}
  %2 = nn.relu %0 : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %3 = nn.add %2, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @clip_between(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @clip_between(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  %lo = nn.constant dense<0.0> : tensor<f32>
  %hi = nn.constant dense<6.0> : tensor<f32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{nn.clip is not linear}}
  %2 = nn.clip %0, %lo, %hi : (tensor<1x2x8xf32>, tensor<f32>, tensor<f32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %3 = nn.add %2, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @max_pool(
// CHECK: nn.conv
// CHECK: nn.max_pool
func.func @max_pool(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{nn.max_pool is not linear}}
  %1 = nn.max_pool %x {kernel = array<i64: 3>, strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>} : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %3 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// Two values, two convolutions: nothing to say.
// CHECK-LABEL: func @other_input(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @other_input(%x: tensor<1x2x8xf32>, %z: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %z, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// The second convolution and the shortcut read different values.
// CHECK-LABEL: func @residual_block(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @residual_block(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.relu %0 : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %1, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %3 = nn.add %2, %x : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// ONNX averages over elements only, unless count_include_pad is set.
// CHECK-LABEL: func @pooling_divides_by_fewer(
// CHECK: nn.conv
// CHECK: nn.avg_pool
func.func @pooling_divides_by_fewer(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{it divides by fewer elements at the border}}
  %1 = nn.avg_pool %x {kernel = array<i64: 3>, strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>}
    : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %3 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @ceil_mode(
// CHECK: nn.conv
// CHECK: nn.avg_pool
func.func @ceil_mode(%x: tensor<1x2x8xf32>) -> (tensor<1x2x4xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 2>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x4xf32>
  // expected-remark @+1 {{its windows may go over the end}}
  %1 = nn.avg_pool %x {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, ceil_mode}
    : (tensor<1x2x8xf32>) -> tensor<1x2x4xf32>
  %3 = nn.add %0, %1 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  return %3 : tensor<1x2x4xf32>
}

// -----

// Equal sizes by chance, strides 2 and 1.
// CHECK-LABEL: func @strides(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @strides(%x: tensor<1x2x8xf32>) -> (tensor<1x2x4xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x2xf32>
  %v = nn.constant dense<1.0> : tensor<2x2x5xf32>
  // expected-remark @+1 {{its strides differ from those of the other branches}}
  %0 = nn.conv %x, %w {strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x2xf32>) -> tensor<1x2x4xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x5xf32>) -> tensor<1x2x4xf32>
  %2 = nn.add %0, %1 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  return %2 : tensor<1x2x4xf32>
}

// -----

// A dense 3x3 would cost more than depthwise 3x3 and 1x1.
// CHECK-LABEL: func @dense_and_depthwise(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @dense_and_depthwise(%x: tensor<1x4x8xf32>) -> (tensor<1x4x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<4x1x3xf32>
  %v = nn.constant dense<2.0> : tensor<4x4x1xf32>
  // expected-remark @+1 {{merged, 36 multiply-adds for each position become 48}}
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 4 : i64}
    : (tensor<1x4x8xf32>, tensor<4x1x3xf32>) -> tensor<1x4x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x4x8xf32>, tensor<4x4x1xf32>) -> tensor<1x4x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  return %2 : tensor<1x4x8xf32>
}

// -----

// Without a 5x5 beside them, row and column stay.
// CHECK-LABEL: func @row_and_column(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @row_and_column(%x: tensor<1x1x8x8xf32>) -> (tensor<1x1x8x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<1x1x1x5xf32>
  %v = nn.constant dense<1.0> : tensor<1x1x5x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 2, 0, 2>, dilations = array<i64: 1, 1>, group = 1 : i64}
    : (tensor<1x1x8x8xf32>, tensor<1x1x1x5xf32>) -> tensor<1x1x8x8xf32>
  // expected-remark @+1 {{merged, 12 multiply-adds for each position become 25}}
  %1 = nn.conv %x, %v {strides = array<i64: 1, 1>, pads = array<i64: 2, 0, 2, 0>, dilations = array<i64: 1, 1>, group = 1 : i64}
    : (tensor<1x1x8x8xf32>, tensor<1x1x5x1xf32>) -> tensor<1x1x8x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x1x8x8xf32>, tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32>
  return %2 : tensor<1x1x8x8xf32>
}

// -----

// Asymmetric padding moves the kernels apart.
// CHECK-LABEL: func @far_apart(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @far_apart(%x: tensor<1x1x16xf32>) -> (tensor<1x1x16xf32>) {
  %w = nn.constant dense<1.0> : tensor<1x1x2xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 7, 0>, dilations = array<i64: 7>, group = 1 : i64}
    : (tensor<1x1x16xf32>, tensor<1x1x2xf32>) -> tensor<1x1x16xf32>
  // expected-remark @+1 {{merged, 6 multiply-adds for each position become 9}}
  %1 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x16xf32>, tensor<1x1x2xf32>) -> tensor<1x1x16xf32>
  %2 = nn.add %0, %1 : (tensor<1x1x16xf32>, tensor<1x1x16xf32>) -> tensor<1x1x16xf32>
  return %2 : tensor<1x1x16xf32>
}

// -----

// The 1x1 gives its bias in the padding, the 3x3 behind it reads zeros there.
// CHECK-LABEL: func @bias_then_zeros(
// CHECK: nn.conv
// CHECK: nn.conv
// CHECK: nn.conv
func.func @bias_then_zeros(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  %b = nn.constant dense<1.0> : tensor<2xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v bias %b {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{padding between them does not hold what the first gives for zeros}}
  %2 = nn.conv %1, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %3 = nn.add %0, %2 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// Zeros between two 3x3 are not what the first would give there.
// CHECK-LABEL: func @windows_then_padding(
// CHECK: nn.conv
// CHECK: nn.conv
// CHECK: nn.conv
func.func @windows_then_padding(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{padding between them cuts windows of the first}}
  %3 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.add %3, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// Padding by 1.
// CHECK-LABEL: func @pad_value(
// CHECK: nn.conv
// CHECK: nn.pad
// CHECK: nn.conv
func.func @pad_value(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %p = nn.constant dense<[0, 0, 1, 0, 0, 1]> : tensor<6xi64>
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %2 = nn.pad %x, %p, %one {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<6xi64>, tensor<f32>) -> tensor<1x2x10xf32>
  // expected-remark @+1 {{padding between them does not hold what the first gives for zeros}}
  %4 = nn.conv %2, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x10xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %5 = nn.add %0, %4 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %5 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @reflected(
// CHECK: nn.conv
// CHECK: nn.pad
// CHECK: nn.conv
func.func @reflected(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %p = nn.constant dense<[0, 0, 1, 0, 0, 1]> : tensor<6xi64>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{its padding is not constant}}
  %2 = nn.pad %x, %p {mode = #nn.pad_mode<reflect>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x8xf32>, tensor<6xi64>) -> tensor<1x2x10xf32>
  %4 = nn.conv %2, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x10xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %5 = nn.add %0, %4 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %5 : tensor<1x2x8xf32>
}

// -----

// One branch is broadcast: it is not a sum of channels.
// CHECK-LABEL: func @broadcast(
// CHECK: nn.conv
// CHECK: nn.conv
// CHECK: nn.add
func.func @broadcast(%x: tensor<1x1x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x1x1xf32>
  %v = nn.constant dense<1.0> : tensor<1x1x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<2x1x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x1x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @transposed(
// CHECK: nn.conv
// CHECK: nn.conv_transpose
func.func @transposed(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{it is a transposed convolution}}
  %0 = nn.conv_transpose %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, output_padding = array<i64: 0>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// f16 would be rounded at another place.
// CHECK-LABEL: func @half(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @half(%x: tensor<1x2x8xf16>) -> (tensor<1x2x8xf16>) {
  %v = nn.constant dense<2.0> : tensor<2x2x1xf16>
  %0 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf16>, tensor<2x2x1xf16>) -> tensor<1x2x8xf16>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf16>, tensor<2x2x1xf16>) -> tensor<1x2x8xf16>
  %2 = nn.add %0, %1 : (tensor<1x2x8xf16>, tensor<1x2x8xf16>) -> tensor<1x2x8xf16>
  return %2 : tensor<1x2x8xf16>
}

// -----

// A scale and the identity make no convolution.
// CHECK-LABEL: func @only_maps(
// CHECK: nn.mul
// CHECK: nn.add
// CHECK-NOT: nn.conv
func.func @only_maps(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.mul %x, %s : (tensor<1x2x8xf32>, tensor<f32>) -> tensor<1x2x8xf32>
  %2 = nn.add %0, %x : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// A product of branches is no sum.
// CHECK-LABEL: func @gated(
// CHECK: nn.conv
// CHECK: nn.conv
// CHECK: nn.mul
func.func @gated(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.mul %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}
