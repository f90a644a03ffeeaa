// RUN: nnopt-opt --pack-tokens=mask=mask %s | FileCheck %s

// Rows of real tokens are looked up, summed and multiplied as one matrix; attention sees whole sequences, with zeros.
// CHECK-LABEL: func.func @main
// CHECK: %[[NUMBERS:.*]] = nn.non_zero
// CHECK: %[[ROWS:.*]] = nn.reshape %[[NUMBERS]]
// CHECK: nn.gather {{.*}}, %[[ROWS]] {axis = 0 : i64} : (tensor<?xi64>, tensor<?xi64>) -> tensor<?xi64>
// CHECK: %[[X:.*]] = nn.gather {{.*}} -> tensor<1x?x8xf32>
// CHECK: %[[Q:.*]] = nn.matmul %[[X]], {{.*}} -> tensor<1x?x8xf32>
// CHECK: %[[WHOLE:.*]] = nn.scatter_nd
// CHECK: %[[SEQUENCES:.*]] = nn.reshape %[[WHOLE]], {{.*}} -> tensor<?x?x8xf32>
// CHECK: nn.attention
// CHECK: %[[BACK:.*]] = nn.gather {{.*}}, %[[ROWS]] {axis = 0 : i64} : (tensor<?x8xf32>, tensor<?xi64>) -> tensor<?x8xf32>
// CHECK: nn.add %[[X]], {{.*}} -> tensor<1x?x8xf32>
// CHECK: nn.layer_norm {{.*}} -> tensor<1x?x8xf32>
// CHECK: nn.scatter_nd
func.func @main(%ids: tensor<?x?xi64> {nn.name = "ids", nn.dims = ["batch", "sequence"]},
                %mask: tensor<?x?xi64> {nn.name = "mask", nn.dims = ["batch", "sequence"]},
                %bias: tensor<?x1x1x?xf32> {nn.name = "bias", nn.dims = ["batch", 1, 1, "sequence"]})
    -> (tensor<?x?x8xf32> {nn.name = "y"}) {
  %table = nn.constant dense<0.5> : tensor<10x8xf32>
  %w = nn.constant dense<0.25> : tensor<8x8xf32>
  %gain = nn.constant dense<1.0> : tensor<8xf32>
  %split = nn.constant dense<[0, 0, 2, 4]> : tensor<4xi64>
  %join = nn.constant dense<[0, 0, 8]> : tensor<3xi64>
  %x = nn.gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
  %q = nn.matmul %x, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
  %heads = nn.reshape %q, %split : (tensor<?x?x8xf32>, tensor<4xi64>) -> tensor<?x?x2x4xf32>
  %qh = nn.transpose %heads {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x4xf32>) -> tensor<?x2x?x4xf32>
  %a = nn.attention %qh, %qh, %qh, %bias {scale = 0.5 : f64}
      : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x1x1x?xf32>) -> tensor<?x2x?x4xf32>
  %t = nn.transpose %a {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x2x?x4xf32>) -> tensor<?x?x2x4xf32>
  %r = nn.reshape %t, %join : (tensor<?x?x2x4xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  %s = nn.add %x, %r : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %y = nn.layer_norm %s, %gain {axis = 2 : i64, epsilon = 1.0e-5 : f64} : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}
