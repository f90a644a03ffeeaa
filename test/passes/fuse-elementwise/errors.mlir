// What stays apart.
// RUN: nnopt-opt %s --fuse-elementwise=max-inputs=2 --split-input-file | FileCheck %s

// The exponential of 4 elements would be computed for each of n rows.
// CHECK-LABEL: func @broadcast
// CHECK: nn.exp
// CHECK: nn.add
func.func @broadcast(%x: tensor<?x4xf32>, %v: tensor<4xf32>) -> tensor<?x4xf32> {
  %0 = nn.exp %v : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.add %x, %0 : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %1 : tensor<?x4xf32>
}

// -----

// The exponential is needed outside.
// CHECK-LABEL: func @outside
// CHECK: nn.exp
// CHECK: nn.relu
func.func @outside(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.relu %0 : (tensor<4xf32>) -> tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// A third input is one too many.
// CHECK-LABEL: func @inputs
// CHECK: nn.add %arg0, %arg1
// CHECK: nn.add %{{.*}}, %arg2
func.func @inputs(%a: tensor<4xf32>, %b: tensor<4xf32>, %c: tensor<4xf32>) -> tensor<4xf32> {
  %0 = nn.add %a, %b : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.add %0, %c : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}
