// Two iterations with a carried value and a scan output.
// RUN: nnopt-opt %s --unroll-loops | FileCheck %s

// CHECK-LABEL: func @main
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<2x4xf32>) {
  // CHECK-NOT: nn.loop
  // CHECK: %[[A:.*]] = nn.exp %arg0
  // CHECK: %[[A1:.*]] = nn.unsqueeze %[[A]]
  // CHECK: %[[B:.*]] = nn.exp %[[A]]
  // CHECK: %[[B1:.*]] = nn.unsqueeze %[[B]]
  // CHECK: %[[S:.*]] = nn.concat %[[A1]], %[[B1]] {axis = 0 : i64}
  // CHECK: return %[[B]], %[[S]]
  %trips = nn.constant dense<2> : tensor<i64>
  %0:2 = nn.loop trip %trips carried(%x) {operandSegmentSizes = array<i32: 1, 0, 1>} : (tensor<i64>, tensor<4xf32>) -> (tensor<4xf32>, tensor<2x4xf32>) {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<4xf32>):
    %e = nn.exp %v : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %go, %e, %e : tensor<i1>, tensor<4xf32>, tensor<4xf32>
  }
  return %0#0, %0#1 : tensor<4xf32>, tensor<2x4xf32>
}
