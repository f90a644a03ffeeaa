// RUN: nnopt-opt --narrow-to-f16 --split-input-file %s | FileCheck %s

// Maps read both types, and a constant of many elements as f16; an elementwise operation gets scalar code.
// CHECK-LABEL: func.func @scalars
// CHECK: %[[C:.*]] = nn.constant dense<[1.000000e+00, -6.550400e+04]> : tensor<2xf16>
// CHECK: %[[A:.*]] = nn.map(%arg0, %[[C]]) : (tensor<3x2xf32>, tensor<2xf16>) -> tensor<3x2xf16> {
// CHECK-NEXT: ^bb0(%[[P:.*]]: f32, %[[Q:.*]]: f16):
// CHECK: arith.extf %[[Q]]
// CHECK: arith.addf
// CHECK: arith.truncf
// CHECK: nn.map(%[[A]]) : (tensor<3x2xf16>) -> tensor<3x2xf32> {
// CHECK-NOT: nn.cast
func.func @scalars(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %c = nn.constant dense<[1.0, -3.4e38]> : tensor<2xf32>
  %a = nn.add %x, %c : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %y = nn.relu %a : (tensor<3x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// Inputs and results that are f16 need no casts; neither do values that a cast made f16.
// CHECK-LABEL: func.func @halves
// CHECK-NOT: nn.cast
// CHECK: nn.concat %arg0, %arg1 {{.*}} -> tensor<4x4xf16>
// CHECK-NOT: nn.cast
// CHECK: return {{.*}} : tensor<4x4xf16>
func.func @halves(%x: tensor<2x4xf16>, %z: tensor<2x4xf16>) -> tensor<4x4xf16> {
  %a = nn.cast %x {to = f32} : (tensor<2x4xf16>) -> tensor<2x4xf32>
  %b = nn.cast %z {to = f32} : (tensor<2x4xf16>) -> tensor<2x4xf32>
  %c = nn.concat %a, %b {axis = 0 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  %y = nn.cast %c {to = f16} : (tensor<4x4xf32>) -> tensor<4x4xf16>
  return %y : tensor<4x4xf16>
}

// -----

// Finite numbers beyond the range stay finite, infinities stay.
// CHECK-LABEL: func.func @mask
// CHECK: nn.map
// CHECK: arith.maximumf
// CHECK: arith.minimumf
// CHECK: math.absf
// CHECK: arith.select
// CHECK: arith.truncf
// CHECK: nn.softmax
func.func @mask(%m: tensor<4x4xi1>, %x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %lowest = nn.constant dense<-3.4e38> : tensor<f32>
  %s = nn.where %m, %x, %lowest : (tensor<4x4xi1>, tensor<4x4xf32>, tensor<f32>) -> tensor<4x4xf32>
  %p = nn.softmax %s {axis = 1 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %y = nn.matmul %p, %w : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// -----

// Integers that a product widens are widened to f16.
// CHECK-LABEL: func.func @narrow_weights
// CHECK: %[[S:.*]] = nn.constant {{.*}} : tensor<64xf16>
// CHECK: nn.dequantize %{{.*}}, %[[S]] {{.*}}to = f16{{.*}} -> tensor<32x64xf16>
// CHECK: nn.matmul {{.*}} : (tensor<4x32xf16>, tensor<32x64xf16>) -> tensor<4x64xf32>
func.func @narrow_weights(%x: tensor<4x32xf32>) -> tensor<4x64xf32> {
  %q = nn.constant dense<3> : tensor<32x64xi8>
  %s = nn.constant dense<0.5> : tensor<64xf32>
  %w = nn.dequantize %q, %s {to = f32} : (tensor<32x64xi8>, tensor<64xf32>) -> tensor<32x64xf32>
  %y = nn.matmul %x, %w : (tensor<4x32xf32>, tensor<32x64xf32>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}
