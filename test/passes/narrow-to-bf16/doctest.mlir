// RUN: nnopt-opt --narrow-to-bf16 %s | FileCheck %s

// Operands are rounded; sums, bias and result stay f32.
// CHECK: %[[X:.*]] = nn.cast %arg0 {{.*}} -> tensor<?x64xbf16>
// CHECK: %[[W:.*]] = nn.cast {{.*}} -> tensor<64x32xbf16>
// CHECK: nn.matmul %[[X]], %[[W]] bias %{{.*}} -> tensor<?x32xf32> {
// CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32):
// CHECK-NEXT: nn.yield %[[ACC]] : f32
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x32xf32> {
  %w = nn.constant dense<0.5> : tensor<64x32xf32>
  %b = nn.constant dense<1.0> : tensor<32xf32>
  %y = nn.matmul %x, %w bias %b : (tensor<?x64xf32>, tensor<64x32xf32>, tensor<32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// The kernels of recurrent operations round what they multiply, where weights are constant.
// CHECK-LABEL: func.func @recurrent
func.func @recurrent(%x: tensor<5x2x3xf32>, %other: tensor<1x4x4xf32>) -> (tensor<5x1x2x4xf32>, tensor<5x1x2x4xf32>) {
  // CHECK: nn.rnn {{.*}}bf16_products
  // CHECK: nn.rnn
  // CHECK-NOT: bf16_products
  // CHECK: return
  %w = nn.constant dense<0.5> : tensor<1x4x3xf32>
  %r = nn.constant dense<0.5> : tensor<1x4x4xf32>
  %y, %h = nn.rnn %x, %w, %r {direction = #nn.direction<forward>, activations = ["tanh"], operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>} : (tensor<5x2x3xf32>, tensor<1x4x3xf32>, tensor<1x4x4xf32>) -> (tensor<5x1x2x4xf32>, tensor<1x2x4xf32>)
  %z, %g = nn.rnn %x, %w, %other {direction = #nn.direction<forward>, activations = ["tanh"], operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>} : (tensor<5x2x3xf32>, tensor<1x4x3xf32>, tensor<1x4x4xf32>) -> (tensor<5x1x2x4xf32>, tensor<1x2x4xf32>)
  return %y, %z : tensor<5x1x2x4xf32>, tensor<5x1x2x4xf32>
}
