// The dimensions of the arguments are symbols; types follow from them, and so does shape arithmetic.
// RUN: nnopt-opt %s --infer-shapes="show=true" -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func @attention_heads
// CHECK-SAME: -> tensor<?x12x?x64xf32>
func.func @attention_heads(%x: tensor<?x?x768xf32> {nn.name = "x", nn.dims = ["batch", "sequence", 768]})
    -> tensor<?x?x?x?xf32> {
  // expected-remark @+1 {{[3] = [batch, sequence, 768]}}
  %shape = nn.shape %x : (tensor<?x?x768xf32>) -> tensor<3xi64>
  %two = nn.constant dense<[0, 1]> : tensor<2xi64>
  // expected-remark @+1 {{[2] = [batch, sequence]}}
  %lead = nn.gather %shape, %two {axis = 0 : i64} : (tensor<3xi64>, tensor<2xi64>) -> tensor<2xi64>
  %heads = nn.constant dense<[-1, 64]> : tensor<2xi64>
  // expected-remark @+1 {{[4] = [batch, sequence, -1, 64]}}
  %split = nn.concat %lead, %heads {axis = 0 : i64} : (tensor<2xi64>, tensor<2xi64>) -> tensor<4xi64>
  // CHECK: nn.reshape %{{.*}} -> tensor<?x?x12x64xf32>
  // expected-remark @+1 {{[batch, sequence, 12, 64]}}
  %r = nn.reshape %x, %split : (tensor<?x?x768xf32>, tensor<4xi64>) -> tensor<?x?x?x?xf32>
  // CHECK: nn.transpose %{{.*}} -> tensor<?x12x?x64xf32>
  // expected-remark @+1 {{[batch, 12, sequence, 64]}}
  %t = nn.transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x?x?xf32>) -> tensor<?x?x?x?xf32>
  return %t : tensor<?x?x?x?xf32>
}
