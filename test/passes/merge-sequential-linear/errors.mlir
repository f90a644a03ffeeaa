// What stays apart, and the reason that is given.
// RUN: nnopt-opt %s --merge-sequential-linear --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// The 1x1 gives its bias where the 3x3 reads zeros.
// CHECK-LABEL: func @bias_then_zeros(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @bias_then_zeros(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %v = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %b = nn.constant dense<1.0> : tensor<2xf32>
  %0 = nn.conv %x, %v bias %b {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{padding between them does not hold what the first gives for zeros}}
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @windows_then_padding(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @windows_then_padding(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{padding between them cuts windows of the first}}
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// Two 3x3 have fewer taps than the 5x5 they make.
// CHECK-LABEL: func @two_squares(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @two_squares(%x: tensor<1x2x9x9xf32>) -> (tensor<1x2x5x5xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64}
    : (tensor<1x2x9x9xf32>, tensor<2x2x3x3xf32>) -> tensor<1x2x7x7xf32>
  // expected-remark @+1 {{merged, 72 multiply-adds for each position become 100}}
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64}
    : (tensor<1x2x7x7xf32>, tensor<2x2x3x3xf32>) -> tensor<1x2x5x5xf32>
  return %1 : tensor<1x2x5x5xf32>
}

// -----

// CHECK-LABEL: func @depthwise_then_1x1(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @depthwise_then_1x1(%x: tensor<1x4x8xf32>) -> (tensor<1x4x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<4x1x3xf32>
  %v = nn.constant dense<1.0> : tensor<4x4x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 4 : i64}
    : (tensor<1x4x8xf32>, tensor<4x1x3xf32>) -> tensor<1x4x8xf32>
  // expected-remark @+1 {{merged, 28 multiply-adds for each position become 48}}
  %1 = nn.conv %0, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x4x8xf32>, tensor<4x4x1xf32>) -> tensor<1x4x8xf32>
  return %1 : tensor<1x4x8xf32>
}

// -----

// A low rank that pays.
// CHECK-LABEL: func @wide_then_narrow(
// CHECK: nn.matmul
// CHECK: nn.matmul
func.func @wide_then_narrow(%x: tensor<1x8xf32>) -> (tensor<1x8xf32>) {
  %a = nn.constant dense<1.0> : tensor<8x2xf32>
  %b = nn.constant dense<1.0> : tensor<2x8xf32>
  %0 = nn.matmul %x, %a : (tensor<1x8xf32>, tensor<8x2xf32>) -> tensor<1x2xf32>
  // expected-remark @+1 {{merged, 32 multiply-adds for each position become 64}}
  %1 = nn.matmul %0, %b : (tensor<1x2xf32>, tensor<2x8xf32>) -> tensor<1x8xf32>
  return %1 : tensor<1x8xf32>
}

// -----

