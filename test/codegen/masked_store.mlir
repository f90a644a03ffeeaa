// A single lane at the end of a row is stored as one byte, though LLVM 22 turns a masked store of truncated lanes with
// one lane into four bytes: 17 channels of bytes are 16 and one.
// RUN: nnopt-compile %s --quiet --emit=llvm --target=x86-64-v4 | FileCheck %s

// CHECK-LABEL: define internal {{.*}}@conv_lanes_5x5x17_17_3x3g17
// CHECK-NOT: @llvm.masked.store
// CHECK: store i8
func.func @main(%x: tensor<1x5x5x17xui8>) -> tensor<1x5x5x17xui8> {
  %w = nn.constant dense<5> : tensor<17x1x3x3xi8>
  %y = nn.conv %x, %w {channels_last, dilations = array<i64: 1, 1>, group = 17 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x5x5x17xui8>, tensor<17x1x3x3xi8>) -> tensor<1x5x5x17xui8> {
  ^bb0(%acc: i32):
    %b = arith.trunci %acc : i32 to i8
    nn.yield %b : i8
  }
  return %y : tensor<1x5x5x17xui8>
}
