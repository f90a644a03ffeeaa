// What the verifiers refuse.
// RUN: nnopt-opt %s --split-input-file --verify-diagnostics

func.func @map_arguments(%a: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{region has 2 arguments, expected 1}}
  %0 = nn.map(%a) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%x: f32, %y: f32):
    nn.yield %x : f32
  }
  return %0 : tensor<4xf32>
}

// -----

func.func @map_argument_type(%a: tensor<4xui8>) -> tensor<4xui8> {
  // expected-error @+1 {{region argument 0 is 'i32', expected 'i8'}}
  %0 = nn.map(%a) : (tensor<4xui8>) -> tensor<4xui8> {
  ^bb0(%x: i32):
    %y = arith.trunci %x : i32 to i8
    nn.yield %y : i8
  }
  return %0 : tensor<4xui8>
}

// -----

func.func @map_yield(%a: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{region yields 2 values for 1 results}}
  %0 = nn.map(%a) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%x: f32):
    nn.yield %x, %x : f32, f32
  }
  return %0 : tensor<4xf32>
}

// -----

func.func @map_yield_type(%a: tensor<4xf32>) -> tensor<4xf64> {
  // expected-error @+1 {{region yields 'f32' as value 0, expected 'f64'}}
  %0 = nn.map(%a) : (tensor<4xf32>) -> tensor<4xf64> {
  ^bb0(%x: f32):
    nn.yield %x : f32
  }
  return %0 : tensor<4xf64>
}

// -----

