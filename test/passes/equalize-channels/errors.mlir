// Channels that keep their scale, and why.
// RUN: nnopt-opt --equalize-channels --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter='.*' %s

// A clip is not homogeneous.
func.func @clip(%x: tensor<4x1xf32>) -> tensor<4x1xf32> {
  %lo = nn.constant dense<0.0> : tensor<f32>
  %hi = nn.constant dense<6.0> : tensor<f32>
  %w1 = nn.constant dense<[[16.0, 1.0]]> : tensor<1x2xf32>
  %w2 = nn.constant dense<[[1.0], [16.0]]> : tensor<2x1xf32>
  // expected-remark@below {{nn.clip does not let it through}}
  %1 = nn.matmul %x, %w1 : (tensor<4x1xf32>, tensor<1x2xf32>) -> tensor<4x2xf32>
  %2 = nn.clip %1, %lo, %hi : (tensor<4x2xf32>, tensor<f32>, tensor<f32>) -> tensor<4x2xf32>
  // expected-remark@below {{its result leaves here too}}
  %3 = nn.matmul %2, %w2 : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
  return %3 : tensor<4x1xf32>
}

// -----

// The square of a scaled value is not scaled alike.
func.func @square(%x: tensor<4x1xf32>) -> tensor<4x1xf32> {
  %w1 = nn.constant dense<[[16.0, 1.0]]> : tensor<1x2xf32>
  %w2 = nn.constant dense<[[1.0], [16.0]]> : tensor<2x1xf32>
  // expected-remark@below {{reads it twice}}
  %1 = nn.matmul %x, %w1 : (tensor<4x1xf32>, tensor<1x2xf32>) -> tensor<4x2xf32>
  %2 = nn.mul %1, %1 : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  // expected-remark@below {{its result leaves here too}}
  %3 = nn.matmul %2, %w2 : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
  return %3 : tensor<4x1xf32>
}

// -----

// Both factors are scaled.
func.func @products(%x: tensor<4x1xf32>) -> (tensor<4x2xf32>) {
  %w1 = nn.constant dense<[[16.0, 1.0]]> : tensor<1x2xf32>
  %w2 = nn.constant dense<[[1.0, 0.0], [16.0, 1.0]]> : tensor<2x2xf32>
  // expected-remark@below {{reads it twice}}
  %1 = nn.matmul %x, %w1 : (tensor<4x1xf32>, tensor<1x2xf32>) -> tensor<4x2xf32>
  %2 = nn.relu %1 : (tensor<4x2xf32>) -> tensor<4x2xf32>
  %3 = nn.mul %1, %2 : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  // expected-remark@below {{its result leaves here too}}
  %4 = nn.matmul %3, %w2 : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  return %4 : tensor<4x2xf32>
}

// -----

// A sum would need the same scales in all its operands.
func.func @sum(%x: tensor<4x2xf32>) -> tensor<4x1xf32> {
  %w1 = nn.constant dense<[[16.0, 1.0], [16.0, 1.0]]> : tensor<2x2xf32>
  %w2 = nn.constant dense<[[1.0], [16.0]]> : tensor<2x1xf32>
  // expected-remark@below {{nn.add does not let it through}}
  %1 = nn.matmul %x, %w1 : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  %2 = nn.add %1, %x : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  // expected-remark@below {{its result leaves here too}}
  %3 = nn.matmul %2, %w2 : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
  return %3 : tensor<4x1xf32>
}
