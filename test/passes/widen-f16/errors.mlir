// What stays f16, and control flow, which does not.
// RUN: nnopt-opt --widen-f16 --remark-format=emitRemark --remarks-filter=".*" --verify-diagnostics --split-input-file %s -o /dev/null
// RUN: nnopt-opt --widen-f16 --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @bits
// CHECK: %[[H:.*]] = nn.cast {{.*}} -> tensor<4xf16>
// CHECK: nn.bit_cast %[[H]] {{.*}} -> tensor<4xi16>
func.func @bits(%x: tensor<4xf16>) -> tensor<4xi16> {
  %y = nn.add %x, %x : (tensor<4xf16>, tensor<4xf16>) -> tensor<4xf16>
  %z = nn.bit_cast %y {to = i16} : (tensor<4xf16>) -> tensor<4xi16>
  return %z : tensor<4xi16>
}

// -----

// CHECK-LABEL: func.func @from_bits
// CHECK: %[[H:.*]] = nn.bit_cast {{.*}} -> tensor<4xf16>
// CHECK: %[[S:.*]] = nn.cast %[[H]] {{.*}} -> tensor<4xf32>
// CHECK: nn.add %[[S]], %[[S]]
func.func @from_bits(%x: tensor<4xi16>) -> tensor<4xf16> {
  // expected-remark@+1 {{its f16 means something else than f32}}
  %y = nn.bit_cast %x {to = f16} : (tensor<4xi16>) -> tensor<4xf16>
  %z = nn.add %y, %y : (tensor<4xf16>, tensor<4xf16>) -> tensor<4xf16>
  return %z : tensor<4xf16>
}

// -----

// CHECK-LABEL: func.func @choice
// CHECK: nn.if %{{.*}} : (tensor<i1>) -> tensor<4xf32>
// CHECK: nn.yield {{.*}} : tensor<4xf32>
func.func @choice(%c: tensor<i1>, %x: tensor<4xf16>) -> tensor<4xf16> {
  %y = nn.if %c : (tensor<i1>) -> tensor<4xf16> {
    %a = nn.add %x, %x : (tensor<4xf16>, tensor<4xf16>) -> tensor<4xf16>
    nn.yield %a : tensor<4xf16>
  } else {
    nn.yield %x : tensor<4xf16>
  }
  return %y : tensor<4xf16>
}
