// An operation says which kernel computes it: tuning writes this attribute. What does not fit is as if it were not there.
// RUN: nnopt-compile --emit=exec %s | FileCheck %s

// 5 rows of one vector: 52 tiles times 2 panels.
// CHECK: launch conv_16x16x16_24_3x3({{.*}} tasks 104
// Winograd F(2x2, 3x3) by request.
// CHECK: launch conv_winograd2_
// 40 rows of 4 vectors are more than there are registers, and there is no such emitter.
// CHECK: launch conv_16x16x16_32_1x1
func.func @main(%x: tensor<1x16x16x16xf32> {nn.name = "x"}) -> (tensor<1x32x16x16xf32> {nn.name = "y"}) {
  %w = nn.constant dense<0.5> : tensor<24x16x3x3xf32>
  %v = nn.constant dense<0.25> : tensor<16x24x3x3xf32>
  %u = nn.constant dense<0.25> : tensor<32x16x1x1xf32>
  %0 = nn.conv %x, %w {nn.kernel = {emitter = "conv-tiled", mr = 5 : i64, nv = 1 : i64}, strides = array<i64: 1, 1>,
      pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64}
      : (tensor<1x16x16x16xf32>, tensor<24x16x3x3xf32>) -> tensor<1x24x16x16xf32>
  %1 = nn.conv %0, %v {nn.kernel = {emitter = "conv-winograd", out_tile = 2 : i64}, strides = array<i64: 1, 1>,
      pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64}
      : (tensor<1x24x16x16xf32>, tensor<16x24x3x3xf32>) -> tensor<1x16x16x16xf32>
  %2 = nn.conv %1, %u {nn.kernel = {emitter = "conv-by-hand", mr = 40 : i64, nv = 4 : i64}, strides = array<i64: 1, 1>,
      pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64}
      : (tensor<1x16x16x16xf32>, tensor<32x16x1x1xf32>) -> tensor<1x32x16x16xf32>
  return %2 : tensor<1x32x16x16xf32>
}
