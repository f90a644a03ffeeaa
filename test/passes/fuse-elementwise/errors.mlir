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

// -----

// A product with weights in fewer bits reads rows of bytes as they are.
// CHECK-LABEL: func @byte_rows
// CHECK: nn.quantize
// CHECK: nn.dequantize %{{.*}} : (tensor<?x8xi8>
// CHECK: nn.matmul
func.func @byte_rows(%x: tensor<?x8xf32>, %s: tensor<?x1xf32>) -> tensor<?x2xf32> {
  %q = nn.quantize %x, %s {to = i8} : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xi8>
  %r = nn.dequantize %q, %s {to = f32} : (tensor<?x8xi8>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %wq = nn.constant dense<1> : tensor<8x2xi8>
  %ws = nn.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %w = nn.dequantize %wq, %ws {to = f32} : (tensor<8x2xi8>, tensor<2xf32>) -> tensor<8x2xf32>
  %y = nn.matmul %r, %w : (tensor<?x8xf32>, tensor<8x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
