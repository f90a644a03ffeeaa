// What stays f32, and why.
// RUN: nnopt-opt --narrow-to-f16 --remark-format=emitRemark --remarks-filter=".*" --verify-diagnostics --split-input-file %s -o /dev/null
// RUN: nnopt-opt --narrow-to-f16 --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @scan
// CHECK: nn.cum_sum {{.*}} -> tensor<4x4xf32>
func.func @scan(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %axis = nn.constant dense<0> : tensor<i64>
  // expected-remark@+1 {{only f32 is known to be right, or fast}}
  %s = nn.cum_sum %x, %axis : (tensor<4x4xf32>, tensor<i64>) -> tensor<4x4xf32>
  // expected-remark@+1 {{has f16 in memory}}
  %y = nn.matmul %s, %w : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// -----

// Angles, through the outer product that makes them; the cosines may be f16.
// CHECK-LABEL: func.func @angles
// CHECK: nn.matmul {{.*}} -> tensor<8x4xf32>
// CHECK: nn.map({{.*}}) : (tensor<8x4xf32>) -> tensor<8x4xf16>
func.func @angles(%positions: tensor<8x1xi64>, %w: tensor<4x4xf32>) -> tensor<8x4xf32> {
  %f = nn.constant dense<[[1.0, 0.1, 0.01, 0.001]]> : tensor<1x4xf32>
  %p = nn.cast %positions {to = f32} : (tensor<8x1xi64>) -> tensor<8x1xf32>
  // expected-remark@+1 {{angles, integers, bools or masks come from it}}
  %a = nn.matmul %p, %f : (tensor<8x1xf32>, tensor<1x4xf32>) -> tensor<8x4xf32>
  // expected-remark@+1 {{has f16 in memory}}
  %c = nn.cos %a : (tensor<8x4xf32>) -> tensor<8x4xf32>
  // expected-remark@+1 {{has f16 in memory}}
  %y = nn.matmul %c, %w : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}

// -----

// An input that is only moved on its way to a result.
// CHECK-LABEL: func.func @moved
// CHECK-NOT: f16
// CHECK: return
func.func @moved(%x: tensor<4x8xf32>) -> tensor<8x4xf32> {
  // expected-remark@+1 {{what it reads or what reads its results is f32}}
  %t = nn.transpose %x {perm = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  return %t : tensor<8x4xf32>
}

// -----

// A cache of f32 that comes from the outside and goes back: attention reads it as it is.
// CHECK-LABEL: func.func @cache
// CHECK: nn.attention {{.*}}tf32_products{{.*}} -> tensor<1x2x1x8xf32>
// CHECK: nn.cast {{.*}} -> tensor<1x2x1x8xf16>
func.func @cache(%q: tensor<1x2x1x8xf32>, %k: tensor<1x2x5x8xf32>, %v: tensor<1x2x5x8xf32>, %w: tensor<8x8xf32>) -> tensor<1x2x1x8xf32> {
  // expected-remark@+1 {{what it reads or what reads its results is f32}}
  %a = nn.attention %q, %k, %v {scale = 0.5 : f64} : (tensor<1x2x1x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>) -> tensor<1x2x1x8xf32>
  // expected-remark@+1 {{has f16 in memory}}
  %y = nn.matmul %a, %w : (tensor<1x2x1x8xf32>, tensor<8x8xf32>) -> tensor<1x2x1x8xf32>
  return %y : tensor<1x2x1x8xf32>
}
