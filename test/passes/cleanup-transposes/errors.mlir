// What must stay.
// RUN: nnopt-opt %s --cleanup-transposes --split-input-file | FileCheck %s

// More than the last two dimensions move.
// CHECK-LABEL: func @heads
// CHECK: nn.transpose
// CHECK: nn.matmul %{{.*}}, %{{.*}} :
func.func @heads(%x: tensor<2x3x4xf32>, %y: tensor<3x2x5xf32>) -> tensor<3x4x5xf32> {
  %0 = nn.transpose %x {perm = array<i64: 1, 2, 0>} : (tensor<2x3x4xf32>) -> tensor<3x4x2xf32>
  %1 = nn.matmul %0, %y : (tensor<3x4x2xf32>, tensor<3x2x5xf32>) -> tensor<3x4x5xf32>
  return %1 : tensor<3x4x5xf32>
}

// -----

// 1 - x and 1 / x are not x; adding a zero that enlarges is not nothing.
// CHECK-LABEL: func @not_neutral
// CHECK: nn.div
// CHECK: nn.add
func.func @not_neutral(%x: tensor<4xf32>) -> tensor<2x4xf32> {
  %zero = nn.constant dense<0.0> : tensor<2x4xf32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.div %one, %x : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.add %zero, %0 : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %1 : tensor<2x4xf32>
}

// -----

// A narrower type between loses bits.
// CHECK-LABEL: func @narrow
// CHECK: nn.cast
// CHECK: nn.cast
func.func @narrow(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.cast %x {to = f16} : (tensor<4xf32>) -> tensor<4xf16>
  %1 = nn.cast %0 {to = f32} : (tensor<4xf16>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// The second reshape does not undo the first: rows and columns are numbered differently.
// CHECK-LABEL: func @other_rows
// CHECK: nn.reshape
// CHECK: nn.matmul
// CHECK: nn.reshape
func.func @other_rows(%x: tensor<2x3x4xf32>, %w: tensor<4x8xf32>) -> tensor<3x2x8xf32> {
  %two = nn.constant dense<[6, 4]> : tensor<2xi64>
  %shape = nn.constant dense<[3, 2, 8]> : tensor<3xi64>
  %0 = nn.reshape %x, %two : (tensor<2x3x4xf32>, tensor<2xi64>) -> tensor<6x4xf32>
  %1 = nn.matmul %0, %w : (tensor<6x4xf32>, tensor<4x8xf32>) -> tensor<6x8xf32>
  %2 = nn.reshape %1, %shape : (tensor<6x8xf32>, tensor<3xi64>) -> tensor<3x2x8xf32>
  return %2 : tensor<3x2x8xf32>
}

// -----

// A column cannot move before a reshape that renumbers rows.
// CHECK-LABEL: func @column
// CHECK: nn.reshape
// CHECK: nn.add
func.func @column(%x: tensor<6x4xf32>, %w: tensor<4x8xf32>, %c: tensor<2x3x1xf32>) -> tensor<2x3x8xf32> {
  %shape = nn.constant dense<[2, 3, 8]> : tensor<3xi64>
  %0 = nn.matmul %x, %w : (tensor<6x4xf32>, tensor<4x8xf32>) -> tensor<6x8xf32>
  %1 = nn.reshape %0, %shape : (tensor<6x8xf32>, tensor<3xi64>) -> tensor<2x3x8xf32>
  %2 = nn.add %1, %c : (tensor<2x3x8xf32>, tensor<2x3x1xf32>) -> tensor<2x3x8xf32>
  return %2 : tensor<2x3x8xf32>
}

// -----

// 300 as i8 is 44, as f32 and then i8 it is cut off; a variable operand is not in the other order.
// CHECK-LABEL: func @wraps
// CHECK: nn.cast
// CHECK: nn.cast
// CHECK: nn.transpose
// CHECK: nn.transpose
func.func @wraps(%x: tensor<4xi16>, %y: tensor<2x3xf32>, %z: tensor<3x2xf32>) -> (tensor<4xi8>, tensor<2x3xf32>) {
  %0 = nn.cast %x {to = f32} : (tensor<4xi16>) -> tensor<4xf32>
  %1 = nn.cast %0 {to = i8} : (tensor<4xf32>) -> tensor<4xi8>
  %2 = nn.transpose %y {perm = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %3 = nn.add %2, %z : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  %4 = nn.transpose %3 {perm = array<i64: 1, 0>} : (tensor<3x2xf32>) -> tensor<2x3xf32>
  return %1, %4 : tensor<4xi8>, tensor<2x3xf32>
}
