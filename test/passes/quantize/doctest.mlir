// Operands go through 8-bit integers: the activation by the given parameters, the weights by a scale for each channel.
// RUN: nnopt-opt --quantize --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @conv
func.func @conv(%x: tensor<?x2x8x8xf32>) -> tensor<?x2x8x8xf32> {
  // CHECK-DAG: %[[SX:.*]] = nn.constant dense<2.500000e-01> : tensor<f32>
  // CHECK-DAG: %[[ZX:.*]] = nn.constant dense<7> : tensor<ui8>
  // CHECK: %[[Q:.*]] = nn.quantize %arg0, %[[SX]], %[[ZX]] {to = ui8} : (tensor<?x2x8x8xf32>, tensor<f32>, tensor<ui8>) -> tensor<?x2x8x8xui8>
  // CHECK: %[[X:.*]] = nn.dequantize %[[Q]], %[[SX]], %[[ZX]]
  // CHECK: %[[W:.*]] = nn.constant dense<{{\[\[\[\[}}127]], {{\[\[}}64]]], {{\[\[\[}}-127]], {{\[\[}}0]]]]> : tensor<2x2x1x1xi8>
  // CHECK: %[[SW:.*]] = nn.constant dense<{{.*}}> : tensor<2x1x1x1xf32>
  // CHECK: %[[D:.*]] = nn.dequantize %[[W]], %[[SW]]
  // CHECK: nn.conv %[[X]], %[[D]] {
  %w = nn.constant dense<[[[[1.0]], [[0.5]]], [[[-4.0]], [[0.0]]]]> : tensor<2x2x1x1xf32>
  %y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, quantize = {scale = 0.25 : f32, zero_point = 7 : i32}} : (tensor<?x2x8x8xf32>, tensor<2x2x1x1xf32>) -> tensor<?x2x8x8xf32>
  return %y : tensor<?x2x8x8xf32>
}

// -----

// The operand of max pooling is quantized too, so that integers are pooled.
// CHECK-LABEL: func.func @pool
func.func @pool(%x: tensor<1x2x8x8xf32>) -> tensor<1x2x4x4xf32> {
  // CHECK: %[[Q:.*]] = nn.quantize %arg0
  // CHECK: %[[D:.*]] = nn.dequantize %[[Q]]
  // CHECK: %[[P:.*]] = nn.max_pool %[[D]]
  // CHECK: nn.quantize %[[P]]
  %w = nn.constant dense<1.0> : tensor<2x2x1x1xf32>
  %p = nn.max_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x2x8x8xf32>) -> tensor<1x2x4x4xf32>
  %y = nn.conv %p, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64, quantize = {scale = 0.25 : f32, zero_point = 7 : i32}} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}
