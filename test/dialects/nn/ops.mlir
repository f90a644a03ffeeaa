// Every kind of syntax survives a round trip, in text and in bytecode.
// RUN: nnopt-opt %s | nnopt-opt | FileCheck %s
// RUN: nnopt-opt %s --emit-bytecode | nnopt-opt | FileCheck %s
// RUN: nnopt-opt %s --mlir-print-op-generic | nnopt-opt | FileCheck %s

// CHECK-LABEL: func @elementwise
func.func @elementwise(%a: tensor<?x4xf32>, %b: tensor<4xf32>, %lo: tensor<f32>, %m: tensor<4xi1>) -> tensor<?x4xui8> {
  // CHECK: nn.add %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %0 = nn.add %a, %b : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  // CHECK: nn.gelu %{{.*}} {tanh} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = nn.gelu %0 {tanh} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: nn.clip
  %2 = nn.clip %1, %lo, %lo : (tensor<?x4xf32>, tensor<f32>, tensor<f32>) -> tensor<?x4xf32>
  // CHECK: nn.where
  %3 = nn.where %m, %2, %0 : (tensor<4xi1>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: nn.cast %{{.*}} {to = ui8} : (tensor<?x4xf32>) -> tensor<?x4xui8>
  %4 = nn.cast %3 {to = ui8} : (tensor<?x4xf32>) -> tensor<?x4xui8>
  return %4 : tensor<?x4xui8>
}

// CHECK-LABEL: func @map
func.func @map(%a: tensor<?x4xf32>, %b: tensor<4xui8>, %c: tensor<3x1x1xf32>) -> (tensor<3x?x4xf32>, tensor<3x?x4xui8>) {
  // CHECK: nn.map(%{{.*}}, %{{.*}}) shape_like(%{{.*}}) : (tensor<?x4xf32>, tensor<4xui8>, tensor<3x1x1xf32>) -> (tensor<3x?x4xf32>, tensor<3x?x4xui8>) {
  // CHECK-NEXT: ^bb0(%[[X:.*]]: f32, %[[Y:.*]]: i8):
  // CHECK: nn.yield %{{.*}}, %[[Y]] : f32, i8
  %0:2 = nn.map(%a, %b) shape_like(%c) : (tensor<?x4xf32>, tensor<4xui8>, tensor<3x1x1xf32>) -> (tensor<3x?x4xf32>, tensor<3x?x4xui8>) {
  ^bb0(%x: f32, %y: i8):
    %s = arith.addf %x, %x : f32
    nn.yield %s, %y : f32, i8
  }
  return %0#0, %0#1 : tensor<3x?x4xf32>, tensor<3x?x4xui8>
}

// CHECK-LABEL: func @constants
func.func @constants() -> (tensor<3xi64>, tensor<2xf16>) {
  // CHECK: nn.constant dense<[1, -2, 3]> : tensor<3xi64>
  %0 = nn.constant dense<[1, -2, 3]> : tensor<3xi64>
  // CHECK: nn.constant dense_resource<weights> : tensor<2xf16>
  %1 = nn.constant dense_resource<weights> : tensor<2xf16>
  return %0, %1 : tensor<3xi64>, tensor<2xf16>
}

// CHECK-LABEL: func @movement
func.func @movement(%x: tensor<2x3x4xf32>, %i: tensor<1xi64>) -> tensor<?x?x?xf32> {
  // CHECK: nn.transpose %{{.*}} {perm = array<i64: 2, 0, 1>}
  %0 = nn.transpose %x {perm = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  // CHECK: nn.slice %{{.*}}[%{{.*}} : %{{.*}} axes %{{.*}}] : (tensor<4x2x3xf32>
  %1 = nn.slice %0[%i : %i axes %i] : (tensor<4x2x3xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x?xf32>
  // CHECK: nn.pad %{{.*}} {mode = #nn.pad_mode<reflect>, operandSegmentSizes = array<i32: 1, 1, 0, 1>}
  %2 = nn.pad %1, %i, %i {mode = #nn.pad_mode<reflect>, operandSegmentSizes = array<i32: 1, 1, 0, 1>} : (tensor<?x?x?xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x?xf32>
  // CHECK: nn.reduce %{{.*}} {axes = array<i64: 1>, keep_dims = true, kind = #nn.reduce_kind<log_sum_exp>}
  %3 = nn.reduce %2 {axes = array<i64: 1>, keep_dims = true, kind = #nn.reduce_kind<log_sum_exp>} : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  return %3 : tensor<?x?x?xf32>
}

// CHECK-LABEL: func @contractions
func.func @contractions(%x: tensor<1x8x9x9xf32>, %w: tensor<16x4x3x3xf32>, %b: tensor<16xf32>, %r: tensor<1x16x7x7xf32>) -> tensor<1x16x7x7xf32> {
  // CHECK: nn.conv %{{.*}}, %{{.*}} bias %{{.*}} epilogue(%{{.*}}) {
  // CHECK-SAME: group = 2
  // CHECK: ^bb0(%{{.*}}: f32, %{{.*}}: f32):
  %0 = nn.conv %x, %w bias %b epilogue(%r) {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 2 : i64} : (tensor<1x8x9x9xf32>, tensor<16x4x3x3xf32>, tensor<16xf32>, tensor<1x16x7x7xf32>) -> tensor<1x16x7x7xf32> {
  ^bb0(%acc: f32, %res: f32):
    %s = arith.addf %acc, %res : f32
    nn.yield %s : f32
  }
  // CHECK: nn.matmul %{{.*}}, %{{.*}} {transpose_b} : (tensor<1x16x7x7xf32>, tensor<1x16x7x7xf32>) -> tensor<1x16x7x7xf32>
  %1 = nn.matmul %0, %0 {transpose_b} : (tensor<1x16x7x7xf32>, tensor<1x16x7x7xf32>) -> tensor<1x16x7x7xf32>
  return %1 : tensor<1x16x7x7xf32>
}

// CHECK-LABEL: func @integers
func.func @integers(%x: tensor<1x8x9x9xui8>, %w: tensor<4x8x3x3xi8>, %xz: tensor<ui8>, %wz: tensor<4xi8>, %s: tensor<f32>, %q: tensor<3x4xi4>) -> (tensor<1x4x7x7xf32>, tensor<3x4xi2>, tensor<4x4xi32>) {
  // CHECK: nn.conv %{{.*}}, %{{.*}} x_zero %{{.*}} w_zero %{{.*}} {
  %0 = nn.conv %x, %w x_zero %xz w_zero %wz {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x8x9x9xui8>, tensor<4x8x3x3xi8>, tensor<ui8>, tensor<4xi8>) -> tensor<1x4x7x7xi32>
  // CHECK: nn.dequantize %{{.*}}, %{{.*}} {to = f32} : (tensor<1x4x7x7xi32>, tensor<f32>) -> tensor<1x4x7x7xf32>
  %1 = nn.dequantize %0, %s {to = f32} : (tensor<1x4x7x7xi32>, tensor<f32>) -> tensor<1x4x7x7xf32>
  // CHECK: nn.cast %{{.*}} {round_mode = #nn.round_mode<nearest>, to = f8E8M0FNU}
  %2 = nn.cast %q {to = f8E8M0FNU, round_mode = #nn.round_mode<nearest>} : (tensor<3x4xi4>) -> tensor<3x4xf8E8M0FNU>
  // CHECK: nn.quantize %{{.*}}, %{{.*}} {precision = f16, to = i2}
  %3 = nn.quantize %2, %s {to = i2, precision = f16} : (tensor<3x4xf8E8M0FNU>, tensor<f32>) -> tensor<3x4xi2>
  // CHECK: nn.constant dense<[-8, 7]> : tensor<2xi4>
  %4 = nn.constant dense<[-8, 7]> : tensor<2xi4>
  // CHECK: nn.matmul %{{.*}}, %{{.*}} a_zero %{{.*}} {transpose_a}
  %z = nn.constant dense<-1> : tensor<i4>
  %5 = nn.matmul %q, %q a_zero %z {transpose_a} : (tensor<3x4xi4>, tensor<3x4xi4>, tensor<i4>) -> tensor<4x4xi32>
  return %1, %3, %5 : tensor<1x4x7x7xf32>, tensor<3x4xi2>, tensor<4x4xi32>
}

// CHECK-LABEL: func @control_flow
func.func @control_flow(%p: tensor<i1>, %n: tensor<i64>, %x: tensor<4xf32>) -> (tensor<4xf32>, tensor<?x4xf32>) {
  // CHECK: nn.if %{{.*}} : (tensor<i1>) -> tensor<4xf32> {
  // CHECK: } else {
  %0 = nn.if %p : (tensor<i1>) -> tensor<4xf32> {
    %a = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %a : tensor<4xf32>
  } else {
    nn.yield %x : tensor<4xf32>
  }
  // CHECK: nn.loop trip %{{.*}} while %{{.*}} carried(%{{.*}})
  // CHECK: ^bb0(%{{.*}}: tensor<i64>, %{{.*}}: tensor<i1>, %{{.*}}: tensor<4xf32>):
  %1:2 = nn.loop trip %n while %p carried(%0) : (tensor<i64>, tensor<i1>, tensor<4xf32>) -> (tensor<4xf32>, tensor<?x4xf32>) {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %v: tensor<4xf32>):
    %d = nn.add %v, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    nn.yield %c, %d, %d : tensor<i1>, tensor<4xf32>, tensor<4xf32>
  }
  return %1#0, %1#1 : tensor<4xf32>, tensor<?x4xf32>
}

// CHECK-LABEL: func @moe
func.func @moe(%x: tensor<2x?x8xf32>, %score: tensor<2x?x4xf32>, %w1: tensor<4x16x8xf32>, %b1: tensor<4x16xf32>, %w2: tensor<4x5x16xf32>, %b: tensor<5xf32>) -> tensor<2x?x5xf32> {
  // CHECK: nn.moe %{{.*}} score %{{.*}} w1 %{{.*}} bias1 %{{.*}} w3 %{{.*}} bias3 %{{.*}} w2 %{{.*}} bias %{{.*}} : (tensor<2x?x8xf32>
  // CHECK: ^bb0(%{{.*}}: f32, %{{.*}}: f32):
  %0 = nn.moe %x score %score w1 %w1 bias1 %b1 w3 %w1 bias3 %b1 w2 %w2 bias %b : (tensor<2x?x8xf32>, tensor<4x16x8xf32>, tensor<4x16xf32>, tensor<4x16x8xf32>, tensor<4x16xf32>, tensor<4x5x16xf32>, tensor<5xf32>, tensor<2x?x4xf32>) -> tensor<2x?x5xf32> {
  ^bb0(%h: f32, %g: f32):
    %u = arith.mulf %h, %g : f32
    nn.yield %u : f32
  }
  // CHECK: nn.moe %{{.*}} score %{{.*}} w1 %{{.*}} w2 %{{.*}} : (tensor<2x?x8xf32>, tensor<4x16x8xf32>, tensor<4x5x16xf32>, tensor<2x?x4xf32>) -> tensor<2x?x5xf32>
  %1 = nn.moe %x score %score w1 %w1 w2 %w2 : (tensor<2x?x8xf32>, tensor<4x16x8xf32>, tensor<4x5x16xf32>, tensor<2x?x4xf32>) -> tensor<2x?x5xf32> {
  ^bb0(%h: f32):
    nn.yield %h : f32
  }
  %2 = nn.add %0, %1 : (tensor<2x?x5xf32>, tensor<2x?x5xf32>) -> tensor<2x?x5xf32>
  return %2 : tensor<2x?x5xf32>
}

{-#
  dialect_resources: {
    builtin: {
      // CHECK: weights: "0x02000000003C00C0"
      weights: "0x02000000003C00C0"
    }
  }
#-}
