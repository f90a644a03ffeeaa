// What cannot get 8-bit operands, and why.
// RUN: nnopt-opt --quantize --split-input-file --verify-diagnostics --remark-format=emitRemark --remarks-filter='.*' %s

func.func @depthwise(%x: tensor<1x2x32x32xf32>) -> tensor<1x2x16x16xf32> {
  %w = nn.constant dense<1.0> : tensor<2x1x17x17xf32>
  // expected-remark@below {{sums of a depthwise convolution are 32-bit floats, which are exact for up to 257 taps}}
  %y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 2 : i64, quantize = {scale = 0.25 : f32, zero_point = 7 : i32}} : (tensor<1x2x32x32xf32>, tensor<2x1x17x17xf32>) -> tensor<1x2x16x16xf32>
  return %y : tensor<1x2x16x16xf32>
}

// -----

func.func @weights(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // expected-remark@below {{its weights are not constant}}
  %y = nn.matmul %x, %w {quantize = {scale = 0.25 : f32, zero_point = 7 : i32}} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// -----

func.func @infinite(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 0x7F800000]]> : tensor<2x2xf32>
  // expected-remark@below {{a weight is infinite or NaN}}
  %y = nn.matmul %x, %w {quantize = {scale = 0.25 : f32, zero_point = 7 : i32}} : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// -----

func.func @parameters(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  // expected-error@below {{quantize: expected {scale = positive float, zero_point = 0..255}}}
  %y = nn.matmul %x, %w {quantize = {scale = 0.25 : f32, zero_point = 256 : i32}} : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}
