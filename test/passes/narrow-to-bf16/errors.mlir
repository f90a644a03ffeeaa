// What stays as it is, and why.
// RUN: nnopt-opt --narrow-to-bf16 --remark-format=emitRemark --remarks-filter=".*" --verify-diagnostics --split-input-file %s -o /dev/null

func.func @variable_weights(%x: tensor<4x64xf32>, %w: tensor<64x32xf32>) -> tensor<4x32xf32> {
  // expected-remark@+1 {{its weights are not constant, or its activation is}}
  %y = nn.matmul %x, %w : (tensor<4x64xf32>, tensor<64x32xf32>) -> tensor<4x32xf32>
  return %y : tensor<4x32xf32>
}

// -----

func.func @depthwise(%x: tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32> {
  %w = nn.constant dense<0.5> : tensor<32x1x3x3xf32>
  // expected-remark@+1 {{a group has few channels}}
  %y = nn.conv %x, %w {dilations = array<i64: 1, 1>, group = 32 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x32x8x8xf32>, tensor<32x1x3x3xf32>) -> tensor<1x32x8x8xf32>
  return %y : tensor<1x32x8x8xf32>
}

// -----

func.func @one_column(%x: tensor<4x64xf32>) -> tensor<4x1xf32> {
  %w = nn.constant dense<0.5> : tensor<64x1xf32>
  // expected-remark@+1 {{bf16 kernels take matrices of several columns}}
  %y = nn.matmul %x, %w : (tensor<4x64xf32>, tensor<64x1xf32>) -> tensor<4x1xf32>
  return %y : tensor<4x1xf32>
}

// -----

func.func @winograd(%x: tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32> {
  %w = nn.constant dense<0.5> : tensor<32x32x3x3xf32>
  // expected-remark@+1 {{Winograd's algorithm in f32 is faster}}
  %y = nn.conv %x, %w {dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x32x14x14xf32>, tensor<32x32x3x3xf32>) -> tensor<1x32x14x14xf32>
  return %y : tensor<1x32x14x14xf32>
}
