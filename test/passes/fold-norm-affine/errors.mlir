// What does not fold, and the reason that is given.
// RUN: nnopt-opt %s --fold-norm-affine --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// A residual needs the scaled rows.
// CHECK-LABEL: func @residual
// CHECK: nn.rms_norm
func.func @residual(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{nn.add uses it too}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %2 = nn.add %0, %1 : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  return %2 : tensor<3x2xf32>
}

// -----

// So does an output.
// CHECK-LABEL: func @output
// CHECK: nn.rms_norm
func.func @output(%x: tensor<3x2xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{it is an output}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1, %0 : tensor<3x2xf32>, tensor<3x2xf32>
}

// -----

// Weights that an embedding uses too.
// CHECK-LABEL: func @shared
// CHECK: nn.rms_norm
func.func @shared(%x: tensor<3x2xf32>) -> (tensor<3x2xf32>, tensor<2x2xf32>) {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{the weights of a product are used elsewhere too}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1, %w : tensor<3x2xf32>, tensor<2x2xf32>
}

// -----

// A scale that is an input.
// CHECK-LABEL: func @variable_scale
// CHECK: nn.rms_norm
func.func @variable_scale(%x: tensor<3x2xf32>, %s: tensor<2xf32>) -> tensor<3x2xf32> {
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{its scale or shift is not constant}}
  %0 = nn.rms_norm %x, %s {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// -----

// Weights that are an input.
// CHECK-LABEL: func @variable_weights
// CHECK: nn.rms_norm
func.func @variable_weights(%x: tensor<3x2xf32>, %w: tensor<2x2xf32>) -> tensor<3x2xf32> {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  // expected-remark @+1 {{a product uses it otherwise than as rows times constant weights}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// -----

// Columns instead of rows.
// CHECK-LABEL: func @right_operand
// CHECK: nn.rms_norm
func.func @right_operand(%x: tensor<3x2xf32>) -> tensor<1x2xf32> {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0, 3.0]]> : tensor<1x3xf32>
  // expected-remark @+1 {{a product uses it otherwise than as rows times constant weights}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %w, %0 : (tensor<1x3xf32>, tensor<3x2xf32>) -> tensor<1x2xf32>
  return %1 : tensor<1x2xf32>
}

// -----

// A row is two dimensions.
// CHECK-LABEL: func @two_dimensions
// CHECK: nn.rms_norm
func.func @two_dimensions(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %g = nn.constant dense<2.0> : tensor<3x2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{it normalizes over more than the last dimension}}
  %0 = nn.rms_norm %x, %g {axis = 0 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %0, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// -----

// A reshape between them mixes the rows.
// CHECK-LABEL: func @rows_apart
// CHECK: nn.rms_norm
func.func @rows_apart(%x: tensor<3x2xf32>) -> tensor<2x2xf32> {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<2.0> : tensor<3x2xf32>
  %t = nn.constant dense<[2, 3]> : tensor<2xi64>
  // expected-remark @+1 {{a reshape that takes rows apart uses it}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.reshape %0, %t : (tensor<3x2xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %2 = nn.matmul %1, %w : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
  return %2 : tensor<2x2xf32>
}

// -----

// Post-norm: the skip beside the product is a normalization that was scaled and shifted.
// CHECK-LABEL: func @post_norm
// CHECK: nn.layer_norm
func.func @post_norm(%x: tensor<3x4xf32>) -> tensor<3x2xf32> {
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<4x2xf32>
  %v = nn.constant dense<1.0> : tensor<2x2xf32>
  %s = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %0 = nn.matmul %x, %w : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{nn.add uses it too}}
  %1 = nn.layer_norm %0, %ones, %s {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %2 = nn.matmul %1, %v : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %3 = nn.add %1, %2 : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{nn.layer_norm makes what is normalized}}
  %4 = nn.layer_norm %3, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %4 : tensor<3x2xf32>
}

// -----

// The skip is read by an activation: it would see centered rows.
// CHECK-LABEL: func @skip_is_read
// CHECK: nn.layer_norm
func.func @skip_is_read(%x: tensor<3x4xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<4x2xf32>
  %0 = nn.matmul %x, %w : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{nn.relu reads what is normalized too}}
  %1 = nn.layer_norm %0, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %2 = nn.relu %0 : (tensor<3x2xf32>) -> tensor<3x2xf32>
  return %1, %2 : tensor<3x2xf32>, tensor<3x2xf32>
}

// -----

// What is normalized is an output as well.
// CHECK-LABEL: func @stream_is_output
// CHECK: nn.layer_norm
func.func @stream_is_output(%x: tensor<3x4xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<4x2xf32>
  %0 = nn.matmul %x, %w : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{what is normalized is an output}}
  %1 = nn.layer_norm %0, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %1, %0 : tensor<3x2xf32>, tensor<3x2xf32>
}

// -----