func.func @conv_rank(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3xf32>) {
  // expected-error @+1 {{w must have the rank of x, got 3 and 4}}
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x3x8x8xf32>, tensor<4x3x3xf32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @conv_strides(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error @+1 {{strides must be at least 1, got 0}}
  %0 = nn.conv %x, %w {strides = array<i64: 1, 0>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @conv_pads(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error @+1 {{pads must have 4 entries, got 2}}
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @conv_group(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error @+1 {{group must be at least 1, got -1}}
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = -1 : i64} : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @epilogue_without_region(%a: tensor<4x4xf32>) {
  // expected-error @+1 {{epilogue arguments without an epilogue}}
  %0 = nn.matmul %a, %a epilogue(%a) : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return
}

// -----

func.func @epilogue_yield(%a: tensor<4x4xf32>) {
  // expected-error @+1 {{region yields 'f32' as value 0, expected 'f16'}}
  %0 = nn.matmul %a, %a : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf16> {
  ^bb0(%acc: f32):
    nn.yield %acc : f32
  }
  return
}

// -----

func.func @matmul_scalar(%a: tensor<4x4xf32>, %s: tensor<f32>) {
  // expected-error @+1 {{operands must have rank 1 or more}}
  %0 = nn.matmul %a, %s : (tensor<4x4xf32>, tensor<f32>) -> tensor<4x4xf32>
  return
}

// -----

func.func @matmul_transpose(%a: tensor<4xf32>) {
  // expected-error @+1 {{only operands of rank 2 or more can be transposed}}
  %0 = nn.matmul %a, %a {transpose_b} : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
  return
}

// -----

func.func @transpose(%a: tensor<4x4xf32>) {
  // expected-error @+1 {{perm must hold each of 0..1 once, got [1, 1]}}
  %0 = nn.transpose %a {perm = array<i64: 1, 1>} : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return
}

// -----

func.func @squeeze(%a: tensor<4x1xf32>) {
  // expected-error @+1 {{axis 2 is out of range for rank 2}}
  %0 = nn.squeeze %a {axes = array<i64: 2>} : (tensor<4x1xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @unsqueeze(%a: tensor<4xf32>) {
  // expected-error @+1 {{axis 1 is given twice}}
  %0 = nn.unsqueeze %a {axes = array<i64: 1, 1>} : (tensor<4xf32>) -> tensor<4x1x1xf32>
  return
}

// -----

func.func @if_condition(%a: tensor<f32>) {
  // expected-error @+1 {{condition must be bool, got 'f32'}}
  %0 = nn.if %a : (tensor<f32>) -> tensor<f32> {
    nn.yield %a : tensor<f32>
  } else {
    nn.yield %a : tensor<f32>
  }
  return
}

// -----

func.func @if_yield(%p: tensor<i1>, %a: tensor<f32>) {
  // expected-error @+1 {{else_branch yields 0 values, expected 1}}
  %0 = nn.if %p : (tensor<i1>) -> tensor<f32> {
    nn.yield %a : tensor<f32>
  } else {
    nn.yield
  }
  return
}

// -----

func.func @loop_arguments(%n: tensor<i64>, %a: tensor<f32>) {
  // expected-error @+1 {{body has 2 arguments, expected 3}}
  %0 = nn.loop trip %n carried(%a) : (tensor<i64>, tensor<f32>) -> tensor<f32> {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>):
    nn.yield %c, %a : tensor<i1>, tensor<f32>
  }
  return
}

// -----

func.func @loop_carried(%n: tensor<i64>, %a: tensor<f32>) {
  // expected-error @+1 {{body argument 2 is 'tensor<i64>' for a carried value 'tensor<f32>'}}
  %0 = nn.loop trip %n carried(%a) : (tensor<i64>, tensor<f32>) -> tensor<f32> {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %v: tensor<i64>):
    nn.yield %c, %a : tensor<i1>, tensor<f32>
  }
  return
}

// -----

func.func @zero_point_type(%a: tensor<2x3xui8>, %b: tensor<3x4xi8>, %z: tensor<i8>) {
  // expected-error @+1 {{zero point of type 'i8' for an operand of type 'ui8'}}
  %0 = nn.matmul %a, %b a_zero %z : (tensor<2x3xui8>, tensor<3x4xi8>, tensor<i8>) -> tensor<2x4xi32>
  return
}

// -----

func.func @linear_attention_heads(%q: tensor<1x2x12xf32>, %k: tensor<1x2x8xf32>) -> tensor<1x2x12xf32> {
  // expected-error @+1 {{heads (3) must be a positive multiple of key_heads (2)}}
  %0:2 = nn.linear_attention %q, %k, %k {heads = 3 : i64, key_heads = 2 : i64, scale = 1.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>} : (tensor<1x2x12xf32>, tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> (tensor<1x2x12xf32>, tensor<1x2x4x4xf32>)
  return %0#0 : tensor<1x2x12xf32>
}

// -----

func.func @zero_point_of_floats(%x: tensor<1x1x4x4xf32>, %w: tensor<1x1x1x1xf32>, %z: tensor<f32>) {
  // expected-error @+1 {{zero point of type 'f32' for an operand of type 'f32'}}
  %0 = nn.conv %x, %w w_zero %z {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x1x1xf32>, tensor<f32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @random_element(%key: tensor<2xi64>, %shape: tensor<1xi64>) -> tensor<?xf16> {
  // expected-error @+1 {{element must be f32 or f64, got 'f16'}}
  %0 = nn.random %key, %shape {distribution = #nn.distribution<uniform>, element = f16} : (tensor<2xi64>, tensor<1xi64>) -> tensor<?xf16>
  return %0 : tensor<?xf16>
}

// -----

func.func @moe_types(%x: tensor<3x8xf32>, %score: tensor<3x4xf64>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x5x16xf32>) -> tensor<3x5xf32> {
  // expected-error @+1 {{operands must have one element type}}
  %0 = nn.moe %x score %score w1 %w1 w2 %w2 : (tensor<3x8xf32>, tensor<4x16x8xf32>, tensor<4x5x16xf32>, tensor<3x4xf64>) -> tensor<3x5xf32> {
  ^bb0(%h: f32):
    nn.yield %h : f32
  }
  return %0 : tensor<3x5xf32>
}

// -----

func.func @moe_arguments(%x: tensor<3x8xf32>, %score: tensor<3x4xf32>, %w1: tensor<4x16x8xf32>, %w2: tensor<4x5x16xf32>) -> tensor<3x5xf32> {
  // expected-error @+1 {{region has 2 arguments, expected 1}}
  %0 = nn.moe %x score %score w1 %w1 w2 %w2 : (tensor<3x8xf32>, tensor<4x16x8xf32>, tensor<4x5x16xf32>, tensor<3x4xf32>) -> tensor<3x5xf32> {
  ^bb0(%h: f32, %g: f32):
    nn.yield %h : f32
  }
  return %0 : tensor<3x5xf32>
}
