// A convolution and the depthwise one that reads it are one launch (ConvDepthwise.cpp).
// RUN: split-file %s %t
// RUN: nnopt-compile %t/pair.mlir --passes=fuse-elementwise --emit=exec | FileCheck %s --check-prefix=PAIR
// RUN: nnopt-compile %t/read.mlir --passes=fuse-elementwise --emit=exec | FileCheck %s --check-prefix=APART
// RUN: nnopt-compile %t/later.mlir --passes=fuse-elementwise --emit=exec | FileCheck %s --check-prefix=APART
// RUN: nnopt-compile %t/sizes.mlir --passes=fuse-elementwise --emit=exec | FileCheck %s --check-prefix=APART
// RUN: nnopt-compile %t/kernel.mlir --passes=fuse-elementwise --emit=exec | FileCheck %s --check-prefix=APART

// PAIR: launch conv_8x8x16_48_1x1_lanes_8x8x48_48_3x3g48
// PAIR-NOT: launch conv
// Another reader of the values between, an operand that is computed behind them, an image of unknown size, a kernel by
// request: two launches.
// APART: launch conv_{{.*}}x16_48_1x1(
// APART: launch conv_lanes_{{.*}}x48_48_3x3g48(

//--- pair.mlir
func.func @main(%x: tensor<?x8x8x16xf32> {nn.dims = ["n", 8, 8, 16]}) -> tensor<?x8x8x48xf32> {
  %v = nn.constant dense<0.5> : tensor<48x16x1x1xf32>
  %w = nn.constant dense<0.5> : tensor<48x1x3x3xf32>
  %a = nn.conv %x, %v {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<?x8x8x16xf32>, tensor<48x16x1x1xf32>) -> tensor<?x8x8x48xf32>
  %b = nn.conv %a, %w {channels_last, dilations = array<i64: 1, 1>, group = 48 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<?x8x8x48xf32>, tensor<48x1x3x3xf32>) -> tensor<?x8x8x48xf32>
  return %b : tensor<?x8x8x48xf32>
}

//--- read.mlir
func.func @main(%x: tensor<1x8x8x16xf32>) -> (tensor<1x8x8x48xf32>, tensor<1x8x8x48xf32>) {
  %v = nn.constant dense<0.5> : tensor<48x16x1x1xf32>
  %w = nn.constant dense<0.5> : tensor<48x1x3x3xf32>
  %a = nn.conv %x, %v {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x8x8x16xf32>, tensor<48x16x1x1xf32>) -> tensor<1x8x8x48xf32>
  %b = nn.conv %a, %w {channels_last, dilations = array<i64: 1, 1>, group = 48 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x8x8x48xf32>, tensor<48x1x3x3xf32>) -> tensor<1x8x8x48xf32>
  return %a, %b : tensor<1x8x8x48xf32>, tensor<1x8x8x48xf32>
}

//--- later.mlir
func.func @main(%x: tensor<1x8x8x16xf32>, %y: tensor<48xf32>) -> tensor<1x8x8x48xf32> {
  %v = nn.constant dense<0.5> : tensor<48x16x1x1xf32>
  %w = nn.constant dense<0.5> : tensor<48x1x3x3xf32>
  %a = nn.conv %x, %v {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x8x8x16xf32>, tensor<48x16x1x1xf32>) -> tensor<1x8x8x48xf32>
  %c = nn.relu %y : (tensor<48xf32>) -> tensor<48xf32>
  %b = nn.conv %a, %w bias %c {channels_last, dilations = array<i64: 1, 1>, group = 48 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x8x8x48xf32>, tensor<48x1x3x3xf32>, tensor<48xf32>) -> tensor<1x8x8x48xf32>
  return %b : tensor<1x8x8x48xf32>
}

//--- sizes.mlir
func.func @main(%x: tensor<1x?x8x16xf32> {nn.dims = [1, "h", 8, 16]}) -> tensor<1x?x8x48xf32> {
  %v = nn.constant dense<0.5> : tensor<48x16x1x1xf32>
  %w = nn.constant dense<0.5> : tensor<48x1x3x3xf32>
  %a = nn.conv %x, %v {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x?x8x16xf32>, tensor<48x16x1x1xf32>) -> tensor<1x?x8x48xf32>
  %b = nn.conv %a, %w {channels_last, dilations = array<i64: 1, 1>, group = 48 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x?x8x48xf32>, tensor<48x1x3x3xf32>) -> tensor<1x?x8x48xf32>
  return %b : tensor<1x?x8x48xf32>
}

//--- kernel.mlir
func.func @main(%x: tensor<1x8x8x16xf32>) -> tensor<1x8x8x48xf32> {
  %v = nn.constant dense<0.5> : tensor<48x16x1x1xf32>
  %w = nn.constant dense<0.5> : tensor<48x1x3x3xf32>
  %a = nn.conv %x, %v {channels_last, nn.kernel = {emitter = "conv-tiled"}, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x8x8x16xf32>, tensor<48x16x1x1xf32>) -> tensor<1x8x8x48xf32>
  %b = nn.conv %a, %w {channels_last, dilations = array<i64: 1, 1>, group = 48 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x8x8x48xf32>, tensor<48x1x3x3xf32>) -> tensor<1x8x8x48xf32>
  return %b : tensor<1x8x8x48xf32>
}
