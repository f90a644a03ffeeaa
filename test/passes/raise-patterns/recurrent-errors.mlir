// Recurrent cells that keep their form, and the reason that is given.
// RUN: nnopt-opt %s --raise-patterns --split-input-file -verify-diagnostics --remarks-filter-missed=".*" --remark-format=emitRemark | FileCheck %s

// The second input is made from the state of the first cell: the sequence does not exist before.
// CHECK-LABEL: func @feedback
// CHECK: nn.gru
// CHECK: nn.gru
func.func @feedback(%x: tensor<1x3xf32>, %h: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %w = nn.constant dense<0.25> : tensor<3x6xf32>
  %r = nn.constant dense<0.5> : tensor<2x6xf32>
  %b = nn.constant dense<0.125> : tensor<6xf32>
  %v = nn.constant dense<1.0> : tensor<2x3xf32>
  %a0 = nn.matmul %x, %w : (tensor<1x3xf32>, tensor<3x6xf32>) -> tensor<1x6xf32>
  %a1 = nn.matmul %h, %r bias %b : (tensor<1x2xf32>, tensor<2x6xf32>, tensor<6xf32>) -> tensor<1x6xf32>
  %ari, %azi, %ani = nn.split %a0 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %arh, %azh, %anh = nn.split %a1 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %a2 = nn.add %ari, %arh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a3 = nn.sigmoid %a2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %a4 = nn.add %azi, %azh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a5 = nn.sigmoid %a4 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %a6 = nn.mul %a3, %anh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a7 = nn.add %ani, %a6 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a8 = nn.tanh %a7 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %a9 = nn.sub %h, %a8 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a10 = nn.mul %a5, %a9 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  // expected-remark @+1 {{their inputs are not steps of one value that exists before}}
  %h1 = nn.add %a8, %a10 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %next = nn.matmul %h1, %v : (tensor<1x2xf32>, tensor<2x3xf32>) -> tensor<1x3xf32>
  %c0 = nn.matmul %next, %w : (tensor<1x3xf32>, tensor<3x6xf32>) -> tensor<1x6xf32>
  %c1 = nn.matmul %h1, %r bias %b : (tensor<1x2xf32>, tensor<2x6xf32>, tensor<6xf32>) -> tensor<1x6xf32>
  %cri, %czi, %cni = nn.split %c0 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %crh, %czh, %cnh = nn.split %c1 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %c2 = nn.add %cri, %crh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %c3 = nn.sigmoid %c2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %c4 = nn.add %czi, %czh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %c5 = nn.sigmoid %c4 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %c6 = nn.mul %c3, %cnh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %c7 = nn.add %cni, %c6 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %c8 = nn.tanh %c7 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %c9 = nn.sub %h1, %c8 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %c10 = nn.mul %c5, %c9 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %h2 = nn.add %c8, %c10 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  return %h2 : tensor<1x2xf32>
}

// -----

// Somebody else reads a gate.
// CHECK-LABEL: func @gate_is_output
// CHECK-NOT: nn.gru
func.func @gate_is_output(%x: tensor<1x3xf32>, %h: tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>) {
  %w = nn.constant dense<0.25> : tensor<3x6xf32>
  %r = nn.constant dense<0.5> : tensor<2x6xf32>
  %b = nn.constant dense<0.125> : tensor<6xf32>
  %a0 = nn.matmul %x, %w : (tensor<1x3xf32>, tensor<3x6xf32>) -> tensor<1x6xf32>
  %a1 = nn.matmul %h, %r bias %b : (tensor<1x2xf32>, tensor<2x6xf32>, tensor<6xf32>) -> tensor<1x6xf32>
  %ari, %azi, %ani = nn.split %a0 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %arh, %azh, %anh = nn.split %a1 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %a2 = nn.add %ari, %arh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a3 = nn.sigmoid %a2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %a4 = nn.add %azi, %azh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a5 = nn.sigmoid %a4 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %a6 = nn.mul %a3, %anh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a7 = nn.add %ani, %a6 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a8 = nn.tanh %a7 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %a9 = nn.sub %h, %a8 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a10 = nn.mul %a5, %a9 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %h1 = nn.add %a8, %a10 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  return %h1, %a5 : tensor<1x2xf32>, tensor<1x2xf32>
}

// -----

