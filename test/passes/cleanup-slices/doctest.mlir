// RUN: nnopt-opt %s --cleanup-slices --split-input-file | FileCheck %s

// The input transform of GoogLeNet: an affine map of each channel.
// CHECK-LABEL: func @input_transform
func.func @input_transform(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  // CHECK-DAG: %[[S:.*]] = nn.constant dense<{{.*}}2.000000e+00{{.*}}3.000000e+00{{.*}}> : tensor<2x1x1xf32>
  // CHECK-DAG: %[[T:.*]] = nn.constant dense<{{.*}}5.000000e-01{{.*}}2.500000e-01{{.*}}> : tensor<2x1x1xf32>
  // CHECK: %[[Y:.*]] = nn.mul %arg0, %[[S]]
  // CHECK: %[[Z:.*]] = nn.add %[[Y]], %[[T]]
  // CHECK-NEXT: return %[[Z]]
  %i0 = nn.constant dense<0> : tensor<i64>
  %i1 = nn.constant dense<1> : tensor<i64>
  %s0 = nn.constant dense<2.0> : tensor<f32>
  %t0 = nn.constant dense<0.5> : tensor<f32>
  %s1 = nn.constant dense<3.0> : tensor<f32>
  %t1 = nn.constant dense<0.25> : tensor<f32>
  %a = nn.gather %x, %i0 {axis = 1 : i64} : (tensor<1x2x4x4xf32>, tensor<i64>) -> tensor<1x4x4xf32>
  %a1 = nn.unsqueeze %a {axes = array<i64: 1>} : (tensor<1x4x4xf32>) -> tensor<1x1x4x4xf32>
  %a2 = nn.mul %a1, %s0 : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xf32>
  %a3 = nn.add %a2, %t0 : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xf32>
  %b = nn.gather %x, %i1 {axis = 1 : i64} : (tensor<1x2x4x4xf32>, tensor<i64>) -> tensor<1x4x4xf32>
  %b1 = nn.unsqueeze %b {axes = array<i64: 1>} : (tensor<1x4x4xf32>) -> tensor<1x1x4x4xf32>
  %b2 = nn.mul %b1, %s1 : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xf32>
  %b3 = nn.add %b2, %t1 : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xf32>
  %c = nn.concat %a3, %b3 {axis = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %c : tensor<1x2x4x4xf32>
}

// -----

// Queries of a fused projection are a slice: read in place.
// CHECK-LABEL: func @gather
func.func @gather(%x: tensor<3x?x4xf32>) -> tensor<?x4xf32> {
  // CHECK: %[[S:.*]] = nn.slice %arg0
  // CHECK: nn.squeeze %[[S]]
  // CHECK-NOT: nn.gather
  %i = nn.constant dense<1> : tensor<i64>
  %0 = nn.gather %x, %i {axis = 0 : i64} : (tensor<3x?x4xf32>, tensor<i64>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func @concat_of_split
func.func @concat_of_split(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // CHECK-NEXT: return %arg0
  %0:2 = nn.split %x {axis = 1 : i64} : (tensor<2x8xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
  %1 = nn.concat %0#0, %0#1 {axis = 1 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>
  return %1 : tensor<2x8xf32>
}

// -----

// CHECK-LABEL: func @split_of_concat
func.func @split_of_concat(%x: tensor<2x3xf32>, %y: tensor<2x5xf32>) -> (tensor<2x3xf32>, tensor<2x5xf32>) {
  // CHECK-NEXT: return %arg0, %arg1
  %0 = nn.concat %x, %y {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x5xf32>) -> tensor<2x8xf32>
  %sizes = nn.constant dense<[3, 5]> : tensor<2xi64>
  %1:2 = nn.split %0, %sizes {axis = 1 : i64} : (tensor<2x8xf32>, tensor<2xi64>) -> (tensor<2x3xf32>, tensor<2x5xf32>)
  return %1#0, %1#1 : tensor<2x3xf32>, tensor<2x5xf32>
}

// -----

// A slice of a concatenation, and one concatenation of all.
// CHECK-LABEL: func @concats
func.func @concats(%x: tensor<2x3xf32>, %y: tensor<2x5xf32>) -> (tensor<2x2xf32>, tensor<2x11xf32>) {
  // CHECK: %[[S:.*]] = nn.slice %arg1
  // CHECK: %[[C:.*]] = nn.concat %arg0, %arg1, %arg0
  // CHECK: return %[[S]], %[[C]]
  %0 = nn.concat %x, %y {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x5xf32>) -> tensor<2x8xf32>
  %start = nn.constant dense<5> : tensor<1xi64>
  %end = nn.constant dense<7> : tensor<1xi64>
  %axis = nn.constant dense<1> : tensor<1xi64>
  %1 = nn.slice %0[%start : %end axes %axis] : (tensor<2x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x2xf32>
  %2 = nn.concat %0, %x {axis = 1 : i64} : (tensor<2x8xf32>, tensor<2x3xf32>) -> tensor<2x11xf32>
  return %1, %2 : tensor<2x2xf32>, tensor<2x11xf32>
}
