// What ends in a weight is computed in f64: in f32 this sum is 0.
// RUN: nnopt-opt %s --fold-constants | FileCheck %s

// CHECK-LABEL: func @weight
func.func @weight(%x: tensor<4x1xf32>) -> tensor<4x1xf32> {
  // CHECK-NEXT: nn.constant dense<1.000000e+00> : tensor<1x1xf32>
  // CHECK-NEXT: nn.matmul
  %a = nn.constant dense<[[16777216.0], [1.0], [-16777216.0]]> : tensor<3x1xf32>
  %w = nn.reduce %a {kind = #nn.reduce_kind<sum>, axes = array<i64: 0>, keep_dims = true} : (tensor<3x1xf32>) -> tensor<1x1xf32>
  %0 = nn.matmul %x, %w : (tensor<4x1xf32>, tensor<1x1xf32>) -> tensor<4x1xf32>
  return %0 : tensor<4x1xf32>
}
