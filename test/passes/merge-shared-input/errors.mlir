// What is not merged, and the reason that is given.
// RUN: nnopt-opt %s --merge-shared-input --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// Gate and up of a SwiGLU: the elementwise operations belong into the epilogues.
// CHECK-LABEL: func @gate_and_up
// CHECK-COUNT-2: nn.matmul
func.func @gate_and_up(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %a = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{taking its part out would be a copy for: nn.silu}}
  %0 = nn.matmul %x, %a : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %1 = nn.silu %0 : (tensor<3x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{taking its part out would be a copy for: nn.mul}}
  %2 = nn.matmul %x, %b : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %3 = nn.mul %1, %2 : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  return %3 : tensor<3x2xf32>
}

// -----

// Results of the model lie by themselves.
// CHECK-LABEL: func @outputs
// CHECK-COUNT-2: nn.matmul
func.func @outputs(%x: tensor<3x2xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %a = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{taking its part out would be a copy for: it is an output}}
  %0 = nn.matmul %x, %a : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{taking its part out would be a copy for: it is an output}}
  %1 = nn.matmul %x, %b : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %0, %1 : tensor<3x2xf32>, tensor<3x2xf32>
}

// -----

// A copy of weights that stay would be memory on top.
// CHECK-LABEL: func @shared_weights
// CHECK-COUNT-2: nn.matmul
func.func @shared_weights(%x: tensor<3x2xf32>) -> (tensor<3x4xf32>, tensor<2x2xf32>) {
  %a = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{its weights are used elsewhere too}}
  %0 = nn.matmul %x, %a : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %x, %b : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %2 = nn.concat %0, %1 {axis = 1 : i64} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x4xf32>
  return %2, %a : tensor<3x4xf32>, tensor<2x2xf32>
}

// -----

// Weights that are computed.
// CHECK-LABEL: func @variable_weights
// CHECK-COUNT-2: nn.matmul
func.func @variable_weights(%x: tensor<3x2xf32>, %a: tensor<2x2xf32>) -> tensor<3x4xf32> {
  %b = nn.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{its weights are not constant}}
  %0 = nn.matmul %x, %a : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %1 = nn.matmul %x, %b : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %2 = nn.concat %0, %1 {axis = 1 : i64} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x4xf32>
  return %2 : tensor<3x4xf32>
}

// -----

// Concatenated along the rows: no product has these rows.
// CHECK-LABEL: func @rows
// CHECK-COUNT-2: nn.matmul
func.func @rows(%x: tensor<3x2xf32>) -> tensor<6x2xf32> {
  %a = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  // expected-remark @+1 {{taking its part out would be a copy for: nn.concat}}
  %0 = nn.matmul %x, %a : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  // expected-remark @+1 {{taking its part out would be a copy for: nn.concat}}
  %1 = nn.matmul %x, %b : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %2 = nn.concat %0, %1 {axis = 0 : i64} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<6x2xf32>
  return %2 : tensor<6x2xf32>
}

// -----

// A 1x1 and a 3x3 branch.
// CHECK-LABEL: func @other_window
// CHECK-COUNT-2: nn.conv
func.func @other_window(%x: tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %a = nn.constant dense<1.0> : tensor<1x1x1x1xf32>
  %b = nn.constant dense<2.0> : tensor<1x1x3x3xf32>
  %0 = nn.conv %x, %a {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x4x4xf32>
  %1 = nn.conv %x, %b {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x3x3xf32>) -> tensor<1x1x4x4xf32>
  %2 = nn.concat %0, %1 {axis = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %2 : tensor<1x2x4x4xf32>
}

// -----

// Different activations behind them.
// CHECK-LABEL: func @other_activation
// CHECK-COUNT-2: nn.conv
func.func @other_activation(%x: tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %a = nn.constant dense<1.0> : tensor<1x1x1x1xf32>
  %b = nn.constant dense<2.0> : tensor<1x1x1x1xf32>
  // expected-remark @+1 {{taking its part out would be a copy for: nn.relu}}
  %0 = nn.conv %x, %a {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x4x4xf32>
  %3 = nn.relu %0 : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  // expected-remark @+1 {{taking its part out would be a copy for: nn.sigmoid}}
  %1 = nn.conv %x, %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x4x4xf32>
  %4 = nn.sigmoid %1 : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  %2 = nn.concat %3, %4 {axis = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %2 : tensor<1x2x4x4xf32>
}
