// A cache of [batch, length, heads, width] is turned for attention: bytes and scales are turned, floats are made behind that. The size
// of past and present is that of the bytes.
// RUN: nnopt-opt --quantize-kv-cache %s | FileCheck %s

// CHECK-LABEL: func.func @main
func.func @main(%q: tensor<1x2x1x8xf32>, %past: tensor<1x?x2x8xf32> {nn.name = "past"}, %new: tensor<1x1x2x8xf32>)
    -> (tensor<1x2x1x8xf32>, tensor<1x?x2x8xf32>, tensor<4xi64>, tensor<4xi64>) {
  // CHECK: %[[K:.*]] = nn.concat %arg1
  // CHECK: %[[S:.*]] = nn.concat %arg3
  // CHECK-DAG: %[[KT:.*]] = nn.transpose %[[K]] {perm = array<i64: 0, 2, 1, 3>}
  // CHECK-DAG: %[[ST:.*]] = nn.transpose %[[S]] {perm = array<i64: 0, 2, 1, 3>}
  // CHECK: %[[F:.*]] = nn.dequantize %[[KT]], %[[ST]]
  // CHECK: nn.attention %arg0, %[[F]], %[[F]]
  // CHECK-DAG: nn.shape %arg1
  // CHECK-DAG: nn.shape %[[K]]
  %k = nn.concat %past, %new {axis = 1 : i64} : (tensor<1x?x2x8xf32>, tensor<1x1x2x8xf32>) -> tensor<1x?x2x8xf32>
  %t = nn.transpose %k {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x8xf32>) -> tensor<1x2x?x8xf32>
  %y = nn.attention %q, %t, %t {scale = 1.0 : f64} : (tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x1x8xf32>
  %before = nn.shape %past {start = 0 : i64} : (tensor<1x?x2x8xf32>) -> tensor<4xi64>
  %after = nn.shape %k {start = 0 : i64} : (tensor<1x?x2x8xf32>) -> tensor<4xi64>
  return %y, %k, %before, %after : tensor<1x2x1x8xf32>, tensor<1x?x2x8xf32>, tensor<4xi64>, tensor<4xi64>
}
