// Weights that are no constant are packed by a kernel of their own, and then used like others.
// RUN: split-file %s %t
// RUN: nnopt-compile --emit=exec %t/dense.mlir | FileCheck %t/dense.mlir
// RUN: nnopt-compile --emit=exec %t/depthwise.mlir | FileCheck %t/depthwise.mlir
// RUN: nnopt-compile --emit=exec %t/grouped.mlir | FileCheck %t/grouped.mlir

//--- dense.mlir

// CHECK: launch conv_pack_weights
// CHECK: launch conv_16x16x8_24_3x3
func.func @main(%x: tensor<1x8x16x16xf32> {nn.name = "x"}, %w: tensor<24x8x3x3xf32> {nn.name = "w"})
    -> (tensor<1x24x16x16xf32> {nn.name = "y"}) {
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64}
      : (tensor<1x8x16x16xf32>, tensor<24x8x3x3xf32>) -> tensor<1x24x16x16xf32>
  return %0 : tensor<1x24x16x16xf32>
}

//--- depthwise.mlir

// CHECK: launch conv_pack_weights
// CHECK: launch conv_lanes_16x16x20
func.func @main(%x: tensor<1x20x16x16xf32> {nn.name = "x"}, %w: tensor<20x1x3x3xf32> {nn.name = "w"})
    -> (tensor<1x20x16x16xf32> {nn.name = "y"}) {
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 20 : i64}
      : (tensor<1x20x16x16xf32>, tensor<20x1x3x3xf32>) -> tensor<1x20x16x16xf32>
  return %0 : tensor<1x20x16x16xf32>
}

//--- grouped.mlir

// CHECK: launch conv_pack_weights
// CHECK: launch conv_16x16x24
func.func @main(%x: tensor<1x24x16x16xf32> {nn.name = "x"}, %w: tensor<36x12x3x3xf32> {nn.name = "w"})
    -> (tensor<1x36x16x16xf32> {nn.name = "y"}) {
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 2 : i64}
      : (tensor<1x24x16x16xf32>, tensor<36x12x3x3xf32>) -> tensor<1x36x16x16xf32>
  return %0 : tensor<1x36x16x16xf32>
}
