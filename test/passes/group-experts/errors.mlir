// What is not grouped, and the reason that is given.
// RUN: nnopt-opt %s --group-experts --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// Every expert is chosen: nothing is saved.
// CHECK-LABEL: func @all_chosen
// CHECK-NOT: nn.grouped_matmul
// CHECK: return
func.func @all_chosen(%x: tensor<5x8xf32>, %logits: tensor<5x2xf32>, %scores: tensor<5x2xf32>, %more: tensor<8x8xf32>) -> tensor<5x8xf32> {
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i1 = nn.constant dense<1> : tensor<1xi64>
  %i2 = nn.constant dense<2> : tensor<1xi64>
  %wa = nn.constant dense<0.5> : tensor<8x8xf32>
  %wb = nn.constant dense<0.25> : tensor<8x8xf32>
  %empty = nn.constant dense<0.0> : tensor<5x2xf32>
  %values, %indices = nn.topk %logits, %i2 {axis = 1 : i64, largest, sorted} : (tensor<5x2xf32>, tensor<1xi64>) -> (tensor<5x2xf32>, tensor<5x2xi64>)
  %gates = nn.scatter_elements %empty, %indices, %values {axis = 1 : i64, reduction = #nn.scatter_reduction<none>}
    : (tensor<5x2xf32>, tensor<5x2xi64>, tensor<5x2xf32>) -> tensor<5x2xf32>
  %ga = nn.slice %gates[%i0 : %i1 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %gb = nn.slice %gates[%i1 : %i2 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %a = nn.matmul %x, %wa : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
  %b = nn.matmul %x, %wb : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
  %sa = nn.mul %a, %ga : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  %sb = nn.mul %b, %gb : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  // expected-remark @+1 {{all experts are chosen}}
  %0 = nn.add %sa, %sb : (tensor<5x8xf32>, tensor<5x8xf32>) -> tensor<5x8xf32>
  return %0 : tensor<5x8xf32>
}

// -----

// The same expert twice: the scores of the other are never used.
// CHECK-LABEL: func @twice
// CHECK-NOT: nn.grouped_matmul
// CHECK: return
func.func @twice(%x: tensor<5x8xf32>, %logits: tensor<5x2xf32>, %scores: tensor<5x1xf32>, %more: tensor<8x8xf32>) -> tensor<5x8xf32> {
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i1 = nn.constant dense<1> : tensor<1xi64>
  %i2 = nn.constant dense<2> : tensor<1xi64>
  %wa = nn.constant dense<0.5> : tensor<8x8xf32>
  %wb = nn.constant dense<0.25> : tensor<8x8xf32>
  %empty = nn.constant dense<0.0> : tensor<5x2xf32>
  %values, %indices = nn.topk %logits, %i1 {axis = 1 : i64, largest, sorted} : (tensor<5x2xf32>, tensor<1xi64>) -> (tensor<5x1xf32>, tensor<5x1xi64>)
  %gates = nn.scatter_elements %empty, %indices, %values {axis = 1 : i64, reduction = #nn.scatter_reduction<none>}
    : (tensor<5x2xf32>, tensor<5x1xi64>, tensor<5x1xf32>) -> tensor<5x2xf32>
  %ga = nn.slice %gates[%i0 : %i1 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %gb = nn.slice %gates[%i0 : %i1 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %a = nn.matmul %x, %wa : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
  %b = nn.matmul %x, %wb : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
  %sa = nn.mul %a, %ga : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  %sb = nn.mul %b, %gb : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  // expected-remark @+1 {{an expert occurs twice, or does not exist}}
  %0 = nn.add %sa, %sb : (tensor<5x8xf32>, tensor<5x8xf32>) -> tensor<5x8xf32>
  return %0 : tensor<5x8xf32>
}

// -----

// One expert has another activation.
// CHECK-LABEL: func @different
// CHECK-NOT: nn.grouped_matmul
// CHECK: return
func.func @different(%x: tensor<5x8xf32>, %logits: tensor<5x2xf32>, %scores: tensor<5x1xf32>, %more: tensor<8x8xf32>) -> tensor<5x8xf32> {
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i1 = nn.constant dense<1> : tensor<1xi64>
  %i2 = nn.constant dense<2> : tensor<1xi64>
  %wa = nn.constant dense<0.5> : tensor<8x8xf32>
  %wb = nn.constant dense<0.25> : tensor<8x8xf32>
  %empty = nn.constant dense<0.0> : tensor<5x2xf32>
  %values, %indices = nn.topk %logits, %i1 {axis = 1 : i64, largest, sorted} : (tensor<5x2xf32>, tensor<1xi64>) -> (tensor<5x1xf32>, tensor<5x1xi64>)
  %gates = nn.scatter_elements %empty, %indices, %values {axis = 1 : i64, reduction = #nn.scatter_reduction<none>}
    : (tensor<5x2xf32>, tensor<5x1xi64>, tensor<5x1xf32>) -> tensor<5x2xf32>
  %ga = nn.slice %gates[%i0 : %i1 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %gb = nn.slice %gates[%i1 : %i2 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %a = nn.matmul %x, %wa : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
  %b = nn.relu %x : (tensor<5x8xf32>) -> tensor<5x8xf32>
  %sa = nn.mul %a, %ga : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  %sb = nn.mul %b, %gb : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  // expected-remark @+1 {{an expert is more than products and elementwise operations}}
  %0 = nn.add %sa, %sb : (tensor<5x8xf32>, tensor<5x8xf32>) -> tensor<5x8xf32>
  return %0 : tensor<5x8xf32>
}

// -----

// Weights that are an input.
// CHECK-LABEL: func @weights_change
// CHECK-NOT: nn.grouped_matmul
// CHECK: return
func.func @weights_change(%x: tensor<5x8xf32>, %logits: tensor<5x2xf32>, %scores: tensor<5x1xf32>, %more: tensor<8x8xf32>) -> tensor<5x8xf32> {
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i1 = nn.constant dense<1> : tensor<1xi64>
  %i2 = nn.constant dense<2> : tensor<1xi64>
  %wa = nn.constant dense<0.5> : tensor<8x8xf32>
  %wb = nn.constant dense<0.25> : tensor<8x8xf32>
  %empty = nn.constant dense<0.0> : tensor<5x2xf32>
  %values, %indices = nn.topk %logits, %i1 {axis = 1 : i64, largest, sorted} : (tensor<5x2xf32>, tensor<1xi64>) -> (tensor<5x1xf32>, tensor<5x1xi64>)
  %gates = nn.scatter_elements %empty, %indices, %values {axis = 1 : i64, reduction = #nn.scatter_reduction<none>}
    : (tensor<5x2xf32>, tensor<5x1xi64>, tensor<5x1xf32>) -> tensor<5x2xf32>
  %ga = nn.slice %gates[%i0 : %i1 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %gb = nn.slice %gates[%i1 : %i2 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %a = nn.matmul %x, %wa : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
  %b = nn.matmul %x, %more : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
  %sa = nn.mul %a, %ga : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  %sb = nn.mul %b, %gb : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  // expected-remark @+1 {{weights are not constant}}
  %0 = nn.add %sa, %sb : (tensor<5x8xf32>, tensor<5x8xf32>) -> tensor<5x8xf32>
  return %0 : tensor<5x8xf32>
}

// -----

// Experts that are not chosen count a little: all are needed.
// CHECK-LABEL: func @background
// CHECK-NOT: nn.grouped_matmul
// CHECK: return
func.func @background(%x: tensor<5x8xf32>, %logits: tensor<5x2xf32>, %scores: tensor<5x1xf32>, %more: tensor<8x8xf32>) -> tensor<5x8xf32> {
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i1 = nn.constant dense<1> : tensor<1xi64>
  %i2 = nn.constant dense<2> : tensor<1xi64>
  %wa = nn.constant dense<0.5> : tensor<8x8xf32>
  %wb = nn.constant dense<0.25> : tensor<8x8xf32>
  %empty = nn.constant dense<0.1> : tensor<5x2xf32>
  %values, %indices = nn.topk %logits, %i1 {axis = 1 : i64, largest, sorted} : (tensor<5x2xf32>, tensor<1xi64>) -> (tensor<5x1xf32>, tensor<5x1xi64>)
  %gates = nn.scatter_elements %empty, %indices, %values {axis = 1 : i64, reduction = #nn.scatter_reduction<none>}
    : (tensor<5x2xf32>, tensor<5x1xi64>, tensor<5x1xf32>) -> tensor<5x2xf32>
  %ga = nn.slice %gates[%i0 : %i1 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %gb = nn.slice %gates[%i1 : %i2 axes %i1] : (tensor<5x2xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5x1xf32>
  %a = nn.matmul %x, %wa : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
  %b = nn.matmul %x, %wb : (tensor<5x8xf32>, tensor<8x8xf32>) -> tensor<5x8xf32>
  %sa = nn.mul %a, %ga : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  %sb = nn.mul %b, %gb : (tensor<5x8xf32>, tensor<5x1xf32>) -> tensor<5x8xf32>
  %0 = nn.add %sa, %sb : (tensor<5x8xf32>, tensor<5x8xf32>) -> tensor<5x8xf32>
  return %0 : tensor<5x8xf32>
}

// -----

// Scores with zeros, of experts that are one product.
// CHECK-LABEL: func @linear_experts
// CHECK-NOT: nn.moe
// CHECK: return
func.func @linear_experts(%x: tensor<6x8xf32>, %scores: tensor<6x4xf32>, %more: tensor<6x4xi1>) -> tensor<6x8xf32> {
  %zero = nn.constant dense<0.0> : tensor<f32>
  %w = nn.constant dense<0.5> : tensor<4x8x8xf32>
  %gates = nn.where %more, %scores, %zero : (tensor<6x4xi1>, tensor<6x4xf32>, tensor<f32>) -> tensor<6x4xf32>
  %turned = nn.transpose %gates {perm = array<i64: 1, 0>} : (tensor<6x4xf32>) -> tensor<4x6xf32>
  %columns = nn.unsqueeze %turned {axes = array<i64: 2>} : (tensor<4x6xf32>) -> tensor<4x6x1xf32>
  %tokens = nn.unsqueeze %x {axes = array<i64: 0>} : (tensor<6x8xf32>) -> tensor<1x6x8xf32>
  %0 = nn.matmul %tokens, %w : (tensor<1x6x8xf32>, tensor<4x8x8xf32>) -> tensor<4x6x8xf32>
  %1 = nn.mul %0, %columns : (tensor<4x6x8xf32>, tensor<4x6x1xf32>) -> tensor<4x6x8xf32>
  // expected-remark @+1 {{an expert is more than two products and what is elementwise between}}
  %2 = nn.reduce %1 {axes = array<i64: 0>, keep_dims = false, kind = #nn.reduce_kind<sum>} : (tensor<4x6x8xf32>) -> tensor<6x8xf32>
  return %2 : tensor<6x8xf32>
}
