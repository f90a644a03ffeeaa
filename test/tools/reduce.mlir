// nnopt-reduce keeps what makes a graph interesting to a script: here, a tanh.
// RUN: nnopt-reduce %s -reduction-tree='traversal-mode=0 test=%S/has-tanh.sh' | FileCheck %s

// CHECK-LABEL: func.func @main
// CHECK-NOT: nn.exp
// CHECK: nn.tanh
// CHECK-NOT: nn.exp
func.func @other(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.neg %0 : (tensor<4xf32>) -> tensor<4xf32>
  %2 = nn.tanh %x : (tensor<4xf32>) -> tensor<4xf32>
  return %2 : tensor<4xf32>
}
