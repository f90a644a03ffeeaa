// A product of bf16 sums in f32. It may have two results, of which each has the type of what its epilogue yields: f32
// for a residual stream, bf16 for the layer that reads it. A convolution without an epilogue would return bf16.
// RUN: nnopt-opt --narrow-to-bf16 --cse --fuse-epilogue %s | FileCheck %s

// CHECK: %[[Y:.*]], %[[Z:.*]] = nn.conv %{{.*}}, %{{.*}} epilogue(%arg1)
// CHECK-SAME: -> (tensor<1x4x4x32xf32>, tensor<1x4x4x32xbf16>) {
// CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32, %[[R:.*]]: f32):
// CHECK-NEXT: %[[S:.*]] = arith.addf %[[ACC]], %[[R]]
// CHECK: %[[T:.*]] = arith.truncf
// CHECK: nn.yield %[[S]], %[[T]] : f32, bf16
// CHECK: nn.conv %[[Z]], %{{.*}} epilogue(%[[Y]])
// CHECK-NEXT: ^bb0(%{{.*}}: f32, %{{.*}}: f32):
func.func @main(%x: tensor<1x4x4x32xf32>, %r: tensor<1x4x4x32xf32>) -> tensor<1x4x4x32xf32> {
  %w = nn.constant dense<0.5> : tensor<32x32x1x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>,
    group = 1 : i64, channels_last} : (tensor<1x4x4x32xf32>, tensor<32x32x1x1xf32>) -> tensor<1x4x4x32xf32>
  %1 = nn.add %0, %r : (tensor<1x4x4x32xf32>, tensor<1x4x4x32xf32>) -> tensor<1x4x4x32xf32>
  %2 = nn.conv %1, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>,
    group = 1 : i64, channels_last} : (tensor<1x4x4x32xf32>, tensor<32x32x1x1xf32>) -> tensor<1x4x4x32xf32>
  %3 = nn.add %2, %1 : (tensor<1x4x4x32xf32>, tensor<1x4x4x32xf32>) -> tensor<1x4x4x32xf32>
  return %3 : tensor<1x4x4x32xf32>
}
