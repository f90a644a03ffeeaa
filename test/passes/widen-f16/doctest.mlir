// RUN: nnopt-opt --widen-f16 %s | FileCheck %s

// f32 between inputs and results; casts between the two types are gone, constants keep their values.
// CHECK: %[[X:.*]] = nn.cast %arg0 {{.*}} -> tensor<4x8xf32>
// CHECK: %[[W:.*]] = nn.constant {{.*}} : tensor<8x8xf32>
// CHECK: %[[Y:.*]] = nn.matmul %[[X]], %[[W]] : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT: %[[S:.*]] = nn.softmax %[[Y]]
// CHECK-NEXT: %[[R:.*]] = nn.cast %[[S]] {{.*}} -> tensor<4x8xf16>
// CHECK-NEXT: return %[[R]] : tensor<4x8xf16>
func.func @main(%x: tensor<4x8xf16>) -> tensor<4x8xf16> {
  %w = nn.constant dense<0.5> : tensor<8x8xf16>
  %y = nn.matmul %x, %w : (tensor<4x8xf16>, tensor<8x8xf16>) -> tensor<4x8xf16>
  %a = nn.cast %y {to = f32} : (tensor<4x8xf16>) -> tensor<4x8xf32>
  %s = nn.softmax %a {axis = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %z = nn.cast %s {to = f16} : (tensor<4x8xf32>) -> tensor<4x8xf16>
  return %z : tensor<4x8xf16>
}
