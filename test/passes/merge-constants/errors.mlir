// What only looks equal stays apart.
// RUN: nnopt-opt --merge-constants %s | FileCheck %s

// CHECK-LABEL: func.func @main
func.func @main() -> (tensor<2xf32>, tensor<1x2xf32>, tensor<2xi32>, tensor<2xf32>) {
  // Another shape, another type of the same bytes, and -0 instead of 0.
  // CHECK-COUNT-4: nn.constant
  %a = nn.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %b = nn.constant dense<[[0.0, 1.0]]> : tensor<1x2xf32>
  %c = nn.constant dense<[0, 1065353216]> : tensor<2xi32>
  %d = nn.constant dense<[-0.0, 1.0]> : tensor<2xf32>
  return %a, %b, %c, %d : tensor<2xf32>, tensor<1x2xf32>, tensor<2xi32>, tensor<2xf32>
}
