// What our own kernels want and ONNX has not is undone: channels last by transposes, epilogues and maps by elementwise
// nodes. The result is compared with the graph.
// RUN: nnopt-compile %s --emit=onnx --opt=0 -o %t.onnx --verify --quiet
// RUN: nnopt-opt %t.onnx | FileCheck %s

// CHECK-LABEL: func.func @main(%arg0: tensor<?x6x6x4xf32> {nn.dims = ["n", 6, 6, 4], nn.name = "x"}
// CHECK: nn.transpose %arg0 {perm = array<i64: 0, 3, 1, 2>}
// CHECK: nn.conv
// CHECK-NOT: channels_last
// CHECK: nn.transpose {{.*}} {perm = array<i64: 0, 2, 3, 1>}
// CHECK: nn.add
// CHECK: nn.where
// CHECK: nn.mul
// CHECK: nn.tanh
// CHECK: nn.max_pool
func.func @main(%x: tensor<?x6x6x4xf32> {nn.name = "x", nn.dims = ["n", 6, 6, 4]}, %r: tensor<?x6x6x8xf32> {nn.name = "r", nn.dims = ["n", 6, 6, 8]})
    -> (tensor<?x3x3x8xf32> {nn.name = "y"}) {
  %w = nn.constant dense<0.1> : tensor<8x4x3x3xf32>
  %b = nn.constant dense<0.5> : tensor<8xf32>
  %0 = nn.conv %x, %w bias %b epilogue(%r) {channels_last, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>,
    dilations = array<i64: 1, 1>, group = 1 : i64} :
    (tensor<?x6x6x4xf32>, tensor<8x4x3x3xf32>, tensor<8xf32>, tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32> {
  ^bb0(%acc: f32, %res: f32):
    %zero = arith.constant 0.0 : f32
    %s = arith.addf %acc, %res : f32
    %c = arith.cmpf ult, %s, %zero : f32
    %y = arith.select %c, %zero, %s : f32
    nn.yield %y : f32
  }
  %1 = nn.map(%0, %b) : (tensor<?x6x6x8xf32>, tensor<8xf32>) -> tensor<?x6x6x8xf32> {
  ^bb0(%a: f32, %k: f32):
    %p = arith.mulf %a, %k : f32
    %t = math.tanh %p : f32
    nn.yield %t : f32
  }
  %2 = nn.max_pool %1 {channels_last, kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
    dilations = array<i64: 1, 1>} : (tensor<?x6x6x8xf32>) -> tensor<?x3x3x8xf32>
  return %2 : tensor<?x3x3x8xf32>
}
