// What no kernel reads in fewer bits is folded.
// RUN: nnopt-opt %s --fold-constants --split-input-file | FileCheck %s --implicit-check-not=nn.dequantize --implicit-check-not=nn.cast

// A scale for each row of the depth: groups are at least eight rows.
// CHECK-LABEL: func @rows
func.func @rows(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  %q = nn.constant dense<[[1, 2, 3], [4, 5, -6]]> : tensor<2x3xi8>
  %s = nn.constant dense<[[0.5], [0.25]]> : tensor<2x1xf32>
  %w = nn.dequantize %q, %s {to = f32} : (tensor<2x3xi8>, tensor<2x1xf32>) -> tensor<2x3xf32>
  %y = nn.matmul %x, %w : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// Somebody else reads the weights too.
// CHECK-LABEL: func @shared
func.func @shared(%x: tensor<?x2xf32>, %z: tensor<2x2xf32>) -> (tensor<?x2xf32>, tensor<2x2xf32>) {
  %q = nn.constant dense<[[1, 2], [4, 5]]> : tensor<2x2xi8>
  %s = nn.constant dense<0.5> : tensor<f32>
  %w = nn.dequantize %q, %s {to = f32} : (tensor<2x2xi8>, tensor<f32>) -> tensor<2x2xf32>
  %y = nn.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %a = nn.add %z, %w : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %y, %a : tensor<?x2xf32>, tensor<2x2xf32>
}

// -----

// One column; the left operand; a batch of matrices; 64-bit floats.
// CHECK-LABEL: func @products
func.func @products(%x: tensor<?x2xf32>, %b: tensor<2x2x2xf32>, %d: tensor<2x2xf64>)
    -> (tensor<?x1xf32>, tensor<2x2x2xf32>, tensor<2x2x2xf32>, tensor<2x2xf64>) {
  %h = nn.constant dense<[[1.0], [2.0]]> : tensor<2x1xf16>
  %w = nn.cast %h {to = f32} : (tensor<2x1xf16>) -> tensor<2x1xf32>
  %0 = nn.matmul %x, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  %l = nn.constant dense<[[1.0, 3.0], [2.0, 4.0]]> : tensor<2x2xf16>
  %left = nn.cast %l {to = f32} : (tensor<2x2xf16>) -> tensor<2x2xf32>
  %1 = nn.matmul %left, %b : (tensor<2x2xf32>, tensor<2x2x2xf32>) -> tensor<2x2x2xf32>
  %m = nn.constant dense<[[[1.0, 3.0], [2.0, 4.0]], [[1.0, 3.0], [2.0, 5.0]]]> : tensor<2x2x2xf16>
  %matrices = nn.cast %m {to = f32} : (tensor<2x2x2xf16>) -> tensor<2x2x2xf32>
  %2 = nn.matmul %b, %matrices : (tensor<2x2x2xf32>, tensor<2x2x2xf32>) -> tensor<2x2x2xf32>
  %n = nn.constant dense<[[1.0, 3.0], [2.0, 4.0]]> : tensor<2x2xbf16>
  %wide = nn.cast %n {to = f64} : (tensor<2x2xbf16>) -> tensor<2x2xf64>
  %3 = nn.matmul %d, %wide : (tensor<2x2xf64>, tensor<2x2xf64>) -> tensor<2x2xf64>
  return %0, %1, %2, %3 : tensor<?x1xf32>, tensor<2x2x2xf32>, tensor<2x2x2xf32>, tensor<2x2xf64>
}

// -----

// Columns of a table; rows that are known; the indices.
// CHECK-LABEL: func @lookups
func.func @lookups(%i: tensor<?xi64>, %t: tensor<4x2xf32>) -> (tensor<3x?xf32>, tensor<1x2xf32>) {
  %h = nn.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xbf16>
  %w = nn.cast %h {to = f32} : (tensor<3x2xbf16>) -> tensor<3x2xf32>
  %0 = nn.gather %w, %i {axis = 1 : i64} : (tensor<3x2xf32>, tensor<?xi64>) -> tensor<3x?xf32>
  %g = nn.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]> : tensor<3x2xbf16>
  %v = nn.cast %g {to = f32} : (tensor<3x2xbf16>) -> tensor<3x2xf32>
  %known = nn.constant dense<1> : tensor<1xi64>
  %1 = nn.gather %v, %known {axis = 0 : i64} : (tensor<3x2xf32>, tensor<1xi64>) -> tensor<1x2xf32>
  return %0, %1 : tensor<3x?xf32>, tensor<1x2xf32>
}
