// What does not fold, and the reason that is given.
// RUN: nnopt-opt %s --fold-batch-norm --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// The convolution is read by somebody else too.
// CHECK-LABEL: func @other_user
// CHECK: nn.conv
// CHECK: nn.mul
// CHECK: nn.add
func.func @other_user(%x: tensor<1x1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x1x8xf32>) {
  %one = nn.constant dense<1.0> : tensor<1xf32>
  %w = nn.constant dense<2.0> : tensor<1x1x1xf32>
  %y = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  // expected-remark @+1 {{the contraction before it has other users}}
  %z = nn.batch_norm %y, %one, %one, %one, %one {epsilon = 0.1 : f64} : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %z, %y : tensor<1x1x8xf32>, tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @weights_of_the_user
// CHECK: nn.conv
// CHECK: nn.mul
func.func @weights_of_the_user(%x: tensor<1x1x8xf32>, %w: tensor<1x1x1xf32>) -> tensor<1x1x8xf32> {
  %one = nn.constant dense<1.0> : tensor<1xf32>
  %y = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  // expected-remark @+1 {{its weights are not constant}}
  %z = nn.batch_norm %y, %one, %one, %one, %one {epsilon = 0.1 : f64} : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %z : tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @parameters_of_the_user
// CHECK: nn.batch_norm
func.func @parameters_of_the_user(%x: tensor<1x1x8xf32>, %s: tensor<1xf32>) -> tensor<1x1x8xf32> {
  %one = nn.constant dense<1.0> : tensor<1xf32>
  // expected-remark @+1 {{its parameters are not constant}}
  %z = nn.batch_norm %x, %s, %one, %one, %one {epsilon = 0.1 : f64} : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %z : tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @negative_variance
// CHECK: nn.batch_norm
func.func @negative_variance(%x: tensor<1x1x8xf32>) -> tensor<1x1x8xf32> {
  %one = nn.constant dense<1.0> : tensor<1xf32>
  %v = nn.constant dense<-1.0> : tensor<1xf32>
  // expected-remark @+1 {{variance + epsilon is not positive}}
  %z = nn.batch_norm %x, %one, %one, %one, %v {epsilon = 0.1 : f64} : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  return %z : tensor<1x1x8xf32>
}

// -----

// Dimension 1 of a batched matrix product is not its columns.
// CHECK-LABEL: func @rows
// CHECK: nn.matmul
// CHECK: nn.mul
func.func @rows(%x: tensor<1x3x2xf32>) -> tensor<1x3x2xf32> {
  %three = nn.constant dense<1.0> : tensor<3xf32>
  %w = nn.constant dense<2.0> : tensor<2x2xf32>
  %y = nn.matmul %x, %w : (tensor<1x3x2xf32>, tensor<2x2xf32>) -> tensor<1x3x2xf32>
  // expected-remark @+1 {{it maps a dimension that is not the output channel of the contraction}}
  %z = nn.batch_norm %y, %three, %three, %three, %three {epsilon = 0.1 : f64} : (tensor<1x3x2xf32>, tensor<3xf32>,
    tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<1x3x2xf32>
  return %z : tensor<1x3x2xf32>
}

// -----

// CHECK-LABEL: func @other_user_of_the_view(
// CHECK: nn.mul
// CHECK: nn.add
func.func @other_user_of_the_view(%x: tensor<1x8x2xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  %0 = nn.matmul %x, %w : (tensor<1x8x2xf32>, tensor<2x2xf32>) -> tensor<1x8x2xf32>
  %1 = nn.transpose %0 {perm = array<i64: 0, 2, 1>} : (tensor<1x8x2xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{its operand is not the result of a convolution or matrix product; its result leaves here too}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %2, %1 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @other_user_behind_the_view(
// CHECK: nn.mul
// CHECK: nn.add
func.func @other_user_behind_the_view(%x: tensor<1x8x2xf32>) -> (tensor<1x2x8xf32>, tensor<1x8x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  %0 = nn.matmul %x, %w : (tensor<1x8x2xf32>, tensor<2x2xf32>) -> tensor<1x8x2xf32>
  %1 = nn.transpose %0 {perm = array<i64: 0, 2, 1>} : (tensor<1x8x2xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{the contraction before it has other users}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %2, %0 : tensor<1x2x8xf32>, tensor<1x8x2xf32>
}

// -----

// CHECK-LABEL: func @relu_between(
// CHECK: nn.mul
// CHECK: nn.add
func.func @relu_between(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.relu %0 : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{nn.relu does not let it through}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// Pre-activation with ReLU.
// CHECK-LABEL: func @relu_behind(
// CHECK: nn.mul
// CHECK: nn.add
func.func @relu_behind(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{behind it, nn.relu: }}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %1 = nn.relu %0 : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %1, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @rows_and_columns(
// CHECK: nn.mul
// CHECK: nn.add
func.func @rows_and_columns(%x: tensor<?x2x4xf32>) -> (tensor<?x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<4x3xf32>
  %n = nn.constant dense<[-1, 2]> : tensor<2xi64>
  %0 = nn.matmul %x, %w : (tensor<?x2x4xf32>, tensor<4x3xf32>) -> tensor<?x2x3xf32>
  %1 = nn.reshape %0, %n : (tensor<?x2x3xf32>, tensor<2xi64>) -> tensor<?x2xf32>
  // expected-remark @+1 {{a reshape mixes the channels with other dimensions}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %2 : tensor<?x2xf32>
}

// -----

// One of the concatenated values is an argument: all or none.
// CHECK-LABEL: func @part_without_map(
// CHECK: nn.mul
// CHECK: nn.add
func.func @part_without_map(%x: tensor<1x1x8xf32>, %z: tensor<1x1x8xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<1x1x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  %1 = nn.concat %0, %z {axis = 1 : i64} : (tensor<1x1x8xf32>, tensor<1x1x8xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{is not the result of a convolution}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @one_part_used_twice(
// CHECK: nn.mul
// CHECK: nn.add
func.func @one_part_used_twice(%x: tensor<1x1x8xf32>) -> (tensor<1x2x8xf32>, tensor<1x1x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<1x1x1xf32>
  %u = nn.constant dense<2.0> : tensor<1x1x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  %3 = nn.conv %x, %u {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32>
  %1 = nn.concat %0, %3 {axis = 1 : i64} : (tensor<1x1x8xf32>, tensor<1x1x8xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{the contraction before it has other users}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %2, %0 : tensor<1x2x8xf32>, tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @split_along_positions(
// CHECK: nn.mul
// CHECK: nn.add
func.func @split_along_positions(%x: tensor<1x2x8xf32>) -> (tensor<1x2x4xf32>, tensor<1x2x4xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1:2 = nn.split %0 {axis = 2 : i64} : (tensor<1x2x8xf32>) -> (tensor<1x2x4xf32>, tensor<1x2x4xf32>)
  // expected-remark @+1 {{the other parts of a split would change}}
  %2 = nn.batch_norm %1#0, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4xf32>
  return %2, %1#1 : tensor<1x2x4xf32>, tensor<1x2x4xf32>
}

// -----

// CHECK-LABEL: func @pooling_counts_padding(
// CHECK: nn.mul
// CHECK: nn.add
func.func @pooling_counts_padding(%x: tensor<1x2x8xf32>) -> (tensor<1x2x5xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.avg_pool %0 {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, count_include_pad} : (tensor<1x2x8xf32>) -> tensor<1x2x5xf32>
  // expected-remark @+1 {{average pooling counts zeros of its padding}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x5xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x5xf32>
  return %2 : tensor<1x2x5xf32>
}

// -----

// CHECK-LABEL: func @maximum_and_negative_scale(
// CHECK: nn.mul
// CHECK: nn.add
func.func @maximum_and_negative_scale(%x: tensor<1x2x8xf32>) -> (tensor<1x2x4xf32>) {
  %s = nn.constant dense<[-2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.max_pool %0 {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : (tensor<1x2x8xf32>) -> tensor<1x2x4xf32>
  // expected-remark @+1 {{a maximum commutes with scales that are not negative only}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4xf32>
  return %2 : tensor<1x2x4xf32>
}

// -----

// CHECK-LABEL: func @padding_by_zero(
// CHECK: nn.mul
// CHECK: nn.add
func.func @padding_by_zero(%x: tensor<1x2x8xf32>) -> (tensor<1x2x10xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %p = nn.constant dense<[0, 0, 1, 0, 0, 1]> : tensor<6xi64>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.pad %0, %p {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x8xf32>, tensor<6xi64>) -> tensor<1x2x10xf32>
  // expected-remark @+1 {{padding would have to hold another value in each channel}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x10xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x10xf32>
  return %2 : tensor<1x2x10xf32>
}

// -----

// CHECK-LABEL: func @sum_of_positions(
// CHECK: nn.mul
// CHECK: nn.add
func.func @sum_of_positions(%x: tensor<1x2x8xf32>) -> (tensor<1x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.reduce %0 {kind = #nn.reduce_kind<sum>, axes = array<i64: 2>, keep_dims = false} : (tensor<1x2x8xf32>) -> tensor<1x2xf32>
  // expected-remark @+1 {{the reduction does not commute with it}}
  %2 = nn.batch_norm %1, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2xf32>
  return %2 : tensor<1x2xf32>
}

// -----

// The map joins the elementwise operation before it.
// CHECK-LABEL: func @before_padding(
// CHECK: nn.mul
// CHECK: nn.add
func.func @before_padding(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %0 = nn.relu %x : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{padding of nn.conv behind it holds 0, which the shift would change: it costs nothing where its operand is computed}}
  %3 = nn.batch_norm %0, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %3, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %3, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  return %1, %2 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @before_padding_of_a_batch(
// CHECK: nn.mul
// CHECK: nn.add
func.func @before_padding_of_a_batch(%x: tensor<4x2x8xf32>) -> (tensor<4x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  // expected-remark @+1 {{a correction of the border needs one image of fixed size}}
  %3 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<4x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<4x2x8xf32>
  %1 = nn.conv %3, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<4x2x8xf32>, tensor<2x2x3xf32>) -> tensor<4x2x8xf32>
  return %1 : tensor<4x2x8xf32>
}

// -----

// CHECK-LABEL: func @larger_border(
// CHECK: nn.mul
// CHECK: nn.add
func.func @larger_border(%x: tensor<1x1x8xf32>) -> (tensor<1x4x8xf32>) {
  %s = nn.constant dense<2.0> : tensor<1xf32>
  %t = nn.constant dense<1.0> : tensor<1xf32>
  %m = nn.constant dense<0.0> : tensor<1xf32>
  %v = nn.constant dense<1.0> : tensor<1xf32>
  %w = nn.constant dense<1.0> : tensor<4x1x3xf32>
  // expected-remark @+1 {{a correction of the border costs more}}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x1x8xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x8xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<4x1x3xf32>) -> tensor<1x4x8xf32>
  return %1 : tensor<1x4x8xf32>
}

// -----

// CHECK-LABEL: func @also_a_result(
// CHECK: nn.mul
// CHECK: nn.add
func.func @also_a_result(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{its result leaves here too}}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %1, %0 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// All that read it take it, or none.
// CHECK-LABEL: func @one_reader_refuses(
// CHECK: nn.mul
// CHECK: nn.add
func.func @one_reader_refuses(%x: tensor<1x2x8xf32>, %u: tensor<2x2x1xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  // expected-remark @+1 {{of nn.conv behind it: its weights are not constant}}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %0, %u {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  return %1, %2 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @read_as_weight(
// CHECK: nn.mul
// CHECK: nn.add
func.func @read_as_weight(%x: tensor<2x2xf32>, %z: tensor<2x2xf32>) -> (tensor<2x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  // expected-remark @+1 {{nn.matmul reads it as something else than its activation}}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  %1 = nn.matmul %z, %0 : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %1 : tensor<2x2xf32>
}

// -----

// CHECK-LABEL: func @epilogue_before(
// CHECK: nn.mul
// CHECK: nn.add
func.func @epilogue_before(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32> {
  ^bb0(%acc: f32):
    %neg = arith.negf %acc : f32
    nn.yield %neg : f32
  }
  // expected-remark @+1 {{it has an epilogue}}
  %1 = nn.batch_norm %0, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @bias_of_the_user(
// CHECK: nn.mul
// CHECK: nn.add
func.func @bias_of_the_user(%x: tensor<1x2x8xf32>, %b: tensor<2xf32>) -> (tensor<1x2x8xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w bias %b {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  // expected-remark @+1 {{its bias is not constant}}
  %1 = nn.batch_norm %0, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: func @shared_weights(
// CHECK: nn.mul
// CHECK: nn.add
func.func @shared_weights(%x: tensor<1x4x1xf32>, %z: tensor<1x4x1xf32>) -> (tensor<1x2x1xf32>, tensor<1x2x1xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x4x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x4x1xf32>, tensor<2x4x1xf32>) -> tensor<1x2x1xf32>
  // expected-remark @+1 {{its weights are shared: a copy of 8 elements costs more than scaling 2}}
  %1 = nn.batch_norm %0, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x1xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x1xf32>
  %2 = nn.conv %z, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x4x1xf32>, tensor<2x4x1xf32>) -> tensor<1x2x1xf32>
  return %1, %2 : tensor<1x2x1xf32>, tensor<1x2x1xf32>
}

// -----

// CHECK-LABEL: func @half(
// CHECK: nn.batch_norm
func.func @half(%x: tensor<1x2x8xf16>) -> (tensor<1x2x8xf16>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf16>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf16>
  %m = nn.constant dense<0.0> : tensor<2xf16>
  %v = nn.constant dense<1.0> : tensor<2xf16>
  // expected-remark @+1 {{the element type is not f32 or f64}}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf16>, tensor<2xf16>, tensor<2xf16>, tensor<2xf16>, tensor<2xf16>) -> tensor<1x2x8xf16>
  return %0 : tensor<1x2x8xf16>
}

// -----

// How many taps add up differs between positions.
// CHECK-LABEL: func @conv_transpose_border(
// CHECK: nn.mul
// CHECK: nn.add
func.func @conv_transpose_border(%x: tensor<1x2x8xf32>) -> (tensor<1x2x17xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  // expected-remark @+1 {{its windows overlap unevenly}}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv_transpose %0, %w {strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, output_padding = array<i64: 0>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x17xf32>
  return %1 : tensor<1x2x17xf32>
}

// -----

// Weights of a cell that are an input.
// CHECK-LABEL: func @recurrent_weights_of_the_user(
// CHECK: nn.mul
// CHECK: nn.add
// CHECK: nn.rnn
func.func @recurrent_weights_of_the_user(%x: tensor<1x2x2xf32>, %w: tensor<1x1x2xf32>) -> (tensor<2x1x1x1xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %r = nn.constant dense<1.0> : tensor<1x1x1xf32>
  // expected-remark @+1 {{of nn.rnn behind it: its weights are not constant}}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2xf32>
  %1 = nn.transpose %0 {perm = array<i64: 2, 0, 1>} : (tensor<1x2x2xf32>) -> tensor<2x1x2xf32>
  %y, %h = nn.rnn %1, %w, %r {direction = #nn.direction<forward>, activations = ["tanh"], operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>}
    : (tensor<2x1x2xf32>, tensor<1x1x2xf32>, tensor<1x1x1xf32>) -> (tensor<2x1x1x1xf32>, tensor<1x1x1xf32>)
  return %y : tensor<2x1x1x1xf32>
}

// -----

// Weights of a cell that are an output, too.
// CHECK-LABEL: func @shared_recurrent_weights(
// CHECK: nn.mul
// CHECK: nn.add
// CHECK: nn.rnn
func.func @shared_recurrent_weights(%x: tensor<1x2x2xf32>) -> (tensor<2x1x1x1xf32>, tensor<1x1x2xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<1x1x2xf32>
  %r = nn.constant dense<1.0> : tensor<1x1x1xf32>
  // expected-remark @+1 {{of nn.rnn behind it: its weights are shared}}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2xf32>
  %1 = nn.transpose %0 {perm = array<i64: 2, 0, 1>} : (tensor<1x2x2xf32>) -> tensor<2x1x2xf32>
  %y, %h = nn.rnn %1, %w, %r {direction = #nn.direction<forward>, activations = ["tanh"], operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>}
    : (tensor<2x1x2xf32>, tensor<1x1x2xf32>, tensor<1x1x1xf32>) -> (tensor<2x1x1x1xf32>, tensor<1x1x1xf32>)
  return %y, %w : tensor<2x1x1x1xf32>, tensor<1x1x2xf32>
}

// -----

// What is normalized are the steps.
// CHECK-LABEL: func @steps_are_channels(
// CHECK: nn.mul
// CHECK: nn.add
// CHECK: nn.rnn
func.func @steps_are_channels(%x: tensor<1x2x2xf32>) -> (tensor<2x1x1x1xf32>) {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<1x1x2xf32>
  %r = nn.constant dense<1.0> : tensor<1x1x1xf32>
  // expected-remark @+1 {{it maps a dimension that is not that of its inputs}}
  %0 = nn.batch_norm %x, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<1x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2xf32>
  %1 = nn.transpose %0 {perm = array<i64: 1, 0, 2>} : (tensor<1x2x2xf32>) -> tensor<2x1x2xf32>
  %y, %h = nn.rnn %1, %w, %r {direction = #nn.direction<forward>, activations = ["tanh"], operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>}
    : (tensor<2x1x2xf32>, tensor<1x1x2xf32>, tensor<1x1x1xf32>) -> (tensor<2x1x1x1xf32>, tensor<1x1x1xf32>)
  return %y : tensor<2x1x1x1xf32>
}

// -----

// Batch normalization in training: its statistics are those of the batch.
// CHECK-LABEL: func @training(
// CHECK: nn.conv
// CHECK: nn.batch_norm
func.func @training(%x: tensor<2x1x8xf32>) -> tensor<2x1x8xf32> {
  %one = nn.constant dense<1.0> : tensor<1xf32>
  %w = nn.constant dense<2.0> : tensor<1x1x1xf32>
  %y = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<2x1x8xf32>, tensor<1x1x1xf32>) -> tensor<2x1x8xf32>
  %m = nn.reduce %y {axes = array<i64: 0, 2>, kind = #nn.reduce_kind<mean>, keep_dims = false} : (tensor<2x1x8xf32>) -> tensor<1xf32>
  // expected-remark @+1 {{its parameters are not constant}}
  %z = nn.batch_norm %y, %one, %one, %m, %one {epsilon = 0.1 : f64} : (tensor<2x1x8xf32>, tensor<1xf32>, tensor<1xf32>,
    tensor<1xf32>, tensor<1xf32>) -> tensor<2x1x8xf32>
  return %z : tensor<2x1x8xf32>
}

// -----

// rms_norm has no shift to join.
// CHECK-LABEL: func @behind_rms_norm(
// CHECK: nn.rms_norm
// CHECK: nn.mul
// CHECK: nn.add
func.func @behind_rms_norm(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %t = nn.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %m = nn.constant dense<0.0> : tensor<2xf32>
  %v = nn.constant dense<1.0> : tensor<2xf32>
  %0 = nn.rms_norm %x, %v {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{rms_norm has no shift}}
  %1 = nn.batch_norm %0, %s, %t, %m, %v {epsilon = 0.0 : f64}
    : (tensor<3x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}
