// RUN: nnopt-opt --narrow-to-f16 %s | FileCheck %s

// What lies in memory is f16; bias, sums and scalar code are f32. The function keeps its types: a product writes the f32 result.
// CHECK: %[[X:.*]] = nn.cast %arg0 {{.*}} -> tensor<?x64xf16>
// CHECK: nn.matmul %[[X]], %{{.*}} bias %{{.*}} : (tensor<?x64xf16>, tensor<64x64xf16>, tensor<64xf32>) -> tensor<?x64xf16> {
// CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32):
// CHECK-NEXT: %[[Y:.*]] = arith.truncf %[[ACC]] : f32 to f16
// CHECK-NEXT: nn.yield %[[Y]] : f16
// CHECK: nn.softmax {{.*}} : (tensor<?x64xf16>) -> tensor<?x64xf16>
// CHECK: nn.matmul {{.*}} : (tensor<?x64xf16>, tensor<64x32xf16>) -> tensor<?x32xf32> {
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x32xf32> {
  %w = nn.constant dense<0.5> : tensor<64x64xf32>
  %v = nn.constant dense<0.25> : tensor<64x32xf32>
  %b = nn.constant dense<1.0> : tensor<64xf32>
  %y = nn.matmul %x, %w bias %b : (tensor<?x64xf32>, tensor<64x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  %s = nn.softmax %y {axis = 1 : i64} : (tensor<?x64xf32>) -> tensor<?x64xf32>
  %z = nn.matmul %s, %v : (tensor<?x64xf32>, tensor<64x32xf32>) -> tensor<?x32xf32>
  return %z : tensor<?x32xf32>
}
