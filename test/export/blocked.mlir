// A scale for each block of a dimension, as weights of 4 bits have it.
// RUN: nnopt-compile %s --emit=onnx --opt=0 -o %t.onnx --quiet && nnopt-opt %t.onnx --cse | FileCheck %s

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<2x3x4xf32> {nn.name = "y"}, tensor<2x4xf32> {nn.name = "z"}) {
  // CHECK-DAG: %[[W:.*]] = nn.constant {{.*}} : tensor<2x3x4xi4>
  // CHECK-DAG: %[[S:.*]] = nn.constant {{.*}} : tensor<2x3x1xf32>
  // CHECK-DAG: nn.dequantize %[[W]], %[[S]] {to = f32}
  // CHECK-DAG: %[[E:.*]] = nn.constant {{.*}} : tensor<2x4xf32>
  // CHECK-DAG: %[[Q:.*]] = nn.quantize %arg0, %[[E]], %{{.*}}
  // CHECK-DAG: nn.dequantize %[[Q]], %[[E]], %{{.*}} {to = f32}
  %w = nn.constant dense<3> : tensor<2x3x4xi4>
  %s = nn.constant dense<[[[0.25], [0.5], [1.0]], [[2.0], [4.0], [8.0]]]> : tensor<2x3x1xf32>
  %y = nn.dequantize %w, %s {to = f32} : (tensor<2x3x4xi4>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
  %e = nn.constant dense<[[0.25, 0.5, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0]]> : tensor<2x4xf32>
  %zero = nn.constant dense<1> : tensor<2x4xi8>
  %q = nn.quantize %x, %e, %zero {to = i8, saturate = true} : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xi8>) -> tensor<2x4xi8>
  %z = nn.dequantize %q, %e, %zero {to = f32} : (tensor<2x4xi8>, tensor<2x4xf32>, tensor<2x4xi8>) -> tensor<2x4xf32>
  return %y, %z : tensor<2x3x4xf32>, tensor<2x4xf32>
}
