// One step of an LSTM as its equations.
// RUN: nnopt-opt %s --raise-patterns --split-input-file | FileCheck %s

// The gates in the order of PyTorch: input, forget, cell, output.
// CHECK-LABEL: func @cell
func.func @cell(%x: tensor<?x3xf32> {nn.dims = ["n", 3]}, %h: tensor<?x2xf32> {nn.dims = ["n", 2]}, %c: tensor<?x2xf32> {nn.dims = ["n", 2]})
    -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  // CHECK-DAG: nn.constant dense<{{\[\[}}[1.000000e+00, 1.000000e+00, 1.000000e+00], [2.000000e+00, 2.000000e+00, 2.000000e+00], [7.000000e+00,
  // CHECK: %y, %y_h, %y_c = nn.lstm
  // CHECK: %[[C:.*]] = nn.squeeze %y_c
  // CHECK: %[[H:.*]] = nn.squeeze %y_h
  // CHECK: return %[[H]], %[[C]]
  %w = nn.constant dense<[[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0], [4.0, 4.0, 4.0],
                          [5.0, 5.0, 5.0], [6.0, 6.0, 6.0], [7.0, 7.0, 7.0], [8.0, 8.0, 8.0]]> : tensor<8x3xf32>
  %r = nn.constant dense<0.5> : tensor<8x2xf32>
  %b = nn.constant dense<[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]> : tensor<8xf32>
  %0 = nn.matmul %x, %w bias %b {transpose_b} : (tensor<?x3xf32>, tensor<8x3xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %1 = nn.matmul %h, %r {transpose_b} : (tensor<?x2xf32>, tensor<8x2xf32>) -> tensor<?x8xf32>
  %2 = nn.add %0, %1 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %i, %f, %g, %o = nn.split %2 {axis = 1 : i64} : (tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>)
  %3 = nn.sigmoid %i : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %4 = nn.sigmoid %f : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %5 = nn.tanh %g : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %6 = nn.sigmoid %o : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %7 = nn.mul %4, %c : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %8 = nn.mul %3, %5 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %9 = nn.add %7, %8 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %10 = nn.tanh %9 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %11 = nn.mul %6, %10 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  return %11, %9 : tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// The same gate twice: no LSTM.
// CHECK-LABEL: func @gate_twice
// CHECK-NOT: nn.lstm
func.func @gate_twice(%x: tensor<1x3xf32>, %h: tensor<1x2xf32>, %c: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %w = nn.constant dense<0.5> : tensor<8x3xf32>
  %r = nn.constant dense<0.5> : tensor<8x2xf32>
  %0 = nn.matmul %x, %w {transpose_b} : (tensor<1x3xf32>, tensor<8x3xf32>) -> tensor<1x8xf32>
  %1 = nn.matmul %h, %r {transpose_b} : (tensor<1x2xf32>, tensor<8x2xf32>) -> tensor<1x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<1x8xf32>
  %i, %f, %g, %o = nn.split %2 {axis = 1 : i64} : (tensor<1x8xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %3 = nn.sigmoid %i : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %5 = nn.tanh %g : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %6 = nn.sigmoid %o : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %7 = nn.mul %3, %c : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %8 = nn.mul %3, %5 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %9 = nn.add %7, %8 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %10 = nn.tanh %9 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %11 = nn.mul %6, %10 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  return %11 : tensor<1x2xf32>
}
