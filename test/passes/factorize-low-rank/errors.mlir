// What stays one operation, and why. (Weights of full rank are too large to be written here: test/passes/numeric_cleanup.py.)
// RUN: nnopt-opt %s --factorize-low-rank --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// CHECK-LABEL: func.func @few
// CHECK-COUNT-1: nn.matmul
// CHECK-NOT: nn.matmul
func.func @few(%x: tensor<?x32xf32>) -> tensor<?x64xf32> {
  %w = nn.constant dense<0.5> : tensor<32x64xf32>
  // expected-remark @+1 {{its weights are few}}
  %y = nn.matmul %x, %w : (tensor<?x32xf32>, tensor<32x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK-LABEL: func.func @zeros
// CHECK-COUNT-1: nn.matmul
func.func @zeros(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = nn.constant dense<0.0> : tensor<64x64xf32>
  // expected-remark @+1 {{its weights are zeros}}
  %y = nn.matmul %x, %w : (tensor<?x64xf32>, tensor<64x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK-LABEL: func.func @infinite
func.func @infinite(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = nn.constant dense<0x7F800000> : tensor<64x64xf32>
  // expected-remark @+1 {{a weight is infinite or NaN}}
  %y = nn.matmul %x, %w : (tensor<?x64xf32>, tensor<64x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK-LABEL: func.func @weights
func.func @weights(%x: tensor<?x64xf32>, %w: tensor<64x64xf32>) -> tensor<?x64xf32> {
  // expected-remark @+1 {{its weights are not constant}}
  %y = nn.matmul %x, %w : (tensor<?x64xf32>, tensor<64x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// CHECK-LABEL: func.func @groups
func.func @groups(%x: tensor<1x64x4x4xf32>) -> tensor<1x256x4x4xf32> {
  %w = nn.constant dense<1.0> : tensor<256x32x1x1xf32>
  // expected-remark @+1 {{it is a grouped convolution}}
  %y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 2 : i64}
    : (tensor<1x64x4x4xf32>, tensor<256x32x1x1xf32>) -> tensor<1x256x4x4xf32>
  return %y : tensor<1x256x4x4xf32>
}

// -----

// CHECK-LABEL: func.func @wide
func.func @wide(%x: tensor<?x64xf64>) -> tensor<?x64xf64> {
  %w = nn.constant dense<1.0> : tensor<64x64xf64>
  // expected-remark @+1 {{it has an epilogue or is not of 32-bit floats}}
  %y = nn.matmul %x, %w : (tensor<?x64xf64>, tensor<64x64xf64>) -> tensor<?x64xf64>
  return %y : tensor<?x64xf64>
}