// 2 - z is no complement.
// CHECK-LABEL: func @no_complement
// CHECK-NOT: nn.gru
func.func @no_complement(%x: tensor<1x3xf32>, %h: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %two = nn.constant dense<2.0> : tensor<f32>
  %w = nn.constant dense<0.25> : tensor<3x6xf32>
  %r = nn.constant dense<0.5> : tensor<2x6xf32>
  %b = nn.constant dense<0.125> : tensor<6xf32>
  %a0 = nn.matmul %x, %w : (tensor<1x3xf32>, tensor<3x6xf32>) -> tensor<1x6xf32>
  %a1 = nn.matmul %h, %r bias %b : (tensor<1x2xf32>, tensor<2x6xf32>, tensor<6xf32>) -> tensor<1x6xf32>
  %ari, %azi, %ani = nn.split %a0 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %arh, %azh, %anh = nn.split %a1 {axis = 1 : i64} : (tensor<1x6xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  %a2 = nn.add %ari, %arh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a3 = nn.sigmoid %a2 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %a4 = nn.add %azi, %azh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a5 = nn.sigmoid %a4 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %a6 = nn.mul %a3, %anh : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a7 = nn.add %ani, %a6 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a8 = nn.tanh %a7 : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %a9 = nn.sub %two, %a5 : (tensor<f32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a10 = nn.mul %a8, %a9 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %a11 = nn.mul %a5, %h : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %h1 = nn.add %a11, %a10 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  return %h1 : tensor<1x2xf32>
}

// -----

// Nobody knows how many iterations there are.
// CHECK-LABEL: func @ends_early
func.func @ends_early(%x: tensor<?x1x3xf32> {nn.dims = ["t", 1, 3]}, %h: tensor<1x2xf32>, %c: tensor<i1>) -> (tensor<1x2xf32>, tensor<?x1x2xf32>) {
  // CHECK: nn.loop
  // CHECK: nn.gru
  %w = nn.constant dense<0.25> : tensor<3x6xf32>
  %r = nn.constant dense<0.5> : tensor<2x6xf32>
  %b = nn.constant dense<0.125> : tensor<6xf32>
  %zero = nn.constant dense<0> : tensor<i64>
  %size = nn.shape %x : (tensor<?x1x3xf32>) -> tensor<3xi64>
  %n = nn.gather %size, %zero {axis = 0 : i64} : (tensor<3xi64>, tensor<i64>) -> tensor<i64>
  // expected-remark @+1 {{it may end early}}
  %0:2 = nn.loop trip %n while %c carried(%h) : (tensor<i64>, tensor<i1>, tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<?x1x2xf32>) {
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

// -----

// Not as many iterations as steps.
// CHECK-LABEL: func @half
func.func @half(%x: tensor<?x1x3xf32> {nn.dims = ["t", 1, 3]}, %h: tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<?x1x2xf32>) {
  // CHECK: nn.loop
  // CHECK: nn.gru
  %w = nn.constant dense<0.25> : tensor<3x6xf32>
  %r = nn.constant dense<0.5> : tensor<2x6xf32>
  %b = nn.constant dense<0.125> : tensor<6xf32>
  %n = nn.constant dense<2> : tensor<i64>
  // expected-remark @+1 {{its number of iterations is not the length of the sequence}}
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

// -----

// What is collected is not the state.
// CHECK-LABEL: func @other_result
func.func @other_result(%x: tensor<?x1x3xf32> {nn.dims = ["t", 1, 3]}, %h: tensor<1x2xf32>) -> (tensor<1x2xf32>, tensor<?x1x2xf32>) {
  // CHECK: nn.loop
  %w = nn.constant dense<0.25> : tensor<3x6xf32>
  %r = nn.constant dense<0.5> : tensor<2x6xf32>
  %b = nn.constant dense<0.125> : tensor<6xf32>
  %zero = nn.constant dense<0> : tensor<i64>
  %size = nn.shape %x : (tensor<?x1x3xf32>) -> tensor<3xi64>
  %n = nn.gather %size, %zero {axis = 0 : i64} : (tensor<3xi64>, tensor<i64>) -> tensor<i64>
  // expected-remark @+1 {{its body yields something else than the states of its cell}}
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
    nn.yield %going, %new, %s : tensor<i1>, tensor<1x2xf32>, tensor<1x2xf32>
  }
  return %0#0, %0#1 : tensor<1x2xf32>, tensor<?x1x2xf32>
}
