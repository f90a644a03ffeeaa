// What stays in floats, and the reason that is given.
// RUN: nnopt-opt %s --raise-quantized --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// Weights that are quantized alone: the activation has no integers.
// CHECK-LABEL: func.func @weights_only
func.func @weights_only(%x: tensor<?x4xf32>) -> tensor<?x3xf32> {
  %w = nn.constant dense<3> : tensor<4x3xi8>
  %s = nn.constant dense<0.25> : tensor<f32>
  %v = nn.dequantize %w, %s {to = f32} : (tensor<4x3xi8>, tensor<f32>) -> tensor<4x3xf32>
  // CHECK: nn.matmul {{.*}} : (tensor<?x4xf32>, tensor<4x3xf32>)
  // expected-remark @+1 {{the activation: is not dequantized}}
  %y = nn.matmul %x, %v : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// A scale for each row of the weights, which are summed.
// CHECK-LABEL: func.func @summed_axis
func.func @summed_axis(%q: tensor<?x4xui8>) -> tensor<?x3xf32> {
  %w = nn.constant dense<3> : tensor<4x3xi8>
  %s = nn.constant dense<0.25> : tensor<f32>
  %sw = nn.constant dense<[[0.25], [0.5], [1.0], [2.0]]> : tensor<4x1xf32>
  %x = nn.dequantize %q, %s {to = f32} : (tensor<?x4xui8>, tensor<f32>) -> tensor<?x4xf32>
  %v = nn.dequantize %w, %sw {to = f32} : (tensor<4x3xi8>, tensor<4x1xf32>) -> tensor<4x3xf32>
  // CHECK: nn.matmul {{.*}} : (tensor<?x4xf32>, tensor<4x3xf32>)
  // expected-remark @+1 {{the weights have scales along a dimension that is summed over}}
  %y = nn.matmul %x, %v : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// A scale for each column of the activation.
// CHECK-LABEL: func.func @activation_axis
func.func @activation_axis(%q: tensor<?x2xui8>) -> tensor<?x3xf32> {
  %w = nn.constant dense<3> : tensor<2x3xi8>
  %s = nn.constant dense<0.25> : tensor<f32>
  %sx = nn.constant dense<[0.25, 0.5]> : tensor<2xf32>
  %x = nn.dequantize %q, %sx {to = f32} : (tensor<?x2xui8>, tensor<2xf32>) -> tensor<?x2xf32>
  %v = nn.dequantize %w, %s {to = f32} : (tensor<2x3xi8>, tensor<f32>) -> tensor<2x3xf32>
  // CHECK: nn.matmul {{.*}} : (tensor<?x2xf32>, tensor<2x3xf32>)
  // expected-remark @+1 {{the activation has a scale for each position along a dimension}}
  %y = nn.matmul %x, %v : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// Both operands are computed: as in the products of attention.
// CHECK-LABEL: func.func @variables
func.func @variables(%q: tensor<?x4xui8>, %p: tensor<4x3xui8>) -> tensor<?x3xf32> {
  %s = nn.constant dense<0.25> : tensor<f32>
  %x = nn.dequantize %q, %s {to = f32} : (tensor<?x4xui8>, tensor<f32>) -> tensor<?x4xf32>
  %v = nn.dequantize %p, %s {to = f32} : (tensor<4x3xui8>, tensor<f32>) -> tensor<4x3xf32>
  // CHECK: nn.matmul {{.*}} : (tensor<?x4xf32>, tensor<4x3xf32>)
  // expected-remark @+1 {{the weights are not constant}}
  %y = nn.matmul %x, %v : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// A scale that is known at run time only.
// CHECK-LABEL: func.func @dynamic_scale
func.func @dynamic_scale(%q: tensor<?x4xui8>, %s: tensor<f32>) -> tensor<?x3xf32> {
  %w = nn.constant dense<3> : tensor<4x3xi8>
  %sw = nn.constant dense<0.25> : tensor<f32>
  %x = nn.dequantize %q, %s {to = f32} : (tensor<?x4xui8>, tensor<f32>) -> tensor<?x4xf32>
  %v = nn.dequantize %w, %sw {to = f32} : (tensor<4x3xi8>, tensor<f32>) -> tensor<4x3xf32>
  // CHECK: nn.matmul {{.*}} : (tensor<?x4xf32>, tensor<4x3xf32>)
  // expected-remark @+1 {{the activation: a scale or zero point is not constant}}
  %y = nn.matmul %x, %v : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// 16-bit activations.
// CHECK-LABEL: func.func @words
func.func @words(%q: tensor<?x4xui16>) -> tensor<?x3xf32> {
  %w = nn.constant dense<3> : tensor<4x3xi8>
  %s = nn.constant dense<0.25> : tensor<f32>
  %x = nn.dequantize %q, %s {to = f32} : (tensor<?x4xui16>, tensor<f32>) -> tensor<?x4xf32>
  %v = nn.dequantize %w, %s {to = f32} : (tensor<4x3xi8>, tensor<f32>) -> tensor<4x3xf32>
  // CHECK: nn.matmul {{.*}} : (tensor<?x4xf32>, tensor<4x3xf32>)
  // expected-remark @+1 {{the activation: does not come from 8-bit integers}}
  %y = nn.matmul %x, %v : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// Other parameters behind the reshape: elements change.
// CHECK-LABEL: func.func @other_parameters
func.func @other_parameters(%q: tensor<2x8xui8>) -> tensor<16xui8> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %t = nn.constant dense<0.25> : tensor<f32>
  %shape = nn.constant dense<16> : tensor<1xi64>
  %x = nn.dequantize %q, %s {to = f32} : (tensor<2x8xui8>, tensor<f32>) -> tensor<2x8xf32>
  // CHECK: nn.reshape {{.*}} : (tensor<2x8xf32>
  %r = nn.reshape %x, %shape : (tensor<2x8xf32>, tensor<1xi64>) -> tensor<16xf32>
  %y = nn.quantize %r, %t {to = ui8} : (tensor<16xf32>, tensor<f32>) -> tensor<16xui8>
  return %y : tensor<16xui8>
}
