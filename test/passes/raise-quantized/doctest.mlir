// Convolutions and matrix products of dequantized operands compute on integers.
// RUN: nnopt-opt --raise-quantized --split-input-file %s | FileCheck %s

// The scale of the result is part of the multiplication; the bias, quantized with the scales of both, joins the sum; the
// quantization clamps as relu does.
// CHECK-LABEL: func.func @conv
func.func @conv(%q: tensor<1x2x8x8xui8>) -> tensor<1x3x8x8xui8> {
  // CHECK: %[[SUM:.*]] = nn.conv %arg0, %{{.*}} bias %{{.*}} x_zero %{{.*}} {{.*}}pads = array<i64: 1, 1, 1, 1>{{.*}} : (tensor<1x2x8x8xui8>, tensor<3x2x3x3xi8>, tensor<3xi32>, tensor<ui8>) -> tensor<1x3x8x8xi32>
  // CHECK: %[[FLOAT:.*]] = nn.cast %[[SUM]] {to = f32}
  // CHECK: %[[SCALED:.*]] = nn.mul %[[FLOAT]], %{{.*}} : (tensor<1x3x8x8xf32>, tensor<3x1x1xf32>)
  // CHECK-NEXT: %[[ONE:.*]] = nn.constant dense<1.000000e+00>
  // CHECK-NEXT: nn.quantize %[[SCALED]], %[[ONE]], %{{.*}} {to = ui8}
  %sx = nn.constant dense<0.5> : tensor<f32>
  %zx = nn.constant dense<7> : tensor<ui8>
  %w = nn.constant dense<3> : tensor<3x2x3x3xi8>
  %sw = nn.constant dense<[[[[0.25]]], [[[0.5]]], [[[1.0]]]]> : tensor<3x1x1x1xf32>
  %zw = nn.constant dense<0> : tensor<3x1x1x1xi8>
  %b = nn.constant dense<[10, 20, 30]> : tensor<3xi32>
  %sb = nn.constant dense<[0.125, 0.25, 0.5]> : tensor<3xf32>
  %sy = nn.constant dense<2.0> : tensor<f32>
  %zy = nn.constant dense<0> : tensor<ui8>
  %x = nn.dequantize %q, %sx, %zx {to = f32} : (tensor<1x2x8x8xui8>, tensor<f32>, tensor<ui8>) -> tensor<1x2x8x8xf32>
  %v = nn.dequantize %w, %sw, %zw {to = f32} : (tensor<3x2x3x3xi8>, tensor<3x1x1x1xf32>, tensor<3x1x1x1xi8>) -> tensor<3x2x3x3xf32>
  %bias = nn.dequantize %b, %sb {to = f32} : (tensor<3xi32>, tensor<3xf32>) -> tensor<3xf32>
  %y = nn.conv %x, %v bias %bias {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x2x8x8xf32>, tensor<3x2x3x3xf32>, tensor<3xf32>) -> tensor<1x3x8x8xf32>
  %r = nn.relu %y : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32>
  %o = nn.quantize %r, %sy, %zy {to = ui8} : (tensor<1x3x8x8xf32>, tensor<f32>, tensor<ui8>) -> tensor<1x3x8x8xui8>
  return %o : tensor<1x3x8x8xui8>
}

// -----

