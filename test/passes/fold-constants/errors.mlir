// What is kept for run time.
// RUN: nnopt-opt %s --fold-constants=max-growth-bytes=64 --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// Computed, it would take 400 bytes of the artifact instead of 4.
// CHECK-LABEL: func @growth
// CHECK: nn.expand
func.func @growth(%x: tensor<100xf32>) -> tensor<100xf32> {
  %a = nn.constant dense<1.0> : tensor<1xf32>
  %s = nn.constant dense<100> : tensor<1xi64>
  // expected-remark @+1 {{the value has 400 bytes, the constants it comes from have 12}}
  %0 = nn.expand %a, %s : (tensor<1xf32>, tensor<1xi64>) -> tensor<100xf32>
  %1 = nn.add %x, %0 : (tensor<100xf32>, tensor<100xf32>) -> tensor<100xf32>
  return %1 : tensor<100xf32>
}

// -----

// How many elements are not zero is not known before it is computed.
// CHECK-LABEL: func @dynamic
// CHECK: nn.non_zero
func.func @dynamic() -> tensor<1x?xi64> {
  %a = nn.constant dense<[1.0, 0.0]> : tensor<2xf32>
  %0 = nn.non_zero %a : (tensor<2xf32>) -> tensor<1x?xi64>
  return %0 : tensor<1x?xi64>
}

// -----

// CHECK-LABEL: func @division
// CHECK: nn.div
func.func @division(%x: tensor<i32>) -> tensor<i32> {
  %a = nn.constant dense<1> : tensor<i32>
  %0 = nn.div %a, %x : (tensor<i32>, tensor<i32>) -> tensor<i32>
  return %0 : tensor<i32>
}
