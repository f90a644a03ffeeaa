// Elementwise operations of equal dimensions become one nn.map; a number becomes part of its code.
// RUN: nnopt-opt %s --fuse-elementwise --split-input-file | FileCheck %s

// CHECK-LABEL: func @chain
func.func @chain(%x: tensor<?x4xf32> {nn.dims = ["n", 4]}, %v: tensor<4xf32>) -> tensor<?x4xf32> {
  // CHECK: %[[Y:.*]] = nn.map(%arg0, %arg1) {{.*}} -> tensor<?x4xf32> {
  // CHECK-NEXT: ^bb0(%[[X:.*]]: f32, %[[V:.*]]: f32):
  // CHECK-NEXT: %[[E:.*]] = math.exp %[[X]]
  // CHECK-NEXT: %[[P:.*]] = arith.mulf %[[E]], %[[V]]
  // CHECK-NEXT: %[[TWO:.*]] = arith.constant 2.000000e+00
  // CHECK-NEXT: arith.addf %[[P]], %[[TWO]]
  // CHECK: nn.yield
  // CHECK: return %[[Y]]
  %two = nn.constant dense<2.0> : tensor<1xf32>
  %0 = nn.exp %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = nn.mul %0, %v : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %2 = nn.add %1, %two : (tensor<?x4xf32>, tensor<1xf32>) -> tensor<?x4xf32>
  return %2 : tensor<?x4xf32>
}

// -----

// A number of higher rank gave the result its rank: it stays as an operand of the shape.
// CHECK-LABEL: func @rank
func.func @rank(%x: tensor<4xf32>) -> tensor<1x4xf32> {
  // CHECK: nn.map(%arg0) shape_like(%{{.*}}) {{.*}} -> tensor<1x4xf32>
  %two = nn.constant dense<2.0> : tensor<1x1xf32>
  %0 = nn.add %x, %two : (tensor<4xf32>, tensor<1x1xf32>) -> tensor<1x4xf32>
  %1 = nn.relu %0 : (tensor<1x4xf32>) -> tensor<1x4xf32>
  return %1 : tensor<1x4xf32>
}

// -----

// Two users of one cast each compute it themselves.
// CHECK-LABEL: func @cheap
func.func @cheap(%x: tensor<4xi8>) -> (tensor<4xf32>, tensor<4xf32>) {
  // CHECK-NOT: nn.cast
  // CHECK: nn.map(%arg0)
  // CHECK: nn.map(%arg0)
  %0 = nn.cast %x {to = f32} : (tensor<4xi8>) -> tensor<4xf32>
  %1 = nn.exp %0 : (tensor<4xf32>) -> tensor<4xf32>
  %2 = nn.relu %0 : (tensor<4xf32>) -> tensor<4xf32>
  return %1, %2 : tensor<4xf32>, tensor<4xf32>
}
