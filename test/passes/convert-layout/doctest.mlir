// Channels last between two convolutions: the activation, the residual addition, the pooling and the constant
// follow, so that one transpose at each end is all that moves.
// RUN: nnopt-opt %s --convert-layout --split-input-file | FileCheck %s

// CHECK-LABEL: func @chain
func.func @chain(%x: tensor<1x3x8x8xf32>) -> tensor<1x3x4x4xf32> {
  // CHECK: %[[X:.*]] = nn.transpose %arg0 {perm = array<i64: 0, 2, 3, 1>}
  // CHECK: %[[C:.*]] = nn.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]> : tensor<3xf32>
  // CHECK: %[[Y:.*]] = nn.conv %[[X]], %{{.*}} {channels_last
  // CHECK: %[[R:.*]] = nn.relu %[[Y]]
  // CHECK: %[[S:.*]] = nn.add %[[R]], %[[X]]
  // CHECK: %[[M:.*]] = nn.mul %[[S]], %[[C]] : (tensor<1x8x8x3xf32>, tensor<3xf32>)
  // CHECK: %[[P:.*]] = nn.max_pool %[[M]] {channels_last
  // CHECK: %[[Z:.*]] = nn.conv %[[P]], %{{.*}} {channels_last
  // CHECK: nn.transpose %[[Z]] {perm = array<i64: 0, 3, 1, 2>}
  %w = nn.constant dense<1.0> : tensor<3x3x3x3xf32>
  %c = nn.constant dense<[[[1.0]], [[2.0]], [[3.0]]]> : tensor<3x1x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<1x3x8x8xf32>, tensor<3x3x3x3xf32>) -> tensor<1x3x8x8xf32>
  %1 = nn.relu %0 : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32>
  %2 = nn.add %1, %x : (tensor<1x3x8x8xf32>, tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32>
  %3 = nn.mul %2, %c : (tensor<1x3x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x3x8x8xf32>
  %4 = nn.max_pool %3 {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
    dilations = array<i64: 1, 1>} : (tensor<1x3x8x8xf32>) -> tensor<1x3x4x4xf32>
  %5 = nn.conv %4, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<1x3x4x4xf32>, tensor<3x3x3x3xf32>) -> tensor<1x3x4x4xf32>
  return %5 : tensor<1x3x4x4xf32>
}

// -----

// The mean over positions is the same in both layouts; axes, slices, concatenations and shapes are renumbered.
// CHECK-LABEL: func @renumbered
func.func @renumbered(%x: tensor<1x3x8x8xf32>) -> (tensor<1x3xf32>, tensor<1x4xf32>) {
  // CHECK: %[[Y:.*]] = nn.conv {{.*}}channels_last
  // CHECK: %[[M:.*]] = nn.reduce %[[Y]] {axes = array<i64: 1, 2>
  // CHECK: %[[A:.*]] = nn.constant dense<3> : tensor<1xi64>
  // CHECK: %[[S:.*]] = nn.slice %[[Y]][%{{.*}} : %{{.*}} axes %[[A]]]
  // CHECK: %[[C:.*]] = nn.concat %[[Y]], %[[S]] {axis = 3 : i64}
  // CHECK: %[[R:.*]] = nn.reshape %[[C]], %{{.*}} -> tensor<1x64x4xf32>
  // CHECK: %[[N:.*]] = nn.reduce %[[R]] {axes = array<i64: 1>
  // CHECK: return %[[M]], %[[N]]
  %w = nn.constant dense<1.0> : tensor<3x3x3x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<1x3x8x8xf32>, tensor<3x3x3x3xf32>) -> tensor<1x3x8x8xf32>
  %1 = nn.reduce %0 {kind = #nn.reduce_kind<mean>, axes = array<i64: 2, 3>, keep_dims = false} : (tensor<1x3x8x8xf32>) -> tensor<1x3xf32>
  %zero = nn.constant dense<0> : tensor<1xi64>
  %one = nn.constant dense<1> : tensor<1xi64>
  %2 = nn.slice %0[%zero : %one axes %one] : (tensor<1x3x8x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x8x8xf32>
  %3 = nn.concat %0, %2 {axis = 1 : i64} : (tensor<1x3x8x8xf32>, tensor<1x1x8x8xf32>) -> tensor<1x4x8x8xf32>
  %shape = nn.constant dense<[1, 4, 64]> : tensor<3xi64>
  %4 = nn.reshape %3, %shape : (tensor<1x4x8x8xf32>, tensor<3xi64>) -> tensor<1x4x64xf32>
  %5 = nn.reduce %4 {kind = #nn.reduce_kind<max>, axes = array<i64: 2>, keep_dims = false} : (tensor<1x4x64xf32>) -> tensor<1x4xf32>
  return %1, %5 : tensor<1x3xf32>, tensor<1x4xf32>
}

// -----

// A transpose of the model between the layouts is what the conversion needs anyway.
// CHECK-LABEL: func @own_transposes
// CHECK-NOT: nn.transpose
func.func @own_transposes(%x: tensor<?x8x8x3xf32>) -> tensor<?x8x8x3xf32> {
  %w = nn.constant dense<1.0> : tensor<3x3x3x3xf32>
  %0 = nn.transpose %x {perm = array<i64: 0, 3, 1, 2>} : (tensor<?x8x8x3xf32>) -> tensor<?x3x8x8xf32>
  %1 = nn.conv %0, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>,
    group = 1 : i64} : (tensor<?x3x8x8xf32>, tensor<3x3x3x3xf32>) -> tensor<?x3x8x8xf32>
  %2 = nn.transpose %1 {perm = array<i64: 0, 2, 3, 1>} : (tensor<?x3x8x8xf32>) -> tensor<?x8x8x3xf32>
  return %2 : tensor<?x8x8x3xf32>
}
