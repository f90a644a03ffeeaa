// Constants are evaluated in every part of a file.
// RUN: nnopt-opt %s --fold-constants --split-input-file | FileCheck %s

// CHECK-LABEL: func @first
// CHECK-NOT: nn.sin
func.func @first() -> tensor<4x4xf32> {
  %c = nn.constant dense<1.0> : tensor<4x4xf32>
  %0 = nn.sin %c : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}

// -----

// CHECK-LABEL: func @second
// CHECK-NOT: nn.cos
func.func @second() -> tensor<4x4xf32> {
  %c = nn.constant dense<1.0> : tensor<4x4xf32>
  %0 = nn.cos %c : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
