// Shapes through if and loop.
// RUN: nnopt-opt %s --infer-shapes="show=true" --split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func @join
// CHECK: nn.if %{{.*}} : (tensor<i1>) -> tensor<?x?x4xf32>
func.func @join(%p: tensor<i1>, %x: tensor<?x2x4xf32> {nn.dims = ["n", 2, 4]}, %y: tensor<?x3x4xf32> {nn.dims = ["n", 3, 4]}) {
  // expected-remark @+1 {{[n, if, 4]}}
  %0 = nn.if %p : (tensor<i1>) -> tensor<?x?x?xf32> {
    nn.yield %x : tensor<?x2x4xf32>
  } else {
    // expected-remark @+1 {{[n, 3, 4]}}
    %1 = nn.neg %y : (tensor<?x3x4xf32>) -> tensor<?x?x?xf32>
    nn.yield %1 : tensor<?x?x?xf32>
  }
  return
}

// -----

// Only the branch that is taken counts: the other one may contradict itself.
// CHECK-LABEL: func @decided
// CHECK-SAME: -> tensor<3xf32>
func.func @decided(%x: tensor<1x3xf32>) -> tensor<?xf32> {
  // expected-remark @+1 {{[1] = [1]}}
  %s = nn.shape %x {start = 0 : i64, end = 1 : i64} : (tensor<1x3xf32>) -> tensor<1xi64>
  %one = nn.constant dense<1> : tensor<1xi64>
  // expected-remark @+1 {{[1] = [1]}}
  %p = nn.equal %s, %one : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi1>
  // expected-remark @+1 {{[3]}}
  %0 = nn.if %p : (tensor<1xi1>) -> tensor<?xf32> {
    // expected-remark @+1 {{[3]}}
    %1 = nn.squeeze %x {axes = array<i64: 0>} : (tensor<1x3xf32>) -> tensor<?xf32>
    nn.yield %1 : tensor<?xf32>
  } else {
    nn.yield %x : tensor<1x3xf32>
  }
  return %0 : tensor<?xf32>
}

// -----

// A carried value that grows has an unknown first dimension in every iteration and afterwards.
// CHECK-LABEL: func @growing
// CHECK: ^bb0(%{{.*}}: tensor<i64>, %{{.*}}: tensor<i1>, %{{.*}}: tensor<?x4xf32>, %{{.*}}: tensor<2xf32>):
func.func @growing(%n: tensor<i64>, %x: tensor<1x4xf32>, %k: tensor<2xf32>) {
  // expected-remark @+1 {{[loop_1, 4]; [2]; [trips, 2]}}
  %0:3 = nn.loop trip %n carried(%x, %k) : (tensor<i64>, tensor<1x4xf32>, tensor<2xf32>) -> (tensor<?x?xf32>, tensor<?xf32>, tensor<?x?xf32>) {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %v: tensor<1x4xf32>, %w: tensor<2xf32>):
    // expected-remark @+1 {{[2*loop, 4]}}
    %1 = nn.concat %v, %v {axis = 0 : i64} : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<2x4xf32>
    // expected-remark @+1 {{[2]}}
    %2 = nn.neg %w : (tensor<2xf32>) -> tensor<2xf32>
    nn.yield %c, %1, %2, %2 : tensor<i1>, tensor<2x4xf32>, tensor<2xf32>, tensor<2xf32>
  }
  return
}

// -----

// With a known trip count and a condition that stays true the scan outputs have a known length.
func.func @scan(%x: tensor<?x4xf32> {nn.dims = ["n", 4]}, %init: tensor<4xf32>) {
  // expected-remark @+1 {{[1] = [n]}}
  %s = nn.shape %x {start = 0 : i64, end = 1 : i64} : (tensor<?x4xf32>) -> tensor<1xi64>
  // expected-remark @+1 {{[] = [n]}}
  %n = nn.squeeze %s {axes = array<i64: 0>} : (tensor<1xi64>) -> tensor<i64>
  // expected-remark @+1 {{[4]; [n, 4]}}
  %0:2 = nn.loop trip %n carried(%init) : (tensor<i64>, tensor<4xf32>) -> (tensor<?xf32>, tensor<?x?xf32>) {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %v: tensor<4xf32>):
    // expected-remark @+1 {{[4]}}
    %row = nn.gather %x, %i {axis = 0 : i64} : (tensor<?x4xf32>, tensor<i64>) -> tensor<4xf32>
    // expected-remark @+1 {{[4]}}
    %1 = nn.add %row, %v : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    nn.yield %c, %1, %1 : tensor<i1>, tensor<4xf32>, tensor<4xf32>
  }
  return
}

// -----

// One row more in each of n iterations.
func.func @appending(%x: tensor<?x4xf32> {nn.dims = ["n", 4]}, %init: tensor<?x4xf32> {nn.dims = ["past", 4]}) {
  // expected-remark @+1 {{[1] = [n]}}
  %n = nn.shape %x {start = 0 : i64, end = 1 : i64} : (tensor<?x4xf32>) -> tensor<1xi64>
  %yes = nn.constant dense<true> : tensor<i1>
  %row = nn.constant dense<0.0> : tensor<1x4xf32>
  // expected-remark @+1 {{[n + past, 4]}}
  %0 = nn.loop trip %n while %yes carried(%init) : (tensor<1xi64>, tensor<i1>, tensor<?x4xf32>) -> tensor<?x?xf32> {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %v: tensor<?x4xf32>):
    // expected-remark @+1 {{[loop + 1, 4]}}
    %1 = nn.concat %v, %row {axis = 0 : i64} : (tensor<?x4xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
    nn.yield %c, %1 : tensor<i1>, tensor<?x4xf32>
  }
  return
}
