// Concatenations along the channels: convolutions write there, and the beginning of a longer one is read there
// (ConcatPlan.cpp).
// RUN: split-file %s %t
// RUN: nnopt-compile %t/dense.mlir --passes=fuse-elementwise --emit=exec | FileCheck %s --check-prefix=DENSE
// RUN: nnopt-compile %t/dense.mlir --emit=exec --opt=0 | FileCheck %s --check-prefix=APART
// RUN: nnopt-compile %t/branches.mlir --passes=fuse-elementwise --emit=exec | FileCheck %s --check-prefix=BRANCHES

// The input is copied once; nothing else is.
// DENSE-COUNT-1: launch concat
// DENSE-NOT: launch concat
// APART-COUNT-5: launch concat
// A convolution reads the first branch as a dense array, so it is copied; both parts in one launch are one.
// BRANCHES-COUNT-1: launch concat
// BRANCHES-NOT: launch concat

//--- dense.mlir
func.func @main(%x: tensor<1x6x6x16xf32>) -> tensor<1x6x6x48xf32> {
  %v = nn.constant dense<0.5> : tensor<16x16x1x1xf32>
  %w = nn.constant dense<0.5> : tensor<16x32x1x1xf32>
  %a = nn.conv %x, %v {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x6x6x16xf32>, tensor<16x16x1x1xf32>) -> tensor<1x6x6x16xf32>
  %b = nn.concat %x, %a {axis = 3 : i64} : (tensor<1x6x6x16xf32>, tensor<1x6x6x16xf32>) -> tensor<1x6x6x32xf32>
  %c = nn.relu %b : (tensor<1x6x6x32xf32>) -> tensor<1x6x6x32xf32>
  %d = nn.conv %c, %w {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x6x6x32xf32>, tensor<16x32x1x1xf32>) -> tensor<1x6x6x16xf32>
  %e = nn.concat %x, %a, %d {axis = 3 : i64} : (tensor<1x6x6x16xf32>, tensor<1x6x6x16xf32>, tensor<1x6x6x16xf32>) -> tensor<1x6x6x48xf32>
  %f = nn.relu %e : (tensor<1x6x6x48xf32>) -> tensor<1x6x6x48xf32>
  return %f : tensor<1x6x6x48xf32>
}

//--- branches.mlir
func.func @main(%x: tensor<1x6x6x16xf32>) -> tensor<1x6x6x32xf32> {
  %v = nn.constant dense<0.5> : tensor<16x16x1x1xf32>
  %a = nn.conv %x, %v {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x6x6x16xf32>, tensor<16x16x1x1xf32>) -> tensor<1x6x6x16xf32>
  %b = nn.conv %a, %v {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x6x6x16xf32>, tensor<16x16x1x1xf32>) -> tensor<1x6x6x16xf32>
  %c = nn.concat %a, %b {axis = 3 : i64} : (tensor<1x6x6x16xf32>, tensor<1x6x6x16xf32>) -> tensor<1x6x6x32xf32>
  %d = nn.relu %c : (tensor<1x6x6x32xf32>) -> tensor<1x6x6x32xf32>
  return %d : tensor<1x6x6x32xf32>
}
