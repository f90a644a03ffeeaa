// Folders: what canonicalize does to single operations.
// RUN: nnopt-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func @no_ops
// CHECK-SAME: (%[[X:.*]]: tensor<2x3xf32>, %[[D:.*]]: tensor<?x3xf32>, %{{.*}}: tensor<2xi64>)
// CHECK-NEXT: return %[[X]], %[[X]], %[[D]], %[[X]], %[[D]], %[[X]], %[[X]]
func.func @no_ops(%x: tensor<2x3xf32>, %d: tensor<?x3xf32>, %s: tensor<2xi64>) -> (tensor<2x3xf32>, tensor<2x3xf32>, tensor<?x3xf32>, tensor<2x3xf32>, tensor<?x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>) {
  %0 = nn.reshape %x, %s : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %1 = nn.cast %x {to = f32} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %2 = nn.transpose %d {perm = array<i64: 0, 1>} : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %3 = nn.expand %x, %s : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %4 = nn.flatten %d {axis = 1 : i64} : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %5 = nn.concat %x {axis = 0 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %6 = nn.squeeze %x {axes = array<i64>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %0, %1, %2, %3, %4, %5, %6 : tensor<2x3xf32>, tensor<2x3xf32>, tensor<?x3xf32>, tensor<2x3xf32>, tensor<?x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>
}

// The types do not tell these apart: dimensions may differ.
// CHECK-LABEL: func @dynamic
// CHECK: nn.reshape
// CHECK: nn.expand
func.func @dynamic(%d: tensor<?x3xf32>, %s: tensor<2xi64>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %0 = nn.reshape %d, %s : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  %1 = nn.expand %d, %s : (tensor<?x3xf32>, tensor<2xi64>) -> tensor<?x3xf32>
  return %0, %1 : tensor<?x3xf32>, tensor<?x3xf32>
}

// CHECK-LABEL: func @transposes
// CHECK-NEXT: nn.transpose %{{.*}} {perm = array<i64: 2, 1, 0>} : (tensor<2x3x4xf32>) -> tensor<4x3x2xf32>
// CHECK-NEXT: return
func.func @transposes(%x: tensor<2x3x4xf32>) -> tensor<4x3x2xf32> {
  %0 = nn.transpose %x {perm = array<i64: 1, 2, 0>} : (tensor<2x3x4xf32>) -> tensor<3x4x2xf32>
  %1 = nn.transpose %0 {perm = array<i64: 1, 0, 2>} : (tensor<3x4x2xf32>) -> tensor<4x3x2xf32>
  return %1 : tensor<4x3x2xf32>
}

// CHECK-LABEL: func @inverse_transposes
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>)
// CHECK-NEXT: return %[[X]]
func.func @inverse_transposes(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %0 = nn.transpose %x {perm = array<i64: 1, 2, 0>} : (tensor<2x3x4xf32>) -> tensor<3x4x2xf32>
  %1 = nn.transpose %0 {perm = array<i64: 2, 0, 1>} : (tensor<3x4x2xf32>) -> tensor<2x3x4xf32>
  return %1 : tensor<2x3x4xf32>
}

// CHECK-LABEL: func @reshapes
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>)
// CHECK: %[[INNER:.*]] = nn.flatten %[[X]]
// CHECK: nn.reshape %[[X]], %{{.*}} -> tensor<4x6xf32>
// A 0 copies from the inner result: that must stay.
// CHECK: nn.reshape %[[INNER]], %{{.*}} -> tensor<6x2x2xf32>
func.func @reshapes(%x: tensor<2x3x4xf32>) -> (tensor<4x6xf32>, tensor<6x2x2xf32>) {
  %s0 = nn.constant dense<[4, -1]> : tensor<2xi64>
  %0 = nn.flatten %x {axis = 2 : i64} : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
  %1 = nn.reshape %0, %s0 : (tensor<6x4xf32>, tensor<2xi64>) -> tensor<4x6xf32>
  %s1 = nn.constant dense<[0, 2, 2]> : tensor<3xi64>
  %2 = nn.reshape %0, %s1 : (tensor<6x4xf32>, tensor<3xi64>) -> tensor<6x2x2xf32>
  return %1, %2 : tensor<4x6xf32>, tensor<6x2x2xf32>
}

// CHECK-LABEL: func @shapes
// CHECK-DAG: nn.constant dense<[3, 4]> : tensor<2xi64>
// CHECK-DAG: nn.constant dense<24> : tensor<i64>
// CHECK-DAG: nn.constant dense<1.500000e+00> : tensor<2x3xf32>
func.func @shapes(%x: tensor<2x3x4xf32>, %s: tensor<2xi64>) -> (tensor<2xi64>, tensor<i64>, tensor<2x3xf32>) {
  %0 = nn.shape %x {start = -2 : i64} : (tensor<2x3x4xf32>) -> tensor<2xi64>
  %1 = nn.size %x : (tensor<2x3x4xf32>) -> tensor<i64>
  %2 = nn.constant_of_shape %s {value = dense<1.5> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<2x3xf32>
  return %0, %1, %2 : tensor<2xi64>, tensor<i64>, tensor<2x3xf32>
}

// CHECK-LABEL: func @squeezes
// CHECK-SAME: (%[[X:.*]]: tensor<?x3xf32>)
// CHECK-NEXT: return %[[X]]
func.func @squeezes(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %0 = nn.unsqueeze %x {axes = array<i64: 1, 3>} : (tensor<?x3xf32>) -> tensor<?x1x3x1xf32>
  %1 = nn.squeeze %0 {axes = array<i64: 3, 1>} : (tensor<?x1x3x1xf32>) -> tensor<?x3xf32>
  return %1 : tensor<?x3xf32>
}
