// Weights of matrix products, and tables, that are stored in fewer bits stay as they are: kernels widen them on the way.
// RUN: nnopt-opt %s --fold-constants --split-input-file | FileCheck %s --check-prefixes=CHECK,CPU
// RUN: nnopt-opt %s --fold-constants=keep-narrow-16-bit=true --split-input-file | FileCheck %s --check-prefixes=CHECK,GPU

// Integers with a scale for each column.
// CHECK-LABEL: func @columns
// CHECK: %[[W:.*]] = nn.dequantize
// CHECK: nn.matmul %arg0, %[[W]]
func.func @columns(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  %q = nn.constant dense<[[1, 2, 3], [4, 5, -6]]> : tensor<2x3xi8>
  %s = nn.constant dense<[0.5, 0.25, 2.0]> : tensor<3xf32>
  %w = nn.dequantize %q, %s {to = f32} : (tensor<2x3xi8>, tensor<3xf32>) -> tensor<2x3xf32>
  %y = nn.matmul %x, %w : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// A scale and a zero point for each block of eight rows.
// CHECK-LABEL: func @blocks
// CHECK: nn.dequantize
// CHECK: nn.reshape
// CHECK: nn.matmul
func.func @blocks(%x: tensor<?x16xf32>) -> tensor<?x2xf32> {
  %q = nn.constant dense<3> : tensor<2x8x2xui4>
  %s = nn.constant dense<[[[0.5, 0.25]], [[1.0, 2.0]]]> : tensor<2x1x2xf32>
  %z = nn.constant dense<[[[1, 2]], [[3, 4]]]> : tensor<2x1x2xui4>
  %b = nn.dequantize %q, %s, %z {to = f32} : (tensor<2x8x2xui4>, tensor<2x1x2xf32>, tensor<2x1x2xui4>) -> tensor<2x8x2xf32>
  %shape = nn.constant dense<[16, 2]> : tensor<2xi64>
  %w = nn.reshape %b, %shape : (tensor<2x8x2xf32>, tensor<2xi64>) -> tensor<16x2xf32>
  %y = nn.matmul %x, %w : (tensor<?x16xf32>, tensor<16x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// 16-bit floats; transposed; read by two products.
// CHECK-LABEL: func @halves
// CHECK: nn.cast
// CHECK: nn.matmul
// CHECK: nn.matmul
func.func @halves(%x: tensor<?x2xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %h = nn.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xbf16>
  %w = nn.cast %h {to = f32} : (tensor<3x2xbf16>) -> tensor<3x2xf32>
  %bias = nn.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %y = nn.matmul %x, %w {transpose_b} : (tensor<?x2xf32>, tensor<3x2xf32>) -> tensor<?x3xf32>
  %z = nn.matmul %x, %w bias %bias {transpose_b} : (tensor<?x2xf32>, tensor<3x2xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  return %y, %z : tensor<?x3xf32>, tensor<?x3xf32>
}

// -----

// The rows that fill the last block are cut off.
// CHECK-LABEL: func @cut
// CHECK: nn.dequantize
// CHECK: nn.slice
// CHECK: nn.matmul
func.func @cut(%x: tensor<?x13xf32>) -> tensor<?x2xf32> {
  %q = nn.constant dense<1> : tensor<2x16xi4>
  %s = nn.constant dense<[[0.5], [0.25]]> : tensor<2x1xf32>
  %w = nn.dequantize %q, %s {to = f32} : (tensor<2x16xi4>, tensor<2x1xf32>) -> tensor<2x16xf32>
  %zero = nn.constant dense<0> : tensor<1xi64>
  %end = nn.constant dense<13> : tensor<1xi64>
  %axis = nn.constant dense<1> : tensor<1xi64>
  %c = nn.slice %w[%zero : %end axes %axis] : (tensor<2x16xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x13xf32>
  %y = nn.matmul %x, %c {transpose_b} : (tensor<?x13xf32>, tensor<2x13xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// A table of which rows are looked up, shared with a product.
// CHECK-LABEL: func @lookup
// CHECK: %[[W:.*]] = nn.dequantize
// CHECK: nn.gather %[[W]], %arg0
// CHECK: nn.matmul %{{.*}}, %[[W]]
func.func @lookup(%i: tensor<?xi64>) -> tensor<?x3xf32> {
  %q = nn.constant dense<[[1, 2], [3, 4], [5, -6]]> : tensor<3x2xi8>
  %s = nn.constant dense<[[0.5], [0.25], [2.0]]> : tensor<3x1xf32>
  %w = nn.dequantize %q, %s {to = f32} : (tensor<3x2xi8>, tensor<3x1xf32>) -> tensor<3x2xf32>
  %x = nn.gather %w, %i {axis = 0 : i64} : (tensor<3x2xf32>, tensor<?xi64>) -> tensor<?x2xf32>
  %y = nn.matmul %x, %w {transpose_b} : (tensor<?x2xf32>, tensor<3x2xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// A product of 16-bit floats has a kernel that reads integers on GPUs only.
// CHECK-LABEL: func @of_halves
// GPU: %[[W:.*]] = nn.dequantize
// GPU: nn.matmul %arg0, %[[W]]
// CPU-NOT: nn.dequantize
func.func @of_halves(%x: tensor<?x2xf16>) -> tensor<?x3xf16> {
  %q = nn.constant dense<[[1, 2, 3], [4, 5, -6]]> : tensor<2x3xi4>
  %s = nn.constant dense<[0.5, 0.25, 2.0]> : tensor<3xf16>
  %w = nn.dequantize %q, %s {to = f16} : (tensor<2x3xi4>, tensor<3xf16>) -> tensor<2x3xf16>
  %y = nn.matmul %x, %w : (tensor<?x2xf16>, tensor<2x3xf16>) -> tensor<?x3xf16>
  return %y : tensor<?x3xf16>
}
