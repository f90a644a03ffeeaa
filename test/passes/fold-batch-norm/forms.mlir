// Everything a batch normalization moves through, and every spelling of it.
// RUN: nnopt-opt %s --fold-batch-norm --split-input-file | FileCheck %s

// CHECK-LABEL: func @transposed(
// CHECK-DAG: nn.constant dense<{{\[\[}}2.000000e+00, 3.000000e+00], [2.000000e+00, 3.000000e+00]]>
// CHECK-DAG: nn.constant dense<[5.000000e+00, 7.000000e+00]>
// CHECK: nn.matmul
// CHECK-NEXT: nn.transpose
// CHECK-NEXT: return
func.func @transposed(%x: tensor<1x8x2xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  %0 = nn.matmul %x, %w : (tensor<1x8x2xf32>, tensor<2x2xf32>) -> tensor<1x8x2xf32>
  %1 = nn.transpose %0 {perm = array<i64: 0, 2, 1>} : (tensor<1x8x2xf32>) -> tensor<1x2x8xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @flattened(
// CHECK: nn.conv
// CHECK-NEXT: nn.flatten
// CHECK-NEXT: return
func.func @flattened(%x: tensor<4x2x1xf32>) -> (tensor<4x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<4x2x1xf32>, tensor<2x2x1xf32>) -> tensor<4x2x1xf32>
  %1 = nn.flatten %0 {axis = 1 : i64} : (tensor<4x2x1xf32>) -> tensor<4x2xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<4x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<4x2xf32>
  return %2 : tensor<4x2xf32>
}

// -----

// Two columns of the product make each channel.
// CHECK-LABEL: func @features_of_one_channel(
// CHECK-DAG: nn.constant dense<{{\[\[}}2.000000e+00, 2.000000e+00, 3.000000e+00, 3.000000e+00]
// CHECK-DAG: nn.constant dense<[5.000000e+00, 5.000000e+00, 7.000000e+00, 7.000000e+00]>
// CHECK: nn.matmul
func.func @features_of_one_channel(%x: tensor<1x2xf32>) -> (tensor<1x2x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x4xf32>
  %n = nn.constant dense<[1, 2, 2]> : tensor<3xi64>
  %0 = nn.matmul %x, %w : (tensor<1x2xf32>, tensor<2x4xf32>) -> tensor<1x4xf32>
  %1 = nn.reshape %0, %n : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x2x2xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2xf32>
  return %2 : tensor<1x2x2xf32>
}

// -----

// CHECK-LABEL: func @concatenated(
// CHECK-DAG: nn.constant dense<2.000000e+00> : tensor<1x1x1xf32>
// CHECK-DAG: nn.constant dense<3.000000e+01> : tensor<1x1x1xf32>
// CHECK: nn.concat
// CHECK-NEXT: return
func.func @concatenated(%x: tensor<1x1x8xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<1x1x1xf32>
  %u = nn.constant dense<10.0> : tensor<1x1x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  %1 = nn.conv %x, %u {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  %2 = nn.concat %0, %1 {axis = 1 : i64} : (tensor<1x1x8xf32>, tensor<1x1x8xf32>) -> tensor<1x2x8xf32>
  %3 = nn.batch_norm %2, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// The other half stays as it is.
// CHECK-LABEL: func @split(
// CHECK: nn.constant dense<{{\[\[}}[4.000000e+00], [4.000000e+00]], {{\[\[}}1.000000e+00], [1.000000e+00]]]>
// CHECK: nn.split
// CHECK-NEXT: return
func.func @split(%x: tensor<1x2x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x1x8xf32>) {
  %s = nn.constant dense<4.0> : tensor<1xf32>
  %z = nn.constant dense<0.0> : tensor<1xf32>
  %one = nn.constant dense<1.0> : tensor<1xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1:2 = nn.split %0 {axis = 1 : i64} : (tensor<1x2x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x1x8xf32>)
  %2 = nn.batch_norm %1#0, %s, %z, %z, %one {epsilon = 0.0 : f64}
    : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %2, %1#1 : tensor<1x1x8xf32>, tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @sliced(
// CHECK: nn.constant dense<{{\[\[}}[1.000000e+00], [1.000000e+00]], {{\[\[}}4.000000e+00], [4.000000e+00]]]>
// CHECK: nn.slice
// CHECK-NEXT: return
func.func @sliced(%x: tensor<1x2x8xf32>) -> (tensor<1x1x8xf32>) {
  %s = nn.constant dense<4.0> : tensor<1xf32>
  %z = nn.constant dense<0.0> : tensor<1xf32>
  %one = nn.constant dense<1.0> : tensor<1xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %a = nn.constant dense<-1> : tensor<1xi64>
  %e = nn.constant dense<9> : tensor<1xi64>
  %ax = nn.constant dense<1> : tensor<1xi64>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.slice %0[%a : %e axes %ax] : (tensor<1x2x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x8xf32>
  %2 = nn.batch_norm %1, %s, %z, %z, %one {epsilon = 0.0 : f64}
    : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %2 : tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @pooled(
// CHECK: nn.conv
// CHECK-NEXT: nn.avg_pool
// CHECK-NEXT: return
func.func @pooled(%x: tensor<1x2x8xf32>) -> (tensor<1x2x4xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.avg_pool %0 {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : (tensor<1x2x8xf32>) -> tensor<1x2x4xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4xf32>
  return %2 : tensor<1x2x4xf32>
}

// -----

// CHECK-LABEL: func @global_mean(
// CHECK: nn.conv
// CHECK-NEXT: nn.reduce
// CHECK-NEXT: return
func.func @global_mean(%x: tensor<1x2x8xf32>) -> (tensor<1x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.reduce %0 {kind = #nn.reduce_kind<mean>, axes = array<i64: 2>, keep_dims = false} : (tensor<1x2x8xf32>) -> tensor<1x2xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2xf32>
  return %2 : tensor<1x2xf32>
}

// -----

// Scales are positive: the largest stays the largest.
// CHECK-LABEL: func @max_pooled(
// CHECK: nn.conv
// CHECK-NEXT: nn.max_pool
// CHECK-NEXT: return
func.func @max_pooled(%x: tensor<1x2x8xf32>) -> (tensor<1x2x4xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.max_pool %0 {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : (tensor<1x2x8xf32>) -> tensor<1x2x4xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4xf32>
  return %2 : tensor<1x2x4xf32>
}

// -----

// Zero stays zero without a shift.
// CHECK-LABEL: func @padded(
// CHECK: nn.conv
// CHECK: nn.pad
// CHECK-NEXT: return
func.func @padded(%x: tensor<1x2x8xf32>) -> (tensor<1x2x10xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<0.0> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %p = nn.constant dense<[0, 0, 1, 0, 0, 1]> : tensor<6xi64>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.pad %0, %p {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x8xf32>, tensor<6xi64>) -> tensor<1x2x10xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x10xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x10xf32>
  return %2 : tensor<1x2x10xf32>
}

// -----

// Padding holds 2 * 0 + 5 then.
// CHECK-LABEL: func @padded_by_a_number(
// CHECK: nn.constant dense<5.000000e+00> : tensor<f32>
// CHECK: nn.pad
// CHECK-NEXT: return
func.func @padded_by_a_number(%x: tensor<1x2x8xf32>) -> (tensor<1x2x10xf32>) {
  %s = nn.constant dense<2.0> : tensor<2xf32>
  %t = nn.constant dense<5.0> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %p = nn.constant dense<[0, 0, 1, 0, 0, 1]> : tensor<6xi64>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.pad %0, %p {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x8xf32>, tensor<6xi64>) -> tensor<1x2x10xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x10xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x10xf32>
  return %2 : tensor<1x2x10xf32>
}

// -----

// CHECK-LABEL: func @twice(
// CHECK: nn.constant dense<{{\[\[}}4.000000e+00], [9.000000e+00]]>
// CHECK-NEXT: nn.mul
// CHECK-NEXT: nn.constant dense<{{\[\[}}1.500000e+01], [2.800000e+01]]>
// CHECK-NEXT: nn.add
// CHECK-NEXT: return
func.func @twice(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %1 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// (x - mean) / deviation * gamma + beta.
// CHECK-LABEL: func @written_out(
// CHECK-DAG: nn.constant dense<{{\[\[}}[3.000000e+00], [3.000000e+00]], {{\[\[}}2.000000e+00], [2.000000e+00]]]>
// CHECK-DAG: nn.constant dense<[-2.000000e+00, -3.000000e+00]>
// CHECK: nn.conv
// CHECK-NEXT: return
func.func @written_out(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %m = nn.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %d = nn.constant dense<[[2.0], [4.0]]> : tensor<2x1xf32>
  %g = nn.constant dense<[[6.0], [8.0]]> : tensor<2x1xf32>
  %b = nn.constant dense<[[1.0], [1.0]]> : tensor<2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.sub %0, %m : (tensor<1x2x8xf32>, tensor<2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.div %1, %d : (tensor<1x2x8xf32>, tensor<2x1xf32>) -> tensor<1x2x8xf32>
  %3 = nn.mul %g, %2 : (tensor<2x1xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %4 = nn.add %3, %b : (tensor<1x2x8xf32>, tensor<2x1xf32>) -> tensor<1x2x8xf32>
  return %4 : tensor<1x2x8xf32>
}

// -----

// RepBN: BN(x) + eta x = (gamma + eta s) (x - mean) / s + beta + eta mean, s = 2: with gamma = 2, mean = 3,
// beta = 1, eta = 0.5 it is (2 + 0.5 * 2) (x - 3) / 2 + 1 + 0.5 * 3 = 1.5 x - 2.
// CHECK-LABEL: func @rep_bn(
// CHECK: nn.constant dense<[1.500000e+00, 2.000000e+00]>
// CHECK-NEXT: nn.mul
// CHECK-NEXT: nn.constant dense<[-2.000000e+00, -5.000000e+00]>
// CHECK-NEXT: nn.add
// CHECK-NEXT: return
func.func @rep_bn(%x: tensor<4x2xf32>) -> (tensor<4x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<1.0> : tensor<2xf32>
  %m = nn.constant dense<[3.0, 4.0]> : tensor<2xf32>
  %v = nn.constant dense<4.0> : tensor<2xf32>
  %e = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<4x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<4x2xf32>
  %1 = nn.mul %x, %e : (tensor<4x2xf32>, tensor<f32>) -> tensor<4x2xf32>
  %2 = nn.add %0, %1 : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %2 : tensor<4x2xf32>
}

// -----

// Without padding: b = 3 taps * (5 + 7).
// CHECK-LABEL: func @before_a_convolution(
// CHECK-DAG: nn.constant dense<{{\[\[}}[2.000000e+00, 2.000000e+00, 2.000000e+00], [3.000000e+00, 3.000000e+00, 3.000000e+00]], {{\[\[}}2.0
// CHECK-DAG: nn.constant dense<3.600000e+01> : tensor<2xf32>
// CHECK: nn.conv %arg0
// CHECK-NEXT: return
func.func @before_a_convolution(%x: tensor<1x2x8xf32>) -> (tensor<1x2x6xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x6xf32>
  return %1 : tensor<1x2x6xf32>
}

// -----

// All that read it take it.
// CHECK-LABEL: func @before_several(
// CHECK-DAG: nn.matmul %arg0
// CHECK-DAG: nn.matmul %arg0
// CHECK-NOT: nn.mul 
// CHECK: return
func.func @before_several(%x: tensor<3x2xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  %u = nn.constant dense<2.0> : tensor<2x2xf32>
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<3x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %2 = nn.matmul %0, %u : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1, %2 : tensor<3x2xf32>, tensor<3x2xf32>
}

// -----

// CHECK-LABEL: func @through_the_head(
// CHECK: nn.reduce %arg0
// CHECK: nn.matmul
// CHECK-NEXT: return
func.func @through_the_head(%x: tensor<1x2x4xf32>) -> (tensor<1x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4xf32>
  %1 = nn.reduce %0 {kind = #nn.reduce_kind<mean>, axes = array<i64: 2>, keep_dims = false} : (tensor<1x2x4xf32>) -> tensor<1x2xf32>
  %2 = nn.matmul %1, %w : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
  return %2 : tensor<1x2xf32>
}

// -----

// Without a shift zeros stay zeros.
// CHECK-LABEL: func @scale_over_padding(
// CHECK: nn.conv %arg0, {{.*}}pads = array<i64: 1, 1>
// CHECK-NEXT: return
func.func @scale_over_padding(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<0.0> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// Over padding with a shift: what a constant 1 gives, less at the border, plus the bias.
// CHECK-LABEL: func @border(
// CHECK-DAG: %[[I:.*]] = nn.constant dense<{{\[\[}}[1.105000e+02, 1.115000e+02, 1.115000e+02, 1.150000e+01]]]>
// CHECK-DAG: nn.constant dense<{{\[\[}}[2.000000e+00, 2.000000e+01, 2.000000e+02]]]>
// CHECK: %[[Y:.*]] = nn.conv %arg0
// CHECK-NEXT: nn.add %[[Y]], %[[I]]
// CHECK-NEXT: return
func.func @border(%x: tensor<1x1x4xf32>) -> (tensor<1x1x4xf32>) {
  %s = nn.constant dense<2.0> : tensor<1xf32>
  %t = nn.constant dense<1.0> : tensor<1xf32>
  %m = nn.constant dense<0.0> : tensor<1xf32>
  %v = nn.constant dense<1.0> : tensor<1xf32>
  %w = nn.constant dense<[[[1.0, 10.0, 100.0]]]> : tensor<1x1x3xf32>
  %b = nn.constant dense<0.5> : tensor<1xf32>
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x1x4xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x4xf32>
  %1 = nn.conv %0, %w bias %b {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x4xf32>, tensor<1x1x3xf32>, tensor<1xf32>) -> tensor<1x1x4xf32>
  return %1 : tensor<1x1x4xf32>
}

// -----

// 4 weights are cheaper to copy than 16 results to scale.
// CHECK-LABEL: func @shared_weights(
// CHECK: nn.conv
// CHECK: nn.conv
// CHECK-NEXT: return
func.func @shared_weights(%x: tensor<1x2x8xf32>, %z: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.batch_norm %0, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %z, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %1, %2 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// Column j of the product is channel j mod 2 of row j / 2: still one scale for each column.
// CHECK-LABEL: func @mixed_channels(
// CHECK: nn.constant dense<{{\[\[}}2.000000e+00, 3.000000e+00, 2.000000e+00, 3.000000e+00]
// CHECK: nn.matmul
// CHECK-NOT: nn.mul 
func.func @mixed_channels(%x: tensor<1x4xf32>) -> (tensor<2x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<4x4xf32>
  %n = nn.constant dense<[2, 2]> : tensor<2xi64>
  %0 = nn.matmul %x, %w : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
  %1 = nn.reshape %0, %n : (tensor<1x4xf32>, tensor<2xi64>) -> tensor<2x2xf32>
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  return %2 : tensor<2x2xf32>
}

// -----

// The parameters know the number of channels, which the data did not: the type of the function follows.
// CHECK-LABEL: func @channels(
// CHECK-SAME: -> tensor<1x2x?xf32>
// CHECK: return {{.*}} : tensor<1x2x?xf32>
func.func @channels(%x: tensor<1x?x?xf32>) -> tensor<1x?x?xf32> {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x?x?xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x?x?xf32>
  return %0 : tensor<1x?x?xf32>
}

// -----

// Before an LSTM, for each feature of all steps: W diag(s), and W t joins the bias of the inputs.
// CHECK-LABEL: func @before_a_recurrent_cell(
// CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[\[\[}}2.000000e+00, 3.000000e+00], [2.000000e+00, 3.000000e+00], [2.000000e+00, 3.000000e+00]]]>
// CHECK-DAG: %[[B:.*]] = nn.constant dense<{{\[\[}}1.200000e+01, 1.200000e+01, 1.200000e+01, 0.000000e+00, 0.000000e+00, 0.000000e+00]]>
// CHECK-DAG: %[[X:.*]] = nn.transpose %arg0
// CHECK: nn.gru %[[X]], %[[W]], %{{.*}}, %[[B]]
// CHECK-NOT: nn.mul 
func.func @before_a_recurrent_cell(%x: tensor<1x2x?xf32>) -> tensor<?x1x1x1xf32> {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<1x3x2xf32>
  %r = nn.constant dense<1.0> : tensor<1x3x1xf32>
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x?xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x?xf32>
  %1 = nn.transpose %0 {perm = array<i64: 2, 0, 1>} : (tensor<1x2x?xf32>) -> tensor<?x1x2xf32>
  %y, %h = nn.gru %1, %w, %r {direction = #nn.direction<forward>, activations = ["sigmoid", "tanh"], operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>}
    : (tensor<?x1x2xf32>, tensor<1x3x2xf32>, tensor<1x3x1xf32>) -> (tensor<?x1x1x1xf32>, tensor<1x1x1xf32>)
  return %y : tensor<?x1x1x1xf32>
}

// -----

// Behind a normalization of rows it joins its scale and shift.
// CHECK-LABEL: func @behind_layer_norm(
// CHECK: nn.constant dense<[7.000000e+00, 1.000000e+01]>
// CHECK: %[[Y:.*]] = nn.layer_norm %arg0,
// CHECK-NEXT: return %[[Y]]
func.func @behind_layer_norm(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %0 = nn.layer_norm %x, %v, %v {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.batch_norm %0, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<3x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}
