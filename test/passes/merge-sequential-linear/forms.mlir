// Chains of all forms.
// RUN: nnopt-opt %s --merge-sequential-linear --split-input-file | FileCheck %s

// kxk, then 1x1: padding of the first stays.
// CHECK-LABEL: func @window_then_1x1(
// CHECK: nn.constant dense<8.000000e+00> : tensor<2x2x3xf32>
// CHECK: nn.conv %arg0, {{.*}}pads = array<i64: 1, 1>
// CHECK-NEXT: return
func.func @window_then_1x1(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<4x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x4x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<4x2x3xf32>) -> tensor<1x4x8xf32>
  %1 = nn.conv %0, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x4x8xf32>, tensor<2x4x1xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// Windows of 2 and stride 2, twice.
// CHECK-LABEL: func @strided(
// CHECK: nn.constant dense<2.000000e+00> : tensor<2x2x4xf32>
// CHECK: nn.conv %arg0, {{.*}}strides = array<i64: 4>
// CHECK-NEXT: return
func.func @strided(%x: tensor<1x2x8xf32>) -> (tensor<1x2x2xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x2xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x2xf32>) -> tensor<1x2x4xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x4xf32>, tensor<2x2x2xf32>) -> tensor<1x2x2xf32>
  return %1 : tensor<1x2x2xf32>
}

// -----

// Two groups twice stay two groups.
// CHECK-LABEL: func @grouped(
// CHECK: nn.constant dense<{{\[\[}}[4.000000e+00], [6.000000e+00]], {{\[\[}}4.000000e+00], [6.000000e+00]], {{\[\[}}1.200000e+01], [1.400000e+01]]
// CHECK: nn.conv %arg0, {{.*}}group = 2
// CHECK-NEXT: return
func.func @grouped(%x: tensor<1x4x8xf32>) -> (tensor<1x4x8xf32>) {
  %w = nn.constant dense<[[[1.0], [2.0]], [[3.0], [4.0]], [[5.0], [6.0]], [[7.0], [8.0]]]> : tensor<4x2x1xf32>
  %v = nn.constant dense<1.0> : tensor<4x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<4x2x1xf32>) -> tensor<1x4x8xf32>
  %1 = nn.conv %0, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<4x2x1xf32>) -> tensor<1x4x8xf32>
  return %1 : tensor<1x4x8xf32>
}

// -----

