// Quantized weights stay integers in an exported model, with their parameters as vectors along an axis.
// RUN: nnopt-compile %s --emit=onnx -o %t.onnx --quiet && nnopt-compile %t.onnx --emit=nn --opt=0 -o - --quiet | FileCheck %s

// CHECK-DAG: %[[W:.*]] = nn.constant {{.*}} : tensor<3x2x3x3xi8>
// CHECK-DAG: %[[S:.*]] = nn.constant {{.*}} : tensor<3xf32>
// CHECK: %[[SHAPED:.*]] = nn.unsqueeze %[[S]] {axes = array<i64: 1, 2, 3>}
// CHECK: nn.dequantize %[[W]], %[[SHAPED]]
// CHECK-NOT: nn.reshape
func.func @main(%q: tensor<1x2x8x8xui8> {nn.name = "q"}) -> (tensor<1x3x8x8xf32> {nn.name = "y"}) {
  %sx = nn.constant dense<0.5> : tensor<f32>
  %w = nn.constant dense<3> : tensor<3x2x3x3xi8>
  %sw = nn.constant dense<[[[[0.25]]], [[[0.5]]], [[[1.0]]]]> : tensor<3x1x1x1xf32>
  %zw = nn.constant dense<0> : tensor<3x1x1x1xi8>
  %x = nn.dequantize %q, %sx {to = f32} : (tensor<1x2x8x8xui8>, tensor<f32>) -> tensor<1x2x8x8xf32>
  %v = nn.dequantize %w, %sw, %zw {to = f32} : (tensor<3x2x3x3xi8>, tensor<3x1x1x1xf32>, tensor<3x1x1x1xi8>) -> tensor<3x2x3x3xf32>
  %y = nn.conv %x, %v {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x2x8x8xf32>, tensor<3x2x3x3xf32>) -> tensor<1x3x8x8xf32>
  return %y : tensor<1x3x8x8xf32>
}
