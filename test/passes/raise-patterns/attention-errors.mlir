// Attention that keeps its form, and the reason that is given.
// RUN: nnopt-opt %s --raise-patterns --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// Whoever wants to see the probabilities needs them.
// CHECK-LABEL: func @probabilities_are_output
// CHECK-NOT: nn.attention
func.func @probabilities_are_output(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>) -> (tensor<1x2x3x4xf32>, tensor<1x2x3x3xf32>) {
  %s = nn.matmul %q, %k {transpose_b} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x3xf32>
  %p = nn.softmax %s {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // expected-remark @+1 {{the probabilities have other users}}
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %y, %p : tensor<1x2x3x4xf32>, tensor<1x2x3x3xf32>
}

// -----

// The same with scores: what comes out of the product is used twice.
// CHECK-LABEL: func @scores_are_output
// CHECK-NOT: nn.attention
func.func @scores_are_output(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>, %m: tensor<3x3xf32>) -> (tensor<1x2x3x4xf32>, tensor<1x2x3x3xf32>) {
  %c = nn.constant dense<0.5> : tensor<f32>
  %s = nn.matmul %q, %k {transpose_b} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x3xf32>
  %t = nn.mul %s, %c : (tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %u = nn.add %t, %m : (tensor<1x2x3x3xf32>, tensor<3x3xf32>) -> tensor<1x2x3x3xf32>
  %p = nn.softmax %u {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %y, %s : tensor<1x2x3x4xf32>, tensor<1x2x3x3xf32>
}

// -----

// Softmax over the queries is something else.
// CHECK-LABEL: func @other_axis
// CHECK-NOT: nn.attention
func.func @other_axis(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %s = nn.matmul %q, %k {transpose_b} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x3xf32>
  %p = nn.softmax %s {axis = 2 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %y : tensor<1x2x3x4xf32>
}

// -----

// One image attends to five.
// CHECK-LABEL: func @broadcast_keys
// CHECK-NOT: nn.attention
func.func @broadcast_keys(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<5x2x3x4xf32>) -> tensor<5x2x3x4xf32> {
  %s = nn.matmul %q, %k {transpose_b} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x3xf32>
  %p = nn.softmax %s {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // expected-remark @+1 {{q, k and v broadcast}}
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<5x2x3x4xf32>) -> tensor<5x2x3x4xf32>
  return %y : tensor<5x2x3x4xf32>
}

// -----

// There are no fast kernels for narrow floats.
// CHECK-LABEL: func @half
// CHECK-NOT: nn.attention
func.func @half(%q: tensor<1x2x3x4xf16>, %k: tensor<1x2x3x4xf16>, %v: tensor<1x2x3x4xf16>) -> tensor<1x2x3x4xf16> {
  %s = nn.matmul %q, %k {transpose_b} : (tensor<1x2x3x4xf16>, tensor<1x2x3x4xf16>) -> tensor<1x2x3x3xf16>
  %p = nn.softmax %s {axis = 3 : i64} : (tensor<1x2x3x3xf16>) -> tensor<1x2x3x3xf16>
  // expected-remark @+1 {{the element type is not f32 or f64}}
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf16>, tensor<1x2x3x4xf16>) -> tensor<1x2x3x4xf16>
  return %y : tensor<1x2x3x4xf16>
}

// -----

// A head of unknown size.
// CHECK-LABEL: func @head_size
// CHECK-NOT: nn.attention
func.func @head_size(%q: tensor<1x2x3x?xf32> {nn.dims = [1, 2, 3, "d"]}, %k: tensor<1x2x3x?xf32> {nn.dims = [1, 2, 3, "d"]}, %v: tensor<1x2x3x?xf32> {nn.dims = [1, 2, 3, "d"]}) -> tensor<1x2x3x?xf32> {
  %s = nn.matmul %q, %k {transpose_b} : (tensor<1x2x3x?xf32>, tensor<1x2x3x?xf32>) -> tensor<1x2x3x3xf32>
  %p = nn.softmax %s {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // expected-remark @+1 {{the size of a head is not static}}
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x?xf32>) -> tensor<1x2x3x?xf32>
  return %y : tensor<1x2x3x?xf32>
}

// -----

// Neither an addition nor a choice can express both.
// CHECK-LABEL: func @two_masks
// CHECK-NOT: nn.attention
func.func @two_masks(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>, %m: tensor<3x3xi1>, %a: tensor<3x3xf32>) -> tensor<1x2x3x4xf32> {
  %low = nn.constant dense<-1.0e4> : tensor<f32>
  %s = nn.matmul %q, %k {transpose_b} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x3xf32>
  %0 = nn.add %s, %a : (tensor<1x2x3x3xf32>, tensor<3x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = nn.where %m, %0, %low : (tensor<3x3xi1>, tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %p = nn.softmax %1 {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // expected-remark @+1 {{several masks, of which one sets scores to a number}}
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %y : tensor<1x2x3x4xf32>
}

// -----

// A product with a bias of its own.
// CHECK-LABEL: func @biased
// CHECK-NOT: nn.attention
func.func @biased(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>, %b: tensor<3xf32>) -> tensor<1x2x3x4xf32> {
  %s = nn.matmul %q, %k bias %b {transpose_b} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<3xf32>) -> tensor<1x2x3x3xf32>
  %p = nn.softmax %s {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // expected-remark @+1 {{the scores are not a product that is scaled and masked, or have other users}}
  %y = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %y : tensor<1x2x3x4xf32>
}
