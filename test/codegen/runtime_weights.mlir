// Weights that are no constant are packed by a kernel of their own, and then used like others.
// RUN: nnopt-compile --emit=exec %s | FileCheck %s

// CHECK: launch conv_pack_weights
// CHECK: launch conv_16x16x8_24_3x3
func.func @main(%x: tensor<1x8x16x16xf32> {nn.name = "x"}, %w: tensor<24x8x3x3xf32> {nn.name = "w"})
    -> (tensor<1x24x16x16xf32> {nn.name = "y"}) {
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64}
      : (tensor<1x8x16x16xf32>, tensor<24x8x3x3xf32>) -> tensor<1x24x16x16xf32>
  return %0 : tensor<1x24x16x16xf32>
}
