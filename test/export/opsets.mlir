// The operator set stays where the graph fits it, with newer operators written out, and rises where it must: 19 for
// wrapping pads.
// RUN: split-file %s %t
// RUN: nnopt-compile %t/old.mlir --emit=onnx --opt=0 -o %t/old.onnx --verify --quiet
// RUN: nnopt-opt %t/old.onnx | FileCheck %s --check-prefix=OLD
// RUN: nnopt-compile %t/wrap.mlir --emit=onnx --opt=0 -o %t/wrap.onnx --verify --quiet
// RUN: nnopt-opt %t/wrap.onnx | FileCheck %s --check-prefix=WRAP

// OLD: nn.opset = 9
// OLD: nn.erf
// OLD: nn.sqrt
// WRAP: nn.opset = 19
// WRAP: mode = #nn.pad_mode<wrap>

//--- old.mlir
module attributes {nn.opset = 9 : i64} {
  func.func @main(%x: tensor<2x4x6xf32>) -> tensor<2x4x6xf32> {
    %s = nn.constant dense<2.0> : tensor<6xf32>
    %0 = nn.gelu %x : (tensor<2x4x6xf32>) -> tensor<2x4x6xf32>
    %1 = nn.layer_norm %0, %s {axis = 2 : i64, epsilon = 1.0e-05 : f64} : (tensor<2x4x6xf32>, tensor<6xf32>) -> tensor<2x4x6xf32>
    %2 = nn.softmax %1 {axis = 1 : i64} : (tensor<2x4x6xf32>) -> tensor<2x4x6xf32>
    %3 = nn.silu %2 : (tensor<2x4x6xf32>) -> tensor<2x4x6xf32>
    return %3 : tensor<2x4x6xf32>
  }
}
//--- wrap.mlir
module attributes {nn.opset = 11 : i64} {
  func.func @main(%x: tensor<4x6xf32>) -> tensor<6x6xf32> {
    %p = nn.constant dense<[1, 0, 1, 0]> : tensor<4xi64>
    %0 = nn.pad %x, %p {mode = #nn.pad_mode<wrap>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<4x6xf32>, tensor<4xi64>) -> tensor<6x6xf32>
    return %0 : tensor<6x6xf32>
  }
}
