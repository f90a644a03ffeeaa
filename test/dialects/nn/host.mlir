// Types and shapes of host values: strings, sequences, optionals, maps.
// RUN: nnopt-opt %s --infer-shapes="show=true" --split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func @strings
// CHECK-SAME: tensor<?x!nn.string>
func.func @strings(%x: tensor<?x!nn.string> {nn.dims = ["n"]}, %y: tensor<4x1x!nn.string>, %i: tensor<2x3xi64>) {
  // expected-remark @+1 {{[4, n]}}
  %0 = nn.string_concat %x, %y : (tensor<?x!nn.string>, tensor<4x1x!nn.string>) -> tensor<?x?x!nn.string>
  // CHECK: nn.string_equal {{.*}} -> tensor<4x?xi1>
  // expected-remark @+1 {{[4, n]}}
  %1 = nn.string_equal %x, %y : (tensor<?x!nn.string>, tensor<4x1x!nn.string>) -> tensor<?x?xi1>
  // expected-remark @+1 {{[n, parts]; [n]}}
  %2:2 = nn.string_split %x {delimiter = ","} : (tensor<?x!nn.string>) -> (tensor<?x?x!nn.string>, tensor<?xi64>)
  // expected-remark @+1 {{[n + 4]}}
  %3 = nn.string_pool %x, %y : (tensor<?x!nn.string>, tensor<4x1x!nn.string>) -> tensor<?x!nn.string>
  // CHECK: nn.string_take {{.*}} -> tensor<2x3x!nn.string>
  // expected-remark @+1 {{[2, 3]}}
  %4 = nn.string_take %3, %i : (tensor<?x!nn.string>, tensor<2x3xi64>) -> tensor<2x3x!nn.string>
  // CHECK: nn.constant dense<["a", "b"]> : tensor<2x!nn.string>
  %5 = nn.constant dense<["a", "b"]> : tensor<2x!nn.string>
  return
}

// -----

// What is known of elements, and what is forgotten where they differ.
// CHECK-LABEL: func @sequences
func.func @sequences(%x: tensor<2x3xf32>, %y: tensor<5x3xf32>, %p: tensor<i64>) -> !nn.optional<!nn.sequence<tensor<*xf32>>> {
  // CHECK: -> !nn.sequence<tensor<?x3xf32>>
  // expected-remark @+1 {{[]}}
  %0 = nn.sequence_construct %x, %y {element = tensor<*xf32>} : (tensor<2x3xf32>, tensor<5x3xf32>) -> !nn.sequence<tensor<*xf32>>
  // CHECK: nn.sequence_at {{.*}} -> tensor<?x3xf32>
  // expected-remark @+1 {{[element, 3]}}
  %1 = nn.sequence_at %0, %p {element = tensor<?x3xf32>} : (!nn.sequence<tensor<*xf32>>, tensor<i64>) -> tensor<?x3xf32>
  // expected-remark @+1 {{[]}}
  %2 = nn.optional_construct %0 {element = !nn.sequence<tensor<*xf32>>} : (!nn.sequence<tensor<*xf32>>) -> !nn.optional<!nn.sequence<tensor<*xf32>>>
  return %2 : !nn.optional<!nn.sequence<tensor<*xf32>>>
}

// -----

// A loop that appends: the elements of all iterations.
// CHECK-LABEL: func @grows
// CHECK-SAME: -> !nn.sequence<tensor<?xf32>>
func.func @grows(%m: tensor<i64>, %x: tensor<?xf32> {nn.dims = ["n"]}) -> !nn.sequence<tensor<*xf32>> {
  // expected-remark @+1 {{[]}}
  %e = nn.sequence_construct {element = tensor<*xf32>} : () -> !nn.sequence<tensor<*xf32>>
  // expected-remark @+1 {{[]}}
  %0 = nn.loop trip %m carried(%e) : (tensor<i64>, !nn.sequence<tensor<*xf32>>) -> !nn.sequence<tensor<*xf32>> {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %s: !nn.sequence<tensor<*xf32>>):
    // expected-remark @+1 {{[]}}
    %1 = nn.sequence_insert %s, %x : (!nn.sequence<tensor<*xf32>>, tensor<?xf32>) -> !nn.sequence<tensor<*xf32>>
    nn.yield %c, %1 : tensor<i1>, !nn.sequence<tensor<*xf32>>
  }
  return %0 : !nn.sequence<tensor<*xf32>>
}

// -----

func.func @broadcast(%x: tensor<2x!nn.string>, %y: tensor<3x!nn.string>) {
  // expected-error @+1 {{operands do not broadcast: [2] and [3]}}
  %0 = nn.string_concat %x, %y : (tensor<2x!nn.string>, tensor<3x!nn.string>) -> tensor<?x!nn.string>
  return
}

// -----

func.func @element_types(%x: tensor<2xf32>, %y: tensor<2xi64>) {
  // expected-error @+1 {{elements have different types}}
  %0 = nn.sequence_construct %x, %y {element = tensor<*xf32>} : (tensor<2xf32>, tensor<2xi64>) -> !nn.sequence<tensor<*xf32>>
  return
}

// -----

func.func @operands(%x: tensor<2xf32>, %y: tensor<2x!nn.string>) {
  // expected-error @+1 {{operand #0 must be ranked tensor of strings}}
  %0 = nn.string_concat %x, %y : (tensor<2xf32>, tensor<2x!nn.string>) -> tensor<2x!nn.string>
  return
}
