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

// -----

// Two steps, and their states put together: one operation on the sequence.
// CHECK-LABEL: func @sequence
func.func @sequence(%x: tensor<2x1x3xf32>, %h: tensor<1x2xf32>, %c: tensor<1x2xf32>) -> tensor<2x1x2xf32> {
  // CHECK-NOT: nn.slice
  // CHECK: %[[Y:.*]], %{{.*}}, %{{.*}} = nn.lstm %arg0, {{.*}} : (tensor<2x1x3xf32>, tensor<1x8x3xf32>
  // CHECK-NEXT: %[[S:.*]] = nn.squeeze %[[Y]] {axes = array<i64: 1>}
  // CHECK-NEXT: return %[[S]]
  %w = nn.constant dense<0.25> : tensor<8x3xf32>
  %r = nn.constant dense<0.5> : tensor<8x2xf32>
  %i0 = nn.constant dense<0> : tensor<i64>
  %i1 = nn.constant dense<1> : tensor<i64>
  %x0 = nn.gather %x, %i0 {axis = 0 : i64} : (tensor<2x1x3xf32>, tensor<i64>) -> tensor<1x3xf32>
  %0 = nn.matmul %x0, %w {transpose_b} : (tensor<1x3xf32>, tensor<8x3xf32>) -> tensor<1x8xf32>
  %1 = nn.matmul %h, %r {transpose_b} : (tensor<1x2xf32>, tensor<8x2xf32>) -> tensor<1x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<1x8xf32>
  %i, %f, %g, %o = nn.split %2 {axis = 1 : i64} : (tensor<1x8xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %3 = nn.sigmoid %i : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %4 = nn.sigmoid %f : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %5 = nn.tanh %g : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %6 = nn.sigmoid %o : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %7 = nn.mul %4, %c : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %8 = nn.mul %3, %5 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %9 = nn.add %7, %8 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %10 = nn.tanh %9 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %11 = nn.mul %6, %10 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %x1 = nn.gather %x, %i1 {axis = 0 : i64} : (tensor<2x1x3xf32>, tensor<i64>) -> tensor<1x3xf32>
  %20 = nn.matmul %x1, %w {transpose_b} : (tensor<1x3xf32>, tensor<8x3xf32>) -> tensor<1x8xf32>
  %21 = nn.matmul %11, %r {transpose_b} : (tensor<1x2xf32>, tensor<8x2xf32>) -> tensor<1x8xf32>
  %22 = nn.add %20, %21 : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<1x8xf32>
  %i2, %f2, %g2, %o2 = nn.split %22 {axis = 1 : i64} : (tensor<1x8xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %23 = nn.sigmoid %i2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %24 = nn.sigmoid %f2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %25 = nn.tanh %g2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %26 = nn.sigmoid %o2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %27 = nn.mul %24, %9 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %28 = nn.mul %23, %25 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %29 = nn.add %27, %28 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %30 = nn.tanh %29 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %31 = nn.mul %26, %30 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %40 = nn.unsqueeze %11 {axes = array<i64: 0>} : (tensor<1x2xf32>) -> tensor<1x1x2xf32>
  %41 = nn.unsqueeze %31 {axes = array<i64: 0>} : (tensor<1x2xf32>) -> tensor<1x1x2xf32>
  %42 = nn.concat %40, %41 {axis = 0 : i64} : (tensor<1x1x2xf32>, tensor<1x1x2xf32>) -> tensor<2x1x2xf32>
  return %42 : tensor<2x1x2xf32>
}

// -----

// A step of a GRU with the weights of each gate apart; the reset gate multiplies the state. 1 - sigmoid(a) is
// sigmoid(-a): the weights of the update gate change their sign.
// CHECK-LABEL: func @gru
func.func @gru(%x: tensor<1x3xf32>, %h: tensor<1x2xf32>) -> tensor<1x2xf32> {
  // CHECK-DAG: nn.constant dense<{{\[\[}}[-1.000000e+00, -1.000000e+00, -1.000000e+00], [-1.000000e+00, -1.000000e+00, -1.000000e+00], [2.000000e+00,
  // CHECK: %{{.*}}, %[[S:.*]] = nn.gru
  // CHECK-NOT: linear_before_reset
  // CHECK: %[[H:.*]] = nn.squeeze %[[S]]
  // CHECK-NEXT: return %[[H]]
  %wz = nn.constant dense<1.0> : tensor<3x2xf32>
  %wr = nn.constant dense<2.0> : tensor<3x2xf32>
  %wn = nn.constant dense<3.0> : tensor<3x2xf32>
  %r = nn.constant dense<0.5> : tensor<2x2xf32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.matmul %x, %wz : (tensor<1x3xf32>, tensor<3x2xf32>) -> tensor<1x2xf32>
  %1 = nn.matmul %h, %r : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
  %2 = nn.add %0, %1 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %z = nn.sigmoid %2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %3 = nn.matmul %x, %wr : (tensor<1x3xf32>, tensor<3x2xf32>) -> tensor<1x2xf32>
  %4 = nn.matmul %h, %r : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
  %5 = nn.add %3, %4 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %6 = nn.sigmoid %5 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %7 = nn.mul %6, %h : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %8 = nn.matmul %7, %r : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
  %9 = nn.matmul %x, %wn : (tensor<1x3xf32>, tensor<3x2xf32>) -> tensor<1x2xf32>
  %10 = nn.add %8, %9 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %n = nn.tanh %10 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %11 = nn.sub %one, %z : (tensor<f32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %12 = nn.mul %11, %h : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %13 = nn.mul %z, %n : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %14 = nn.add %12, %13 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  return %14 : tensor<1x2xf32>
}

// -----

// A loop over the steps of a sequence.
// CHECK-LABEL: func @loop
func.func @loop(%x: tensor<?x1x3xf32> {nn.dims = ["t", 1, 3]}, %h: tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<?x1x2xf32>) {
  // CHECK-NOT: nn.loop
  // CHECK: %[[Y:.*]], %[[H:.*]] = nn.gru %arg0, {{.*}}linear_before_reset
  // CHECK-DAG: %[[S:.*]] = nn.squeeze %[[H]] {axes = array<i64: 0>}
  // CHECK-DAG: %[[A:.*]] = nn.squeeze %[[Y]] {axes = array<i64: 1>}
  // CHECK: return %[[S]], %[[A]]
  %w = nn.constant dense<0.25> : tensor<3x6xf32>
  %r = nn.constant dense<0.5> : tensor<2x6xf32>
  %b = nn.constant dense<0.125> : tensor<6xf32>
  %zero = nn.constant dense<0> : tensor<i64>
  %size = nn.shape %x : (tensor<?x1x3xf32>) -> tensor<3xi64>
  %n = nn.gather %size, %zero {axis = 0 : i64} : (tensor<3xi64>, tensor<i64>) -> tensor<i64>
  %0:2 = nn.loop trip %n carried(%h) : (tensor<i64>, tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<?x1x2xf32>) {
  ^bb0(%number: tensor<i64>, %going: tensor<i1>, %s: tensor<1x2xf32>):
    %xt = nn.gather %x, %number {axis = 0 : i64} : (tensor<?x1x3xf32>, tensor<i64>) -> tensor<1x3xf32>
    %g0 = nn.matmul %xt, %w : (tensor<1x3xf32>, tensor<3x6xf32>) -> tensor<1x6xf32>
    %g1 = nn.matmul %s, %r bias %b : (tensor<1x2xf32>, tensor<2x6xf32>, tensor<6xf32>) -> tensor<1x6xf32>
    %gri, %gzi, %gni = nn.split %g0 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
    %grh, %gzh, %gnh = nn.split %g1 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
    %g2 = nn.add %gri, %grh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    %g3 = nn.sigmoid %g2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
    %g4 = nn.add %gzi, %gzh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    %g5 = nn.sigmoid %g4 : (tensor<1x2xf32>) -> tensor<1x2xf32>
    %g6 = nn.mul %g3, %gnh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    %g7 = nn.add %gni, %g6 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    %g8 = nn.tanh %g7 : (tensor<1x2xf32>) -> tensor<1x2xf32>
    %g9 = nn.sub %s, %g8 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    %g10 = nn.mul %g5, %g9 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    %new = nn.add %g8, %g10 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    nn.yield %going, %new, %new : tensor<i1>, tensor<1x2xf32>, tensor<1x2xf32>
  }
  return %0#0, %0#1 : tensor<1x2xf32>, tensor<?x1x2xf32>
}
