// What must stay.
// RUN: nnopt-opt %s --fold-shapes --split-input-file | FileCheck %s

// Two dimensions with different names may differ.
// CHECK-LABEL: func @different_names
// CHECK: nn.expand
func.func @different_names(%x: tensor<?x4xf32> {nn.dims = ["n", 4]}, %y: tensor<?x4xf32> {nn.dims = ["m", 4]}) -> tensor<?x4xf32> {
  %shape = nn.shape %y : (tensor<?x4xf32>) -> tensor<2xi64>
  %wide = nn.expand %x, %shape : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  return %wide : tensor<?x4xf32>
}

// -----

// As many elements, but backwards.
// CHECK-LABEL: func @reversed
// CHECK: nn.slice
func.func @reversed(%x: tensor<4xf32>) -> tensor<4xf32> {
  %start = nn.constant dense<-1> : tensor<1xi64>
  %end = nn.constant dense<-9223372036854775807> : tensor<1xi64>
  %axis = nn.constant dense<0> : tensor<1xi64>
  %step = nn.constant dense<-1> : tensor<1xi64>
  %y = nn.slice %x[%start : %end axes %axis steps %step] : (tensor<4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// The same size, but shifted by one.
// CHECK-LABEL: func @shifted
// CHECK: nn.pad
func.func @shifted(%x: tensor<4xf32>) -> tensor<4xf32> {
  %pads = nn.constant dense<[1, -1]> : tensor<2xi64>
  %y = nn.pad %x, %pads {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 0, 0>}
    : (tensor<4xf32>, tensor<2xi64>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// The condition depends on the data.
// CHECK-LABEL: func @unknown_branch
// CHECK: nn.if
func.func @unknown_branch(%x: tensor<4xf32>, %c: tensor<i1>) -> tensor<4xf32> {
  %y = nn.if %c : (tensor<i1>) -> tensor<4xf32> {
    nn.yield %x : tensor<4xf32>
  } else {
    %0 = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %0 : tensor<4xf32>
  }
  return %y : tensor<4xf32>
}

// -----

// The expansion decides the size of the result.
// CHECK-LABEL: func @expansion_counts
// CHECK: nn.expand
func.func @expansion_counts(%x: tensor<1x4xf32>, %v: tensor<1x4xf32>) -> tensor<3x4xf32> {
  %shape = nn.constant dense<[3, 4]> : tensor<2xi64>
  %wide = nn.expand %v, %shape : (tensor<1x4xf32>, tensor<2xi64>) -> tensor<3x4xf32>
  %y = nn.add %x, %wide : (tensor<1x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}
