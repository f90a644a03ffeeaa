// RUN: nnopt-opt --narrow-to-bf16=marked-only %s | FileCheck %s

// Only what compression marked; the mark is gone then.
// CHECK: nn.matmul %arg0, {{.*}} -> tensor<?x32xf32>
// CHECK: nn.cast {{.*}} -> tensor<?x32xbf16>
// CHECK: nn.matmul
// CHECK-NOT: bf16_products
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x16xf32> {
  %w = nn.constant dense<0.5> : tensor<64x32xf32>
  %v = nn.constant dense<0.25> : tensor<32x16xf32>
  %y = nn.matmul %x, %w : (tensor<?x64xf32>, tensor<64x32xf32>) -> tensor<?x32xf32>
  %z = nn.matmul %y, %v {bf16_products} : (tensor<?x32xf32>, tensor<32x16xf32>) -> tensor<?x16xf32>
  return %z : tensor<?x16xf32>
}
