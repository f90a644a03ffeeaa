// What has no ONNX form is listed in one table; nothing is written.
// RUN: not nnopt-compile %s --emit=onnx --opt=0 -o %t.onnx 2>&1 | FileCheck %s
// RUN: not test -e %t.onnx

// CHECK: op opset what reason node
// CHECK: nn.map 17 scalar code math.cbrt has no ONNX form map (and 1 more)
// CHECK: error: the graph has operations without ONNX form
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.map(%x) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: f32):
    %r = math.cbrt %a : f32
    nn.yield %r : f32
  }
  %1 = nn.map(%0) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: f32):
    %r = math.cbrt %a : f32
    nn.yield %r : f32
  }
  return %1 : tensor<4xf32>
}
