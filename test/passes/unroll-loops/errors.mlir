// What stays, and the reason that is given.
// RUN: nnopt-opt %s --unroll-loops --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// CHECK-LABEL: func @unknown
// CHECK: nn.loop
func.func @unknown(%x: tensor<4xf32>, %trips: tensor<i64>) -> tensor<4xf32> {
  // expected-remark @+1 {{the number of iterations is not known}}
  %0 = nn.loop trip %trips carried(%x) {operandSegmentSizes = array<i32: 1, 0, 1>} : (tensor<i64>, tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<4xf32>):
    %e = nn.exp %v : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %go, %e : tensor<i1>, tensor<4xf32>
  }
  return %0 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func @many
// CHECK: nn.loop
func.func @many(%x: tensor<4xf32>) -> tensor<4xf32> {
  %trips = nn.constant dense<1000> : tensor<i64>
  // expected-remark @+1 {{1000 iterations of 2 operations are too many}}
  %0 = nn.loop trip %trips carried(%x) {operandSegmentSizes = array<i32: 1, 0, 1>} : (tensor<i64>, tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<4xf32>):
    %e = nn.exp %v : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %go, %e : tensor<i1>, tensor<4xf32>
  }
  return %0 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func @condition
// CHECK: nn.loop
func.func @condition(%x: tensor<f32>) -> tensor<f32> {
  %trips = nn.constant dense<3> : tensor<i64>
  %one = nn.constant dense<1.0> : tensor<f32>
  // expected-remark @+1 {{a condition may end it}}
  %0 = nn.loop trip %trips carried(%x) {operandSegmentSizes = array<i32: 1, 0, 1>} : (tensor<i64>, tensor<f32>) -> tensor<f32> {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<f32>):
    %e = nn.exp %v : (tensor<f32>) -> tensor<f32>
    %c = nn.less %e, %one : (tensor<f32>, tensor<f32>) -> tensor<i1>
    nn.yield %c, %e : tensor<i1>, tensor<f32>
  }
  return %0 : tensor<f32>
}

// -----

// Each iteration draws anew.
// CHECK-LABEL: func @random
// CHECK: nn.loop
func.func @random(%x: tensor<4xf32>) -> tensor<4xf32> {
  %trips = nn.constant dense<2> : tensor<i64>
  // expected-remark @+1 {{it draws random numbers}}
  %0 = nn.loop trip %trips carried(%x) {operandSegmentSizes = array<i32: 1, 0, 1>} : (tensor<i64>, tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<4xf32>):
    %key = nn.random_key {stream = 0 : i64} : () -> tensor<2xi64>
    %shape = nn.constant dense<4> : tensor<1xi64>
    %r = nn.random %key, %shape {distribution = #nn.distribution<uniform>, element = f32} : (tensor<2xi64>, tensor<1xi64>) -> tensor<4xf32>
    %e = nn.add %v, %r : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    nn.yield %go, %e : tensor<i1>, tensor<4xf32>
  }
  return %0 : tensor<4xf32>
}