// CHECK-LABEL: func @affine_between(
// CHECK: nn.constant dense<5.000000e+00> : tensor<2x2x1xf32>
// CHECK: nn.conv %arg0
// CHECK-NEXT: return
func.func @affine_between(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %s = nn.constant dense<[[2.0], [3.0]]> : tensor<2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.mul %0, %s : (tensor<1x2x8xf32>, tensor<2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %1, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// Padding by zeros becomes padding of the convolution.
// CHECK-LABEL: func @explicit_padding(
// CHECK: nn.conv %arg0, {{.*}}pads = array<i64: 1, 1>
// CHECK-NEXT: return
func.func @explicit_padding(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %p = nn.constant dense<[0, 0, 1, 0, 0, 1]> : tensor<6xi64>
  %0 = nn.pad %x, %p {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x8xf32>, tensor<6xi64>) -> tensor<1x2x10xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x10xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// The merged weights are stored by rows of the result.
// CHECK-LABEL: func @gemms(
// CHECK-DAG: nn.constant dense<{{\[\[}}3.000000e+00, 7.000000e+00], [2.000000e+00, 4.000000e+00]]>
// CHECK-DAG: nn.constant dense<[1.300000e+01, 1.200000e+01]>
// CHECK: nn.matmul %arg0, {{.*}}{transpose_b}
// CHECK-NEXT: return
func.func @gemms(%x: tensor<?x2xf32> {nn.dims = ["n", 2]}) -> (tensor<?x2xf32>) {
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %v = nn.constant dense<[[1.0, 0.0], [1.0, 1.0]]> : tensor<2x2xf32>
  %c = nn.constant dense<10.0> : tensor<2xf32>
  %0 = nn.matmul %x, %w bias %b : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %1 = nn.matmul %0, %v bias %c : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %1 : tensor<?x2xf32>
}

// -----

// x A B C: (A B) first, 16 + 16 multiply-adds; A B C together would take 64.
// CHECK-LABEL: func @cheapest_order(
// CHECK: %[[Y:.*]] = nn.matmul %arg0, {{.*}}tensor<2x8xf32>
// CHECK-NEXT: nn.matmul %[[Y]], {{.*}}tensor<2x8xf32>
// CHECK-NEXT: return
func.func @cheapest_order(%x: tensor<1x8xf32>) -> (tensor<1x8xf32>) {
  %a = nn.constant dense<1.0> : tensor<8x8xf32>
  %b = nn.constant dense<1.0> : tensor<8x2xf32>
  %c = nn.constant dense<1.0> : tensor<2x8xf32>
  %0 = nn.matmul %x, %a : (tensor<1x8xf32>, tensor<8x8xf32>) -> tensor<1x8xf32>
  %1 = nn.matmul %0, %b : (tensor<1x8xf32>, tensor<8x2xf32>) -> tensor<1x2xf32>
  %2 = nn.matmul %1, %c : (tensor<1x2xf32>, tensor<2x8xf32>) -> tensor<1x8xf32>
  return %2 : tensor<1x8xf32>
}

// -----

// A rank of 6 does not pay for 8x8.
// CHECK-LABEL: func @full_rank(
// CHECK: nn.matmul %arg0, {{.*}}tensor<8x8xf32>
// CHECK-NEXT: return
func.func @full_rank(%x: tensor<1x8xf32>) -> (tensor<1x8xf32>) {
  %b = nn.constant dense<1.0> : tensor<8x6xf32>
  %c = nn.constant dense<1.0> : tensor<6x8xf32>
  %1 = nn.matmul %x, %b : (tensor<1x8xf32>, tensor<8x6xf32>) -> tensor<1x6xf32>
  %2 = nn.matmul %1, %c : (tensor<1x6xf32>, tensor<6x8xf32>) -> tensor<1x8xf32>
  return %2 : tensor<1x8xf32>
}

// -----

// 7 taps are fewer than 4 + 4.
// CHECK-LABEL: func @two_windows(
// CHECK: nn.constant dense<{{.*}}> : tensor<2x2x7xf32>
// CHECK: nn.conv %arg0
// CHECK-NEXT: return
func.func @two_windows(%x: tensor<1x2x8xf32>) -> (tensor<1x2x2xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x4xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x4xf32>) -> tensor<1x2x5xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x5xf32>, tensor<2x2x4xf32>) -> tensor<1x2x2xf32>
  return %1 : tensor<1x2x2xf32>
}

// -----

// The first works on twice the positions: its cost counts twice.
// CHECK-LABEL: func @strided_then_1x1(
// CHECK: nn.constant dense<2.000000e+00> : tensor<2x2x2xf32>
func.func @strided_then_1x1(%x: tensor<1x2x8xf32>) -> (tensor<1x2x4xf32>) {
  %v = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x2xf32>
  %0 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x2xf32>) -> tensor<1x2x4xf32>
  return %1 : tensor<1x2x4xf32>
}

// -----

// One head: values and the product behind, queries and keys. The shift of the keys is the same for all keys.
// CHECK-LABEL: func @around_attention(
// CHECK-DAG: %[[V:.*]] = nn.constant dense<1.600000e+01> : tensor<4x4xf32>
// CHECK-DAG: %[[B:.*]] = nn.constant dense<9.000000e+00> : tensor<4xf32>
// CHECK-DAG: nn.matmul %arg0, %[[V]] bias %[[B]]
// CHECK-DAG: %[[Q:.*]] = nn.constant dense<3.200000e+01> : tensor<4x4xf32>
// CHECK-DAG: nn.matmul %arg0, %[[Q]]
// CHECK: %[[K:.*]] = nn.reshape %arg0
// CHECK: %[[Y:.*]] = nn.attention %{{.*}}, %[[K]],
// CHECK: nn.reshape %[[Y]]
// CHECK-NEXT: return
func.func @around_attention(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
  %two = nn.constant dense<2.0> : tensor<4x4xf32>
  %four = nn.constant dense<4.0> : tensor<4x4xf32>
  %b = nn.constant dense<1.0> : tensor<4xf32>
  %q = nn.matmul %x, %two : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %k = nn.matmul %x, %four bias %b : (tensor<1x3x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32>
  %v = nn.matmul %x, %two bias %b : (tensor<1x3x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32>
  %q4 = nn.unsqueeze %q {axes = array<i64: 1>} : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %k4 = nn.unsqueeze %k {axes = array<i64: 1>} : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %v4 = nn.unsqueeze %v {axes = array<i64: 1>} : (tensor<1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %a = nn.attention %q4, %k4, %v4 {scale = 0.5 : f64} : (tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>) -> tensor<1x1x3x4xf32>
  %y = nn.squeeze %a {axes = array<i64: 1>} : (tensor<1x1x3x4xf32>) -> tensor<1x3x4xf32>
  %z = nn.matmul %y, %two bias %b : (tensor<1x3x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32>
  return %z : tensor<1x3x4xf32>
}