// The value between is also a result.
// CHECK-LABEL: func @other_user(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @other_user(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %v = nn.constant dense<1.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{its result has other users}}
  %0 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %0, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %1, %0 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @read_twice(
// CHECK: nn.conv
// CHECK: nn.conv
// CHECK: nn.conv
func.func @read_twice(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %v = nn.constant dense<1.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{its result has other users}}
  %0 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %0, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %0, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %1, %2 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// Nothing to say: they are not neighbours.
// CHECK-LABEL: func @relu_between(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @relu_between(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %v = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.relu %0 : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %1, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @weights_of_the_user(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @weights_of_the_user(%x: tensor<1x2x8xf32>, %v: tensor<2x2x1xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{its weights are not constant}}
  %0 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @second_weights_of_the_user(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @second_weights_of_the_user(%x: tensor<1x2x8xf32>, %w: tensor<2x2x1xf32>) -> (tensor<1x2x8xf32>) {
  %v = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{its weights are not constant}}
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @bias_of_the_user(
// CHECK: nn.conv
// CHECK: nn.conv
func.func @bias_of_the_user(%x: tensor<1x2x8xf32>, %b: tensor<2xf32>) -> (tensor<1x2x8xf32>) {
  %v = nn.constant dense<1.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{its bias is not constant}}
  %0 = nn.conv %x, %v bias %b {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %0, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// The convolution pads with zeros only.
// CHECK-LABEL: func @padding_by_one(
// CHECK: nn.pad
// CHECK: nn.conv
func.func @padding_by_one(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %p = nn.constant dense<[0, 0, 1, 0, 0, 1]> : tensor<6xi64>
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.pad %x, %p, %one {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<6xi64>, tensor<f32>) -> tensor<1x2x10xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x10xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @batch_of_matrices(
// CHECK: nn.matmul
// CHECK: nn.matmul
func.func @batch_of_matrices(%x: tensor<2x3x4xf32>) -> (tensor<2x3x4xf32>) {
  %a = nn.constant dense<1.0> : tensor<2x4x4xf32>
  %b = nn.constant dense<1.0> : tensor<4x4xf32>
  // expected-remark @+1 {{it is not a product of rows and a matrix}}
  %0 = nn.matmul %x, %a : (tensor<2x3x4xf32>, tensor<2x4x4xf32>) -> tensor<2x3x4xf32>
  %1 = nn.matmul %0, %b : (tensor<2x3x4xf32>, tensor<4x4xf32>) -> tensor<2x3x4xf32>
  return %1 : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: func @rows_scaled(
// CHECK: nn.matmul
// CHECK: nn.matmul
func.func @rows_scaled(%x: tensor<3x4xf32>) -> (tensor<3x4xf32>) {
  %a = nn.constant dense<1.0> : tensor<4x4xf32>
  %s = nn.constant dense<[[1.0], [2.0], [3.0]]> : tensor<3x1xf32>
  %0 = nn.matmul %x, %a : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %1 = nn.mul %0, %s : (tensor<3x4xf32>, tensor<3x1xf32>) -> tensor<3x4xf32>
  // expected-remark @+1 {{an affine map between is not one of channels}}
  %2 = nn.matmul %1, %a : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  return %2 : tensor<3x4xf32>
}

// -----

// Values of 2 elements, of which the product behind makes 4.
// CHECK-LABEL: func @narrow_values(
// CHECK: nn.attention
// CHECK: nn.matmul
func.func @narrow_values(%q: tensor<1x1x3x2xf32>, %k: tensor<1x1x3x2xf32>, %x: tensor<1x1x3x4xf32>) -> tensor<1x1x3x4xf32> {
  %w = nn.constant dense<1.0> : tensor<4x2xf32>
  %o = nn.constant dense<1.0> : tensor<2x4xf32>
  %v = nn.matmul %x, %w : (tensor<1x1x3x4xf32>, tensor<4x2xf32>) -> tensor<1x1x3x2xf32>
  %a = nn.attention %q, %k, %v {scale = 0.5 : f64} : (tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32>
  // expected-remark @+1 {{they would have 4 elements instead of 2}}
  %y = nn.matmul %a, %o : (tensor<1x1x3x2xf32>, tensor<2x4xf32>) -> tensor<1x1x3x4xf32>
  return %y : tensor<1x1x3x4xf32>
}

// -----

// Rows without keys are zeros, which a bias would not be.
// CHECK-LABEL: func @empty_rows(
// CHECK: nn.attention
// CHECK: nn.matmul
func.func @empty_rows(%q: tensor<1x1x3x4xf32>, %k: tensor<1x1x3x4xf32>, %x: tensor<1x1x3x4xf32>, %m: tensor<3x3xi1>) -> tensor<1x1x3x4xf32> {
  %w = nn.constant dense<1.0> : tensor<4x4xf32>
  %b = nn.constant dense<1.0> : tensor<4xf32>
  %v = nn.matmul %x, %w : (tensor<1x1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x1x3x4xf32>
  %a = nn.attention %q, %k, %v, %m {scale = 0.5 : f64, empty_rows = #nn.empty_rows<nan_to_zero>} : (tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<3x3xi1>) -> tensor<1x1x3x4xf32>
  // expected-remark @+1 {{they do not sum to 1}}
  %y = nn.matmul %a, %w bias %b : (tensor<1x1x3x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<1x1x3x4xf32>
  return %y : tensor<1x1x3x4xf32>
}

// -----

// A soft cap is no function of differences of scores.
// CHECK-LABEL: func @soft_cap(
// CHECK: nn.matmul
// CHECK: nn.matmul
// CHECK: nn.attention
func.func @soft_cap(%x: tensor<1x1x3x4xf32>, %v: tensor<1x1x3x4xf32>) -> tensor<1x1x3x4xf32> {
  %w = nn.constant dense<1.0> : tensor<4x4xf32>
  %b = nn.constant dense<1.0> : tensor<4xf32>
  // expected-remark @+1 {{the soft cap sees the shift of the keys}}
  %q = nn.matmul %x, %w : (tensor<1x1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x1x3x4xf32>
  %k = nn.matmul %x, %w bias %b : (tensor<1x1x3x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<1x1x3x4xf32>
  %a = nn.attention %q, %k, %v {scale = 0.5 : f64, softcap = 5.0 : f64} : (tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>) -> tensor<1x1x3x4xf32>
  return %a : tensor<1x1x3x4xf32>
}

// -----

// Keys of 2 elements are cheaper than the 4 of what they are made from.
// CHECK-LABEL: func @narrow_keys(
// CHECK: nn.matmul
// CHECK: nn.matmul
// CHECK: nn.attention
func.func @narrow_keys(%x: tensor<1x1x3x4xf32>, %v: tensor<1x1x3x4xf32>) -> tensor<1x1x3x4xf32> {
  %w = nn.constant dense<1.0> : tensor<4x2xf32>
  // expected-remark @+1 {{they would have 4 elements instead of 2}}
  %q = nn.matmul %x, %w : (tensor<1x1x3x4xf32>, tensor<4x2xf32>) -> tensor<1x1x3x2xf32>
  %k = nn.matmul %x, %w : (tensor<1x1x3x4xf32>, tensor<4x2xf32>) -> tensor<1x1x3x2xf32>
  %a = nn.attention %q, %k, %v {scale = 0.5 : f64} : (tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>, tensor<1x1x3x4xf32>) -> tensor<1x1x3x4xf32>
  return %a : tensor<1x1x3x4xf32>
}