// A bias in floats is added behind the multiplication; a result that is not quantized has the scales of the operands.
// CHECK-LABEL: func.func @matmul
func.func @matmul(%q: tensor<?x4xi8>, %bias: tensor<3xf32>) -> tensor<?x3xf32> {
  // CHECK: %[[SUM:.*]] = nn.matmul %arg0, %{{.*}} b_zero %{{.*}} {transpose_b} : (tensor<?x4xi8>, tensor<3x4xi8>, tensor<3xi8>) -> tensor<?x3xi32>
  // CHECK: %[[SCALED:.*]] = nn.mul {{.*}} : (tensor<?x3xf32>, tensor<f32>)
  // CHECK: nn.add %[[SCALED]], %arg1
  %sx = nn.constant dense<0.5> : tensor<f32>
  %w = nn.constant dense<3> : tensor<3x4xi8>
  %sw = nn.constant dense<0.25> : tensor<f32>
  %zw = nn.constant dense<[[1], [2], [3]]> : tensor<3x1xi8>
  %x = nn.dequantize %q, %sx {to = f32} : (tensor<?x4xi8>, tensor<f32>) -> tensor<?x4xf32>
  %v = nn.dequantize %w, %sw, %zw {to = f32} : (tensor<3x4xi8>, tensor<f32>, tensor<3x1xi8>) -> tensor<3x4xf32>
  %y = nn.matmul %x, %v bias %bias {transpose_b} : (tensor<?x4xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// Between equal parameters integers are moved, and what only goes to and fro disappears.
// CHECK-LABEL: func.func @movement
func.func @movement(%q: tensor<2x4x4x8xui8>) -> (tensor<2x8x4x4xui8>, tensor<2x4x4x8xui8>) {
  // CHECK: %[[T:.*]] = nn.transpose %arg0 {{.*}} : (tensor<2x4x4x8xui8>) -> tensor<2x8x4x4xui8>
  // CHECK: return %[[T]], %arg0
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<7> : tensor<ui8>
  %x = nn.dequantize %q, %s, %z {to = f32} : (tensor<2x4x4x8xui8>, tensor<f32>, tensor<ui8>) -> tensor<2x4x4x8xf32>
  %t = nn.transpose %x {perm = array<i64: 0, 3, 1, 2>} : (tensor<2x4x4x8xf32>) -> tensor<2x8x4x4xf32>
  %a = nn.quantize %t, %s, %z {to = ui8} : (tensor<2x8x4x4xf32>, tensor<f32>, tensor<ui8>) -> tensor<2x8x4x4xui8>
  %b = nn.quantize %x, %s, %z {to = ui8} : (tensor<2x4x4x8xf32>, tensor<f32>, tensor<ui8>) -> tensor<2x4x4x8xui8>
  return %a, %b : tensor<2x8x4x4xui8>, tensor<2x4x4x8xui8>
}

// -----

// A sum with another quantized value: its scale is in units of the result too. The clip stays: 1 is less than the largest
// number that the result holds. What is bounded so need not be clamped again.
// CHECK-LABEL: func.func @sum
func.func @sum(%q: tensor<4x4xui8>, %skip: tensor<4x3xui8>) -> tensor<4x3xui8> {
  // CHECK: %[[SUM:.*]] = nn.matmul %arg0
  // CHECK: %[[SCALE:.*]] = nn.constant dense<6.250000e-02> : tensor<f32>
  // CHECK: %[[SCALED:.*]] = nn.mul %{{.*}}, %[[SCALE]]
  // CHECK: %[[UNIT:.*]] = nn.constant dense<5.000000e-01> : tensor<f32>
  // CHECK: %[[SKIP:.*]] = nn.dequantize %arg1, %[[UNIT]], %{{.*}}
  // CHECK: %[[TOTAL:.*]] = nn.add %[[SKIP]], %[[SCALED]]
  // CHECK: %[[HIGH:.*]] = nn.constant dense<5.000000e-01>
  // CHECK: %[[CLIP:.*]] = nn.clip %[[TOTAL]], %{{.*}}, %[[HIGH]]
  // CHECK: nn.quantize %[[CLIP]]{{.*}}saturate = false
  %sx = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<7> : tensor<ui8>
  %w = nn.constant dense<3> : tensor<4x3xi8>
  %sw = nn.constant dense<0.25> : tensor<f32>
  %ss = nn.constant dense<1.0> : tensor<f32>
  %sy = nn.constant dense<2.0> : tensor<f32>
  %lo = nn.constant dense<0.0> : tensor<f32>
  %hi = nn.constant dense<1.0> : tensor<f32>
  %x = nn.dequantize %q, %sx {to = f32} : (tensor<4x4xui8>, tensor<f32>) -> tensor<4x4xf32>
  %v = nn.dequantize %w, %sw {to = f32} : (tensor<4x3xi8>, tensor<f32>) -> tensor<4x3xf32>
  %y = nn.matmul %x, %v : (tensor<4x4xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
  %r = nn.dequantize %skip, %ss, %z {to = f32} : (tensor<4x3xui8>, tensor<f32>, tensor<ui8>) -> tensor<4x3xf32>
  %t = nn.add %r, %y : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
  %c = nn.clip %t, %lo, %hi : (tensor<4x3xf32>, tensor<f32>, tensor<f32>) -> tensor<4x3xf32>
  %o = nn.quantize %c, %sy {to = ui8} : (tensor<4x3xf32>, tensor<f32>) -> tensor<4x3xui8>
  return %o : tensor<4x3xui8>
}

// -----

// Factors for the channels of the result, ahead of the quantization, are part of the multiplication, and bounds get them too:
// 6 is 12 steps of the first channel, 24 of the second, and 384 of the last, more than the result holds.
// CHECK-LABEL: func.func @channels
func.func @channels(%q: tensor<4x4xui8>) -> tensor<4x3xui8> {
  // CHECK: %[[SUM:.*]] = nn.matmul %arg0
  // CHECK: %[[SCALE:.*]] = nn.constant dense<[2.500000e-01, 5.000000e-01, 8.000000e+00]> : tensor<3xf32>
  // CHECK: %[[SCALED:.*]] = nn.mul %{{.*}}, %[[SCALE]]
  // CHECK: %[[LOW:.*]] = nn.constant dense<0.000000e+00> : tensor<f32>
  // CHECK: %[[HIGH:.*]] = nn.constant dense<[1.200000e+01, 2.400000e+01, 2.550000e+02]> : tensor<3xf32>
  // CHECK: %[[CLIP:.*]] = nn.clip %[[SCALED]], %[[LOW]], %[[HIGH]]
  // CHECK: nn.quantize %[[CLIP]]{{.*}}saturate = false
  %sx = nn.constant dense<0.5> : tensor<f32>
  %w = nn.constant dense<3> : tensor<4x3xi8>
  %sw = nn.constant dense<0.25> : tensor<f32>
  %sy = nn.constant dense<0.5> : tensor<f32>
  %lo = nn.constant dense<0.0> : tensor<f32>
  %hi = nn.constant dense<6.0> : tensor<f32>
  %f = nn.constant dense<[1.0, 2.0, 32.0]> : tensor<3xf32>
  %x = nn.dequantize %q, %sx {to = f32} : (tensor<4x4xui8>, tensor<f32>) -> tensor<4x4xf32>
  %v = nn.dequantize %w, %sw {to = f32} : (tensor<4x3xi8>, tensor<f32>) -> tensor<4x3xf32>
  %y = nn.matmul %x, %v : (tensor<4x4xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
  %c = nn.clip %y, %lo, %hi : (tensor<4x3xf32>, tensor<f32>, tensor<f32>) -> tensor<4x3xf32>
  %m = nn.mul %c, %f : (tensor<4x3xf32>, tensor<3xf32>) -> tensor<4x3xf32>
  %o = nn.quantize %m, %sy {to = ui8} : (tensor<4x3xf32>, tensor<f32>) -> tensor<4x3xui8>
  return %o : tensor<4x3xui8>
}

// -----

// A negative factor is not part of it: the lower bound would become the upper one.
// CHECK-LABEL: func.func @negative
func.func @negative(%q: tensor<4x4xui8>) -> tensor<4x3xui8> {
  // CHECK: nn.matmul %arg0
  // CHECK: nn.relu
  // CHECK: nn.mul
  // CHECK: nn.quantize
  // CHECK-NOT: saturate = false
  // CHECK: return
  %sx = nn.constant dense<0.5> : tensor<f32>
  %w = nn.constant dense<3> : tensor<4x3xi8>
  %sw = nn.constant dense<0.25> : tensor<f32>
  %sy = nn.constant dense<0.5> : tensor<f32>
  %f = nn.constant dense<[1.0, -2.0, 32.0]> : tensor<3xf32>
  %x = nn.dequantize %q, %sx {to = f32} : (tensor<4x4xui8>, tensor<f32>) -> tensor<4x4xf32>
  %v = nn.dequantize %w, %sw {to = f32} : (tensor<4x3xi8>, tensor<f32>) -> tensor<4x3xf32>
  %y = nn.matmul %x, %v : (tensor<4x4xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
  %r = nn.relu %y : (tensor<4x3xf32>) -> tensor<4x3xf32>
  %m = nn.mul %r, %f : (tensor<4x3xf32>, tensor<3xf32>) -> tensor<4x3xf32>
  %o = nn.quantize %m, %sy {to = ui8} : (tensor<4x3xf32>, tensor<f32>) -> tensor<4x3xui8>
  return %o : tensor<4x3xui8>
}

// -----

// What integers are computed from is multiplied, not divided.
// CHECK-LABEL: func.func @inverse
func.func @inverse(%f: tensor<4x4xf32>) -> tensor<4x3xf32> {
  // CHECK: %[[INVERSE:.*]] = nn.constant dense<2.000000e+00> : tensor<f32>
  // CHECK: %[[X:.*]] = nn.mul %arg0, %[[INVERSE]]
  // CHECK: nn.quantize %[[X]]
  %sx = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<7> : tensor<ui8>
  %w = nn.constant dense<3> : tensor<4x3xi8>
  %sw = nn.constant dense<0.25> : tensor<f32>
  %q = nn.quantize %f, %sx, %z {to = ui8} : (tensor<4x4xf32>, tensor<f32>, tensor<ui8>) -> tensor<4x4xui8>
  %x = nn.dequantize %q, %sx, %z {to = f32} : (tensor<4x4xui8>, tensor<f32>, tensor<ui8>) -> tensor<4x4xf32>
  %v = nn.dequantize %w, %sw {to = f32} : (tensor<4x3xi8>, tensor<f32>) -> tensor<4x3xf32>
  %y = nn.matmul %x, %v : (tensor<4x4xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
  return %y : tensor<4x3xf32>
}