// Nobody can center an input.
// CHECK-LABEL: func @of_an_input
// CHECK: nn.layer_norm
func.func @of_an_input(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  // expected-remark @+1 {{what is normalized is an input}}
  %1 = nn.layer_norm %x, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// -----

// Nor what an activation makes.
// CHECK-LABEL: func @behind_an_activation
// CHECK: nn.layer_norm
func.func @behind_an_activation(%x: tensor<3x4xf32>) -> tensor<3x2xf32> {
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<4x2xf32>
  %0 = nn.matmul %x, %w : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  %1 = nn.relu %0 : (tensor<3x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{nn.relu makes what is normalized}}
  %2 = nn.layer_norm %1, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %2 : tensor<3x2xf32>
}

// -----

// Weights that are an input.
// CHECK-LABEL: func @weights_of_the_user
// CHECK: nn.layer_norm
func.func @weights_of_the_user(%x: tensor<3x4xf32>, %w: tensor<4x2xf32>) -> tensor<3x2xf32> {
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %0 = nn.matmul %x, %w : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{of nn.matmul before it: its weights are not constant}}
  %1 = nn.layer_norm %0, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// -----

// The table is the matrix of the classifier, too.
// CHECK-LABEL: func @tied_table
// CHECK: nn.layer_norm
func.func @tied_table(%ids: tensor<3xi64>) -> tensor<3x5xf32> {
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %t = nn.constant dense<1.0> : tensor<5x2xf32>
  %0 = nn.gather %t, %ids {axis = 0 : i64} : (tensor<5x2xf32>, tensor<3xi64>) -> tensor<3x2xf32>
  // expected-remark @+1 {{a table of it is used elsewhere too}}
  %1 = nn.layer_norm %0, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %2 = nn.matmul %1, %t {transpose_b} : (tensor<3x2xf32>, tensor<5x2xf32>) -> tensor<3x5xf32>
  return %2 : tensor<3x5xf32>
}

// -----

// Dimension 0 of what is normalized is normalized elsewhere.
// CHECK-LABEL: func @columns
// CHECK: nn.layer_norm
func.func @columns(%x: tensor<2x4xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>) {
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<1.0> : tensor<4x2xf32>
  %0 = nn.matmul %x, %w : (tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<2x2xf32>
  %t = nn.transpose %0 {perm = array<i64: 1, 0>} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  // expected-remark @+1 {{a normalization goes over other dimensions}}
  %1 = nn.layer_norm %0, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  // expected-remark @+1 {{rows are no output channels of nn.matmul}}
  %2 = nn.layer_norm %t, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  return %1, %2 : tensor<2x2xf32>, tensor<2x2xf32>
}

// -----

// Queries that are keys, too: the scale would count twice.
// CHECK-LABEL: func @queries_are_keys
// CHECK: nn.attention {{.*}}scale = 5.000000e-01
func.func @queries_are_keys(%x: tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32> {
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  %q = nn.matmul %x, %w : (tensor<1x1x3x2xf32>, tensor<2x2xf32>) -> tensor<1x1x3x2xf32>
  // expected-remark @+1 {{the queries have other users}}
  %y = nn.attention %q, %q, %x {scale = 0.5 : f64} : (tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32>
  return %y : tensor<1x1x3x2xf32>
}

// -----

// Nothing computes the queries.
// CHECK-LABEL: func @queries_are_input
// CHECK: nn.attention {{.*}}scale = 5.000000e-01
func.func @queries_are_input(%q: tensor<1x1x3x2xf32>, %k: tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32> {
  // expected-remark @+1 {{its operand is not the result of a convolution or matrix product}}
  %y = nn.attention %q, %k, %k {scale = 0.5 : f64} : (tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32>
  return %y : tensor<1x1x3x2xf32>
}

// -----

// An activation between.
// CHECK-LABEL: func @activated_queries
// CHECK: nn.attention {{.*}}scale = 5.000000e-01
func.func @activated_queries(%x: tensor<1x1x3x2xf32>, %k: tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32> {
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  %0 = nn.matmul %x, %w : (tensor<1x1x3x2xf32>, tensor<2x2xf32>) -> tensor<1x1x3x2xf32>
  %q = nn.gelu %0 : (tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32>
  // expected-remark @+1 {{nn.gelu does not let it through}}
  %y = nn.attention %q, %k, %k {scale = 0.5 : f64} : (tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32>
  return %y : tensor<1x1x3x2xf32>
}

// -----

// A slice of each row.
// CHECK-LABEL: func @part_of_rows
// CHECK: nn.rms_norm
func.func @part_of_rows(%x: tensor<3x2xf32>) -> tensor<3x1xf32> {
  %g = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<2.0> : tensor<1x1xf32>
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i1 = nn.constant dense<1> : tensor<1xi64>
  // expected-remark @+1 {{nn.slice uses it too}}
  %0 = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %1 = nn.slice %0[%i0 : %i1 axes %i1] : (tensor<3x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3x1xf32>
  %2 = nn.matmul %1, %w : (tensor<3x1xf32>, tensor<1x1xf32>) -> tensor<3x1xf32>
  return %2 : tensor<3x1xf32>
}
