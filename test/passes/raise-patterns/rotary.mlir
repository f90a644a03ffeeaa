// Rotary position embeddings as exporters write them out.
// RUN: nnopt-opt %s --raise-patterns --split-input-file | FileCheck %s

// x cos + rotated(x) sin, with an angle for each element.
// CHECK-LABEL: func @rotate_half
func.func @rotate_half(%x: tensor<?x2x?x8xf32> {nn.dims = ["b", 2, "t", 8]},
                       %cos: tensor<?x1x?x8xf32> {nn.dims = ["b", 1, "t", 8]},
                       %sin: tensor<?x1x?x8xf32> {nn.dims = ["b", 1, "t", 8]}) -> tensor<?x2x?x8xf32> {
  // CHECK: %[[Y:.*]] = nn.rotary %arg0, %arg1, %arg2 :
  // CHECK: return %[[Y]]
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i4 = nn.constant dense<4> : tensor<1xi64>
  %end = nn.constant dense<9223372036854775807> : tensor<1xi64>
  %axis = nn.constant dense<3> : tensor<1xi64>
  %a = nn.slice %x[%i0 : %i4 axes %axis] : (tensor<?x2x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x2x?x4xf32>
  %b = nn.slice %x[%i4 : %end axes %axis] : (tensor<?x2x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x2x?x4xf32>
  %n = nn.neg %b : (tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  %r = nn.concat %n, %a {axis = 3 : i64} : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x8xf32>
  %0 = nn.mul %x, %cos : (tensor<?x2x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x2x?x8xf32>
  %1 = nn.mul %r, %sin : (tensor<?x2x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x2x?x8xf32>
  %2 = nn.add %0, %1 : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  return %2 : tensor<?x2x?x8xf32>
}

// -----

// Half by half, with an angle for each pair.
// CHECK-LABEL: func @halves
func.func @halves(%x: tensor<2x3x8xf32>, %cos: tensor<3x4xf32>, %sin: tensor<3x4xf32>) -> tensor<2x3x8xf32> {
  // CHECK: nn.rotary %arg0, %arg1, %arg2 : (tensor<2x3x8xf32>, tensor<3x4xf32>, tensor<3x4xf32>)
  %a, %b = nn.split %x {axis = 2 : i64} : (tensor<2x3x8xf32>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>)
  %0 = nn.mul %cos, %a : (tensor<3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %1 = nn.mul %b, %sin : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %2 = nn.sub %0, %1 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %3 = nn.mul %a, %sin : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %4 = nn.mul %b, %cos : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %5 = nn.add %3, %4 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %6 = nn.concat %2, %5 {axis = 2 : i64} : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x8xf32>
  return %6 : tensor<2x3x8xf32>
}

// -----

// Neighbours as pairs.
// CHECK-LABEL: func @interleaved
func.func @interleaved(%x: tensor<2x3x8xf32>, %cos: tensor<3x4xf32>, %sin: tensor<3x4xf32>) -> tensor<2x3x8xf32> {
  // CHECK: nn.rotary %arg0, %arg1, %arg2 {interleaved}
  %i0 = nn.constant dense<0> : tensor<1xi64>
  %i1 = nn.constant dense<1> : tensor<1xi64>
  %i2 = nn.constant dense<2> : tensor<1xi64>
  %end = nn.constant dense<8> : tensor<1xi64>
  %shape = nn.constant dense<[2, 3, 8]> : tensor<3xi64>
  %a = nn.slice %x[%i0 : %end axes %i2 steps %i2] : (tensor<2x3x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3x4xf32>
  %b = nn.slice %x[%i1 : %end axes %i2 steps %i2] : (tensor<2x3x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3x4xf32>
  %0 = nn.mul %a, %cos : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %1 = nn.mul %b, %sin : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %2 = nn.sub %0, %1 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %3 = nn.mul %a, %sin : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %4 = nn.mul %b, %cos : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %5 = nn.add %3, %4 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %6 = nn.unsqueeze %2 {axes = array<i64: 3>} : (tensor<2x3x4xf32>) -> tensor<2x3x4x1xf32>
  %7 = nn.unsqueeze %5 {axes = array<i64: 3>} : (tensor<2x3x4xf32>) -> tensor<2x3x4x1xf32>
  %8 = nn.concat %6, %7 {axis = 3 : i64} : (tensor<2x3x4x1xf32>, tensor<2x3x4x1xf32>) -> tensor<2x3x4x2xf32>
  %9 = nn.reshape %8, %shape : (tensor<2x3x4x2xf32>, tensor<3xi64>) -> tensor<2x3x8xf32>
  return %9 : tensor<2x3x8xf32>
}

// -----

// The halves are put together in the wrong order: no rotation.
// CHECK-LABEL: func @swapped
// CHECK-NOT: nn.rotary
func.func @swapped(%x: tensor<2x3x8xf32>, %cos: tensor<3x4xf32>, %sin: tensor<3x4xf32>) -> tensor<2x3x8xf32> {
  %a, %b = nn.split %x {axis = 2 : i64} : (tensor<2x3x8xf32>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>)
  %0 = nn.mul %b, %cos : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %1 = nn.mul %a, %sin : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %2 = nn.sub %0, %1 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %3 = nn.mul %b, %sin : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %4 = nn.mul %a, %cos : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %5 = nn.add %3, %4 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %6 = nn.concat %2, %5 {axis = 2 : i64} : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x8xf32>
  return %6 : tensor<2x3x8xf32>
}

// -----

// Other angles for the second half than for the first.
// CHECK-LABEL: func @other_angles
// CHECK-NOT: nn.rotary
func.func @other_angles(%x: tensor<2x3x8xf32>, %cos: tensor<3x4xf32>, %sin: tensor<3x4xf32>, %more: tensor<3x4xf32>) -> tensor<2x3x8xf32> {
  %a, %b = nn.split %x {axis = 2 : i64} : (tensor<2x3x8xf32>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>)
  %0 = nn.mul %a, %cos : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %1 = nn.mul %b, %sin : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %2 = nn.sub %0, %1 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %3 = nn.mul %a, %more : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %4 = nn.mul %b, %cos : (tensor<2x3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %5 = nn.add %3, %4 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %6 = nn.concat %2, %5 {axis = 2 : i64} : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x8xf32>
  return %6 : tensor<2x3x8xf32>
}

// -----

// The sigmoid approximation of GELU is a Swish.
// CHECK-LABEL: func @quick_gelu
func.func @quick_gelu(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // CHECK: nn.silu %arg0 {alpha = {{1.70[12].*}} : f64}
  %c = nn.constant dense<1.702> : tensor<f32>
  %0 = nn.mul %x, %c : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %1 = nn.sigmoid %0 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %2 = nn.mul %x, %1 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %2 : tensor<2x8xf32>
}
