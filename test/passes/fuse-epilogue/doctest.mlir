// Activation and residual addition of a convolution are computed before its result is stored.
// RUN: nnopt-opt %s --fuse-epilogue --split-input-file | FileCheck %s

// CHECK-LABEL: func @residual
func.func @residual(%x: tensor<?x8x8x4xf32> {nn.dims = ["n", 8, 8, 4]}) -> tensor<?x8x8x4xf32> {
  // CHECK: %[[Y:.*]] = nn.conv %arg0, %{{.*}} epilogue(%arg0) {{.*}} {
  // CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32, %[[R:.*]]: f32):
  // CHECK-NEXT: %[[S:.*]] = arith.addf %[[ACC]], %[[R]]
  // CHECK: nn.yield
  // CHECK: return %[[Y]]
  %w = nn.constant dense<1.0> : tensor<4x4x1x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>,
    group = 1 : i64, channels_last} : (tensor<?x8x8x4xf32>, tensor<4x4x1x1xf32>) -> tensor<?x8x8x4xf32>
  %1 = nn.add %0, %x : (tensor<?x8x8x4xf32>, tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  %2 = nn.relu %1 : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>
  return %2 : tensor<?x8x8x4xf32>
}

// -----

// The result is used twice inside of the cluster, and numbers become part of the code.
// CHECK-LABEL: func @diamond
func.func @diamond(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>, %v: tensor<4xf32>) -> tensor<4x4xf32> {
  // CHECK: %[[Y:.*]] = nn.matmul %arg0, %arg1 epilogue(%arg2) {{.*}} {
  // CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32, %[[V:.*]]: f32):
  // CHECK: arith.mulf %[[ACC]]
  // CHECK: arith.mulf %{{.*}}, %[[V]]
  // CHECK: return %[[Y]]
  %two = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.matmul %x, %w : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.sigmoid %0 : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %2 = nn.mul %0, %1 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %3 = nn.mul %2, %v : (tensor<4x4xf32>, tensor<4xf32>) -> tensor<4x4xf32>
  %4 = nn.add %3, %two : (tensor<4x4xf32>, tensor<f32>) -> tensor<4x4xf32>
  return %4 : tensor<4x4xf32>
}

// -----

// Of two contractions that feed an addition the later one takes it.
// CHECK-LABEL: func @later
func.func @later(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // CHECK: %[[A:.*]] = nn.matmul %arg0, %arg1 :
  // CHECK: %[[B:.*]] = nn.matmul %arg1, %arg0 epilogue(%[[A]])
  // CHECK: return %[[B]]
  %0 = nn.matmul %x, %w : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.matmul %w, %x : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %2 = nn.add %0, %1 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %2 : tensor<4x4xf32>
}

// -----

// Integers: the accumulators are scaled, rounded and stored as bytes.
// CHECK-LABEL: func @requantize
func.func @requantize(%x: tensor<4x4xui8>, %w: tensor<4x4xi8>, %s: tensor<4xf32>, %z: tensor<ui8>) -> tensor<4x4xui8> {
  // CHECK: %[[Y:.*]] = nn.matmul %arg0, %arg1 a_zero %arg3 epilogue(%arg2, %arg3) : {{.*}} -> tensor<4x4xui8> {
  // CHECK-NEXT: ^bb0(%[[ACC:.*]]: i32, %[[S:.*]]: f32, %{{.*}}: i8):
  // CHECK-NEXT: %[[F:.*]] = arith.sitofp %[[ACC]] : i32 to f32
  // CHECK-NEXT: arith.mulf %[[F]], %[[S]]
  // CHECK: arith.trunci %{{.*}} : i32 to i8
  // CHECK: nn.yield %{{.*}} : i8
  // CHECK: return %[[Y]]
  %one = nn.constant dense<1.0> : tensor<f32>
  %0 = nn.matmul %x, %w a_zero %z : (tensor<4x4xui8>, tensor<4x4xi8>, tensor<ui8>) -> tensor<4x4xi32>
  %1 = nn.cast %0 {to = f32} : (tensor<4x4xi32>) -> tensor<4x4xf32>
  %2 = nn.mul %1, %s : (tensor<4x4xf32>, tensor<4xf32>) -> tensor<4x4xf32>
  %3 = nn.quantize %2, %one, %z {to = ui8} : (tensor<4x4xf32>, tensor<f32>, tensor<ui8>) -> tensor<4x4xui8>
  return %3 : tensor<4x4xui8>
}

// -----

// A residual sum that the next skip reads, and its normalization for the next layer: two results.
// CHECK-LABEL: func @second_result
func.func @second_result(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>, %skip: tensor<4x4xf32>, %scale: tensor<4xf32>)
    -> (tensor<4x4xf32>, tensor<4x4xf32>) {
  // CHECK: %[[SUM:.*]], %[[NORMAL:.*]] = nn.matmul %arg0, %arg1 epilogue(%arg2, %arg3) {{.*}} -> (tensor<4x4xf32>, tensor<4x4xf32>) {
  // CHECK: %[[S:.*]] = arith.addf
  // CHECK: %[[N:.*]] = arith.mulf %[[S]]
  // CHECK: %[[R:.*]] = arith.select {{.*}}, %[[N]]
  // CHECK: nn.yield %[[S]], %[[R]] : f32, f32
  // CHECK: return %[[SUM]], %[[NORMAL]]
  %0 = nn.matmul %x, %w : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.add %0, %skip : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %2 = nn.mul %1, %scale : (tensor<4x4xf32>, tensor<4xf32>) -> tensor<4x4xf32>
  %3 = nn.relu %2 : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %1, %3 : tensor<4x4xf32>, tensor<4x4xf32>
}

// -----

// A quantized residual is read as bytes, and dequantized in registers; so may a product of floats end in bytes.
// CHECK-LABEL: func @quantized_residual
func.func @quantized_residual(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>, %skip: tensor<4x4xui8>) -> tensor<4x4xui8> {
  // CHECK: %[[Y:.*]] = nn.matmul %arg0, %arg1 epilogue(%arg2) : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xui8>) -> tensor<4x4xui8> {
  // CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32, %[[Q:.*]]: i8):
  // CHECK: arith.extui %[[Q]] : i8 to i32
  // CHECK: arith.addf %[[ACC]]
  // CHECK: nn.yield %{{.*}} : i8
  // CHECK: return %[[Y]]
  %scale = nn.constant dense<0.5> : tensor<f32>
  %zero = nn.constant dense<7> : tensor<ui8>
  %s = nn.dequantize %skip, %scale, %zero {to = f32} : (tensor<4x4xui8>, tensor<f32>, tensor<ui8>) -> tensor<4x4xf32>
  %0 = nn.matmul %x, %w : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.add %0, %s : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %2 = nn.quantize %1, %scale, %zero {to = ui8} : (tensor<4x4xf32>, tensor<f32>, tensor<ui8>) -> tensor<4x4xui8>
  return %2 : tensor<4x4xui8>
}
