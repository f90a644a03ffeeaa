// RUN: nnopt-opt %s --cleanup-transposes --split-input-file | FileCheck %s

// A transpose of weights becomes a flag of the matrix product.
// CHECK-LABEL: func @flag
func.func @flag(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: nn.matmul %arg0, %arg1 {transpose_b}
  %0 = nn.transpose %w {perm = array<i64: 1, 0>} : (tensor<8x4xf32>) -> tensor<4x8xf32>
  %1 = nn.matmul %x, %0 : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}

// -----

// Only dimensions of one element move: a view.
// CHECK-LABEL: func @view
func.func @view(%x: tensor<?x1x1x8xf32> {nn.dims = ["n", 1, 1, 8]}) -> tensor<?x8x1x1xf32> {
  // CHECK: %[[S:.*]] = nn.constant dense<[0, 8, 1, 1]>
  // CHECK: nn.reshape %arg0, %[[S]]
  // CHECK-NOT: nn.transpose
  %0 = nn.transpose %x {perm = array<i64: 0, 3, 1, 2>} : (tensor<?x1x1x8xf32>) -> tensor<?x8x1x1xf32>
  return %0 : tensor<?x8x1x1xf32>
}

// -----

// Rows of a matrix product are independent: the reshapes around it are not needed, and what follows can
// become its epilogue.
// CHECK-LABEL: func @rows
func.func @rows(%x: tensor<?x?x4xf32> {nn.dims = ["n", "t", 4]}, %w: tensor<4x8xf32>, %r: tensor<?x?x8xf32> {nn.dims = ["n", "t", 8]})
    -> tensor<?x?x8xf32> {
  // CHECK-NEXT: %[[Y:.*]] = nn.matmul %arg0, %arg1 {{.*}} -> tensor<?x?x8xf32>
  // CHECK-NEXT: nn.add %[[Y]], %arg2
  %two = nn.constant dense<[-1, 4]> : tensor<2xi64>
  %0 = nn.reshape %x, %two : (tensor<?x?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %1 = nn.matmul %0, %w : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
  %shape = nn.shape %r : (tensor<?x?x8xf32>) -> tensor<3xi64>
  %2 = nn.reshape %1, %shape : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  %3 = nn.add %2, %r : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %3 : tensor<?x?x8xf32>
}

// -----

// CHECK-LABEL: func @elementwise
func.func @elementwise(%x: tensor<6x4xf32>, %w: tensor<4x8xf32>) -> tensor<2x3x8xf32> {
  // CHECK: %[[Y:.*]] = nn.matmul
  // CHECK: %[[Z:.*]] = nn.relu %[[Y]]
  // CHECK: nn.reshape %[[Z]]
  %shape = nn.constant dense<[2, 3, 8]> : tensor<3xi64>
  %0 = nn.matmul %x, %w : (tensor<6x4xf32>, tensor<4x8xf32>) -> tensor<6x8xf32>
  %1 = nn.reshape %0, %shape : (tensor<6x8xf32>, tensor<3xi64>) -> tensor<2x3x8xf32>
  %2 = nn.relu %1 : (tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  return %2 : tensor<2x3x8xf32>
}

// -----

// CHECK-LABEL: func @neutral
func.func @neutral(%x: tensor<4xf16>) -> tensor<4xf16> {
  // CHECK-NEXT: return %arg0
  %zero = nn.constant dense<0.0> : tensor<4xf32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.cast %x {to = f32} : (tensor<4xf16>) -> tensor<4xf32>
  %1 = nn.add %zero, %0 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %2 = nn.div %1, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %3 = nn.cast %2 {to = f16} : (tensor<4xf32>) -> tensor<4xf16>
  return %3 : tensor<4xf16>
}

// -----

// Batch and heads are merged for a swap of the last two dimensions, and split again.
// CHECK-LABEL: func @swap_between_reshapes
func.func @swap_between_reshapes(%x: tensor<?x8x?x4xf32> {nn.dims = ["b", 8, "t", 4]}, %like: tensor<?x8x4x?xf32> {nn.dims = ["b", 8, 4, "t"]})
    -> tensor<?x8x4x?xf32> {
  // CHECK: %[[Y:.*]] = nn.transpose %arg0 {perm = array<i64: 0, 1, 3, 2>}
  // CHECK: return %[[Y]]
  %all = nn.constant dense<-1> : tensor<1xi64>
  %size = nn.shape %x {start = 2 : i64} : (tensor<?x8x?x4xf32>) -> tensor<2xi64>
  %merged = nn.concat %all, %size {axis = 0 : i64} : (tensor<1xi64>, tensor<2xi64>) -> tensor<3xi64>
  %0 = nn.reshape %x, %merged : (tensor<?x8x?x4xf32>, tensor<3xi64>) -> tensor<?x?x4xf32>
  %1 = nn.transpose %0 {perm = array<i64: 0, 2, 1>} : (tensor<?x?x4xf32>) -> tensor<?x4x?xf32>
  %shape = nn.shape %like : (tensor<?x8x4x?xf32>) -> tensor<4xi64>
  %2 = nn.reshape %1, %shape : (tensor<?x4x?xf32>, tensor<4xi64>) -> tensor<?x8x4x?xf32>
  return %2 : tensor<?x8x4x?xf32>
}

// -----

// Transposes that undo each other around an elementwise operation; its constants change their order.
// CHECK-LABEL: func @between_transposes
func.func @between_transposes(%x: tensor<?x2x3xf32>) -> tensor<?x2x3xf32> {
  // CHECK: %[[C:.*]] = nn.constant dense<{{.*}}1.000000e+00{{.*}}2.000000e+00{{.*}}> : tensor<1x2x1xf32>
  // CHECK-NEXT: nn.mul %arg0, %[[C]]
  // CHECK-NOT: nn.transpose
  %c = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %0 = nn.transpose %x {perm = array<i64: 0, 2, 1>} : (tensor<?x2x3xf32>) -> tensor<?x3x2xf32>
  %1 = nn.mul %0, %c : (tensor<?x3x2xf32>, tensor<2xf32>) -> tensor<?x3x2xf32>
  %2 = nn.transpose %1 {perm = array<i64: 0, 2, 1>} : (tensor<?x3x2xf32>) -> tensor<?x2x3xf32>
  return %2 : tensor<?x2x3xf32>
}

// -----

// CHECK-LABEL: func @casts
func.func @casts(%x: tensor<4xui8>, %y: tensor<4xf16>) -> (tensor<4xf16>, tensor<4xi32>) {
  // CHECK-NEXT: %[[A:.*]] = nn.cast %arg0 {{.*}}to = f16
  // CHECK-NEXT: %[[B:.*]] = nn.cast %arg1 {{.*}}to = i32
  // CHECK-NEXT: return %[[A]], %[[B]]
  %0 = nn.cast %x {to = f32} : (tensor<4xui8>) -> tensor<4xf32>
  %1 = nn.cast %0 {to = f16} : (tensor<4xf32>) -> tensor<4xf16>
  %2 = nn.cast %y {to = f32} : (tensor<4xf16>) -> tensor<4xf32>
  %3 = nn.cast %2 {to = i32} : (tensor<4xf32>) -> tensor<4xi32>
  return %1, %3 : tensor<4xf16>, tensor<4xi32>
}
