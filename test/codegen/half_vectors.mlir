// 24 columns are a vector and a half: three halves, where those cost half as much.
// RUN: nnopt-compile %s --quiet --passes=fuse-elementwise --emit=llvm --target=znver4 | FileCheck %s --check-prefix=HALF
// RUN: nnopt-compile %s --quiet --passes=fuse-elementwise --emit=llvm --target=sapphirerapids | FileCheck %s --check-prefix=WHOLE
// RUN: nnopt-compile %s --quiet --passes=fuse-elementwise --emit=llvm --target=haswell | FileCheck %s --check-prefix=AVX2

// HALF-LABEL: @conv_16x16x16_24_1x1.body
// HALF-NOT: <16 x float>
// HALF: <8 x float>
// HALF-LABEL: @conv_16x16x24_32_1x1.body
// HALF-NOT: <8 x float>
// HALF: <16 x float>
// WHOLE-NOT: <8 x float>
// AVX2-NOT: <4 x float>
func.func @main(%x: tensor<1x16x16x16xf32>) -> tensor<1x16x16x32xf32> {
  %v = nn.constant dense<0.5> : tensor<24x16x1x1xf32>
  %w = nn.constant dense<0.25> : tensor<32x24x1x1xf32>
  %0 = nn.conv %x, %v {channels_last, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x16x16x16xf32>, tensor<24x16x1x1xf32>) -> tensor<1x16x16x24xf32>
  %1 = nn.conv %0, %w {channels_last, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x16x16x24xf32>, tensor<32x24x1x1xf32>) -> tensor<1x16x16x32xf32>
  return %1 : tensor<1x16x16x32xf32>
}
