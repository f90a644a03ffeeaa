// Experts that a router did not choose are not computed.
// RUN: nnopt-opt %s --group-experts --split-input-file | FileCheck %s

// All four experts on all tokens, weighted by scores that are 0 but for the two that were chosen.
// CHECK-LABEL: func @batched
func.func @batched(%x: tensor<?x8xf32> {nn.dims = ["t", 8]}, %logits: tensor<?x4xf32> {nn.dims = ["t", 4]},
                   %zeros: tensor<2xi64>) -> tensor<?x8xf32> {
  // CHECK: %values, %[[CHOICES:.*]] = nn.topk
  // CHECK: %[[UP:.*]] = nn.grouped_matmul %{{.*}}, %{{.*}}, %[[CHOICES]] : (tensor<?x8xf32>, tensor<4x16x8xf32>, tensor<?x2xi64>) -> tensor<?x2x16xf32>
  // CHECK: %[[ACT:.*]] = nn.relu %[[UP]]
  // CHECK: %[[DOWN:.*]] = nn.grouped_matmul %[[ACT]], %{{.*}}, %[[CHOICES]] {{.*}} -> tensor<?x2x8xf32>
  // CHECK: %[[SCORES:.*]] = nn.unsqueeze %values
  // CHECK: %[[Y:.*]] = nn.mul %[[DOWN]], %[[SCORES]]
  // CHECK: nn.reduce %[[Y]] {axes = array<i64: 1>
  // CHECK-NOT: nn.matmul
  %two = nn.constant dense<2> : tensor<1xi64>
  %w1 = nn.constant dense<0.5> : tensor<4x8x16xf32>
  %w2 = nn.constant dense<0.25> : tensor<4x16x8xf32>
  %none = nn.constant dense<0.0> : tensor<f32>
  %size = nn.shape %logits : (tensor<?x4xf32>) -> tensor<2xi64>
  %values, %indices = nn.topk %logits, %two {axis = 1 : i64, largest, sorted} : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
  %empty = nn.expand %none, %size : (tensor<f32>, tensor<2xi64>) -> tensor<?x4xf32>
  %gates = nn.scatter_elements %empty, %indices, %values {axis = 1 : i64, reduction = #nn.scatter_reduction<none>}
    : (tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %turned = nn.transpose %gates {perm = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
  %columns = nn.unsqueeze %turned {axes = array<i64: 2>} : (tensor<4x?xf32>) -> tensor<4x?x1xf32>
  %tokens = nn.unsqueeze %x {axes = array<i64: 0>} : (tensor<?x8xf32>) -> tensor<1x?x8xf32>
  %0 = nn.matmul %tokens, %w1 : (tensor<1x?x8xf32>, tensor<4x8x16xf32>) -> tensor<4x?x16xf32>
  %1 = nn.relu %0 : (tensor<4x?x16xf32>) -> tensor<4x?x16xf32>
  %2 = nn.matmul %1, %w2 : (tensor<4x?x16xf32>, tensor<4x16x8xf32>) -> tensor<4x?x8xf32>
  %3 = nn.mul %2, %columns : (tensor<4x?x8xf32>, tensor<4x?x1xf32>) -> tensor<4x?x8xf32>
  %4 = nn.reduce %3 {axes = array<i64: 0>, keep_dims = false, kind = #nn.reduce_kind<sum>} : (tensor<4x?x8xf32>) -> tensor<?x8xf32>
  return %4 : tensor<?x8xf32>
}

// -----

// One expert after the other, with weights and biases of their own; what else is added stays.
// CHECK-LABEL: func @each
func.func @each(%x: tensor<5x8xf32>, %logits: tensor<5x2xf32>, %skip: tensor<5x8xf32>) -> tensor<5x8xf32> {
  // CHECK: %[[Y:.*]] = nn.grouped_matmul %arg0, %{{.*}}, %[[CHOICES:.*]] : (tensor<5x8xf32>, tensor<2x8x8xf32>, tensor<5x1xi64>) -> tensor<5x1x8xf32>
  // CHECK: %[[B:.*]] = nn.gather %{{.*}}, %[[CHOICES]]
  // CHECK: nn.add %[[Y]], %[[B]]
  // CHECK: %[[SUM:.*]] = nn.reduce
  // CHECK: nn.add %[[SUM]], %arg2
  // CHECK-NOT: nn.matmul
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i1 = nn.constant dense<1> : tensor<1xi64>
  %i2 = nn.constant dense<2> : tensor<1xi64>
  %wa = nn.constant dense<0.5> : tensor<8x8xf32>
  %wb = nn.constant dense<0.25> : tensor<8x8xf32>
  %ba = nn.constant dense<1.0> : tensor<8xf32>
  %bb = nn.constant dense<2.0> : tensor<8xf32>
  %empty = nn.constant dense<0.0> : tensor<5x2xf32>
  %values, %indices = nn.topk %logits, %i1 {axis = 1 : i64, largest, sorted} : (tensor<5x2xf32>, tensor<1xi64>) -> (tensor<5x1xf32>, tensor<5x1xi64>)
  %gates = nn.scatter_elements %empty, %indices, %values {axis = 1 : i64, reduction = #nn.scatter_reduction<none>}
    : (tensor<5x2xf32>, tensor<5x1xi64>, tensor<5x1xf32>) -> tensor<5x2xf32>
  %ga = nn.slice %gates[%i0 : %i1 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %gb = nn.slice %gates[%i1 : %i2 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %a = nn.matmul %x, %wa bias %ba {transpose_b} : (tensor<5x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<5x8xf32>
  %b = nn.matmul %x, %wb bias %bb {transpose_b} : (tensor<5x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<5x8xf32>
  %sa = nn.mul %a, %ga : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  %sb = nn.mul %gb, %b : (tensor<5x1xf32>, tensor<5x8xf32>) -> tensor<5x8xf32>
  %0 = nn.add %skip, %sb : (tensor<5x8xf32>, tensor<5x8xf32>) -> tensor<5x8xf32>
  %1 = nn.add %0, %sa : (tensor<5x8xf32>, tensor<5x8xf32>) -> tensor<5x8xf32>
  return %1 : tensor<5x8xf32>
}

// -----

// Expert choice: each expert takes the two tokens of the largest score. A token may have no expert, or all.
// CHECK-LABEL: func @expert_choice
func.func @expert_choice(%x: tensor<6x8xf32>, %logits: tensor<6x4xf32>) -> tensor<6x8xf32> {
  // CHECK: %[[SCORES:.*]] = nn.scatter_elements
  // CHECK-NOT: nn.matmul
  // CHECK: nn.moe %arg0 score %[[SCORES]] w1 %{{.*}} bias1 %{{.*}} w2 %{{.*}} : (tensor<6x8xf32>, tensor<4x16x8xf32>, tensor<4x16xf32>, tensor<4x8x16xf32>, tensor<6x4xf32>) -> tensor<6x8xf32>
  // CHECK: arith.select
  %two = nn.constant dense<2> : tensor<1xi64>
  %w1 = nn.constant dense<0.5> : tensor<4x8x16xf32>
  %b1 = nn.constant dense<1.0> : tensor<4x1x16xf32>
  %w2 = nn.constant dense<0.25> : tensor<4x16x8xf32>
  %empty = nn.constant dense<0.0> : tensor<6x4xf32>
  %values, %indices = nn.topk %logits, %two {axis = 0 : i64, largest, sorted} : (tensor<6x4xf32>, tensor<1xi64>) -> (tensor<2x4xf32>, tensor<2x4xi64>)
  %gates = nn.scatter_elements %empty, %indices, %values {axis = 0 : i64, reduction = #nn.scatter_reduction<none>}
    : (tensor<6x4xf32>, tensor<2x4xi64>, tensor<2x4xf32>) -> tensor<6x4xf32>
  %turned = nn.transpose %gates {perm = array<i64: 1, 0>} : (tensor<6x4xf32>) -> tensor<4x6xf32>
  %columns = nn.unsqueeze %turned {axes = array<i64: 2>} : (tensor<4x6xf32>) -> tensor<4x6x1xf32>
  %tokens = nn.unsqueeze %x {axes = array<i64: 0>} : (tensor<6x8xf32>) -> tensor<1x6x8xf32>
  %0 = nn.matmul %tokens, %w1 : (tensor<1x6x8xf32>, tensor<4x8x16xf32>) -> tensor<4x6x16xf32>
  %1 = nn.add %0, %b1 : (tensor<4x6x16xf32>, tensor<4x1x16xf32>) -> tensor<4x6x16xf32>
  %2 = nn.relu %1 : (tensor<4x6x16xf32>) -> tensor<4x6x16xf32>
  %3 = nn.matmul %2, %w2 : (tensor<4x6x16xf32>, tensor<4x16x8xf32>) -> tensor<4x6x8xf32>
  %4 = nn.mul %3, %columns : (tensor<4x6x8xf32>, tensor<4x6x1xf32>) -> tensor<4x6x8xf32>
  %5 = nn.reduce %4 {axes = array<i64: 0>, keep_dims = false, kind = #nn.reduce_kind<sum>} : (tensor<4x6x8xf32>) -> tensor<6x8xf32>
  return %5 : tensor<6x8xf32>
}

// -----

// Scores below a threshold are zero; experts with a gate, one after the other.
// CHECK-LABEL: func @threshold
func.func @threshold(%x: tensor<?x8xf32> {nn.dims = ["t", 8]}, %scores: tensor<?x2xf32> {nn.dims = ["t", 2]}) -> tensor<?x8xf32> {
  // CHECK: %[[SCORES:.*]] = nn.where
  // CHECK: %[[MOE:.*]] = nn.moe %arg0 score %[[SCORES]] w1 %{{.*}} w3 %{{.*}} w2 %{{.*}} : (tensor<?x8xf32>, tensor<2x4x8xf32>, tensor<2x4x8xf32>, tensor<2x8x4xf32>, tensor<?x2xf32>)
  // CHECK: %[[BIAS:.*]] = nn.matmul %[[SCORES]]
  // CHECK: nn.add %[[MOE]], %[[BIAS]]
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i1 = nn.constant dense<1> : tensor<1xi64>
  %i2 = nn.constant dense<2> : tensor<1xi64>
  %limit = nn.constant dense<0.3> : tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %ua = nn.constant dense<0.5> : tensor<4x8xf32>
  %ub = nn.constant dense<0.25> : tensor<4x8xf32>
  %ga = nn.constant dense<1.5> : tensor<4x8xf32>
  %gb = nn.constant dense<1.25> : tensor<4x8xf32>
  %da = nn.constant dense<2.5> : tensor<8x4xf32>
  %db = nn.constant dense<2.25> : tensor<8x4xf32>
  %ba = nn.constant dense<1.0> : tensor<8xf32>
  %bb = nn.constant dense<2.0> : tensor<8xf32>
  %more = nn.greater %scores, %limit : (tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xi1>
  %gates = nn.where %more, %scores, %zero : (tensor<?x2xi1>, tensor<?x2xf32>, tensor<f32>) -> tensor<?x2xf32>
  %sa = nn.slice %gates[%i0 : %i1 axes %i1] : (tensor<?x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x1xf32>
  %sb = nn.slice %gates[%i1 : %i2 axes %i1] : (tensor<?x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x1xf32>
  %0 = nn.matmul %x, %ua {transpose_b} : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  %1 = nn.silu %0 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %2 = nn.matmul %x, %ga {transpose_b} : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  %3 = nn.mul %1, %2 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %4 = nn.matmul %3, %da bias %ba {transpose_b} : (tensor<?x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %5 = nn.mul %4, %sa : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %6 = nn.matmul %x, %ub {transpose_b} : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  %7 = nn.silu %6 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %8 = nn.matmul %x, %gb {transpose_b} : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  %9 = nn.mul %7, %8 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %10 = nn.matmul %9, %db bias %bb {transpose_b} : (tensor<?x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %11 = nn.mul %10, %sb : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %12 = nn.add %5, %11 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %12 : tensor<?x8xf32>
}
