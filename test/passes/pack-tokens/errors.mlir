// RUN: nnopt-opt --pack-tokens=mask=mask --split-input-file --verify-diagnostics %s

// expected-error @+1 {{the mask 'mask' is no input; inputs are: ids, attention_mask}}
func.func @main(%ids: tensor<2x3xi64> {nn.name = "ids"}, %mask: tensor<2x3xi64> {nn.name = "attention_mask"}) -> tensor<2x3xi64> {
  return %ids : tensor<2x3xi64>
}

// -----

// expected-error @+1 {{the mask 'mask' has to be numbers [batch, sequence]}}
func.func @main(%mask: tensor<2x1x3xf32> {nn.name = "mask"}) -> tensor<2x1x3xf32> {
  return %mask : tensor<2x1x3xf32>
}

// -----

// Elementwise operations alone are not worth the copies, and a product over the sequence is none of tokens.
// expected-warning @+1 {{no matrix product is done token by token on inputs [batch, sequence] as 'mask': nothing is skipped}}
func.func @main(%x: tensor<2x3x4xf32> {nn.name = "x"}, %mask: tensor<2x3xi64> {nn.name = "mask"}) -> tensor<2x5x4xf32> {
  %w = nn.constant dense<0.5> : tensor<5x3xf32>
  %0 = nn.relu %x : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %1 = nn.matmul %w, %0 : (tensor<5x3xf32>, tensor<2x3x4xf32>) -> tensor<2x5x4xf32>
  return %1 : tensor<2x5x4xf32>
}

// -----

// Heads are as many as tokens: scores [batch, heads, queries, keys] look like tokens, but come from none.
// expected-warning @+1 {{nothing is skipped}}
func.func @main(%q: tensor<2x4x3x3xf32> {nn.name = "q"}, %mask: tensor<2x3xi64> {nn.name = "mask"}) -> tensor<2x3x4x3xf32> {
  %w = nn.constant dense<0.5> : tensor<3x3xf32>
  %0 = nn.transpose %q {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x4x3x3xf32>) -> tensor<2x3x4x3xf32>
  %1 = nn.matmul %0, %w : (tensor<2x3x4x3xf32>, tensor<3x3xf32>) -> tensor<2x3x4x3xf32>
  return %1 : tensor<2x3x4x3xf32>
}
