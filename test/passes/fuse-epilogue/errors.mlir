// What is not fused, and the reason that is given.
// RUN: nnopt-opt %s --fuse-epilogue --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// CHECK-LABEL: func @three_results
// CHECK: nn.matmul
// CHECK: nn.sigmoid
func.func @three_results(%x: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) {
  // expected-remark @+1 {{Arguments=0, Operations=1, Results=2}}
  %0 = nn.matmul %x, %x : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.relu %0 : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %2 = nn.sigmoid %1 : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0, %1, %2 : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
}

// -----

// The second operand depends on the product: a fused operation would have to stand before and behind the reduction.
// CHECK-LABEL: func @needed_for_operand
// CHECK: nn.matmul
// CHECK: nn.mul
func.func @needed_for_operand(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // expected-remark @+1 {{nn.reduce: it is not elementwise}}
  %0 = nn.matmul %x, %x : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.reduce %0 {kind = #nn.reduce_kind<mean>, axes = array<i64: 0>, keep_dims = false} : (tensor<4x4xf32>) -> tensor<4xf32>
  %2 = nn.mul %0, %1 : (tensor<4x4xf32>, tensor<4xf32>) -> tensor<4x4xf32>
  return %2 : tensor<4x4xf32>
}

// -----

// The factor is computed from the product itself (squeeze and excitation).
// CHECK-LABEL: func @depends_on_result
// CHECK: nn.matmul
// CHECK: nn.reduce
// CHECK: nn.mul
func.func @depends_on_result(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // expected-remark @+1 {{nn.reduce: it is not elementwise}}
  %0 = nn.matmul %x, %x : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.reduce %0 {kind = #nn.reduce_kind<mean>, axes = array<i64: 0>, keep_dims = true} : (tensor<4x4xf32>) -> tensor<1x4xf32>
  %2 = nn.mul %0, %1 : (tensor<4x4xf32>, tensor<1x4xf32>) -> tensor<4x4xf32>
  return %2 : tensor<4x4xf32>
}

// -----

// CHECK-LABEL: func @enlarged
// CHECK: nn.add
func.func @enlarged(%x: tensor<4x4xf32>, %y: tensor<2x4x4xf32>) -> tensor<2x4x4xf32> {
  // expected-remark @+1 {{nn.add: it changes the shape}}
  %0 = nn.matmul %x, %x : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.add %0, %y : (tensor<4x4xf32>, tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  return %1 : tensor<2x4x4xf32>
}

// -----

// Dimensions of different names may be 1 or equal: not known to be as large as the result.
// CHECK-LABEL: func @unknown_broadcast
// CHECK: nn.add
func.func @unknown_broadcast(%x: tensor<?x4xf32> {nn.dims = ["n", 4]}, %w: tensor<4x4xf32>,
                             %y: tensor<?x4xf32> {nn.dims = ["m", 4]}) -> tensor<?x4xf32> {
  // expected-remark @+1 {{nn.add: it changes the shape}}
  %0 = nn.matmul %x, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %1 = nn.add %0, %y : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %1 : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func @column
// CHECK: nn.add
func.func @column(%x: tensor<4x4xf32>, %y: tensor<4x1xf32>) -> tensor<4x4xf32> {
  // expected-remark @+1 {{an operand is neither a number, a vector along the last dimension nor as large as the result}}
  %0 = nn.matmul %x, %x : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.add %0, %y : (tensor<4x4xf32>, tensor<4x1xf32>) -> tensor<4x4xf32>
  return %1 : tensor<4x4xf32>
}

// -----

// CHECK-LABEL: func @channels_first
// CHECK: nn.add
func.func @channels_first(%x: tensor<1x4x8xf32>, %y: tensor<8xf32>) -> tensor<1x4x8xf32> {
  %w = nn.constant dense<1.0> : tensor<4x4x1xf32>
  // expected-remark @+1 {{a vector operand needs channels last}}
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x4x8xf32>, tensor<4x4x1xf32>) -> tensor<1x4x8xf32>
  %1 = nn.add %0, %y : (tensor<1x4x8xf32>, tensor<8xf32>) -> tensor<1x4x8xf32>
  return %1 : tensor<1x4x8xf32>
}

// -----

// CHECK-LABEL: func @integers
// CHECK: nn.relu
func.func @integers(%x: tensor<4x4xi32>) -> tensor<4x4xi32> {
  %0 = nn.matmul %x, %x : (tensor<4x4xi32>, tensor<4x4xi32>) -> tensor<4x4xi32>
  %1 = nn.relu %0 : (tensor<4x4xi32>) -> tensor<4x4xi32>
  return %1 : tensor<4x4xi32>
}

// -----

// Only small integers accumulate in a type of their own.
// CHECK-LABEL: func @wide_integers
// CHECK: nn.cast
func.func @wide_integers(%x: tensor<4x4xi32>) -> tensor<4x4xf32> {
  %0 = nn.matmul %x, %x : (tensor<4x4xi32>, tensor<4x4xi32>) -> tensor<4x4xi32>
  %1 = nn.cast %0 {to = f32} : (tensor<4x4xi32>) -> tensor<4x4xf32>
  return %1 : tensor<4x4xf32>
}
