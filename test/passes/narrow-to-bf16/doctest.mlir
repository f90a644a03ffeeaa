// RUN: nnopt-opt --narrow-to-bf16 %s | FileCheck %s

// Operands are rounded; sums, bias and result stay f32.
// CHECK: %[[X:.*]] = nn.cast %arg0 {{.*}} -> tensor<?x64xbf16>
// CHECK: %[[W:.*]] = nn.cast {{.*}} -> tensor<64x32xbf16>
// CHECK: nn.matmul %[[X]], %[[W]] bias %{{.*}} -> tensor<?x32xf32> {
// CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32):
// CHECK-NEXT: nn.yield %[[ACC]] : f32
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x32xf32> {
  %w = nn.constant dense<0.5> : tensor<64x32xf32>
  %b = nn.constant dense<1.0> : tensor<32xf32>
  %y = nn.matmul %x, %w bias %b : (tensor<?x64xf32>, tensor<64x32xf32>, tensor<32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
