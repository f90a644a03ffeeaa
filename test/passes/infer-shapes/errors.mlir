// Operand shapes that contradict each other.
// RUN: nnopt-opt %s --infer-shapes --split-input-file -verify-diagnostics

func.func @broadcast(%a: tensor<2x3xf32>, %b: tensor<2x4xf32>) {
  // expected-error @+1 {{operand shapes do not broadcast: [2, 3] and [2, 4]}}
  %0 = nn.add %a, %b : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @reshape(%a: tensor<3x4xf32>) {
  %s = nn.constant dense<5> : tensor<1xi64>
  // expected-error @+1 {{cannot reshape [3, 4] (12 elements) to [5]}}
  %0 = nn.reshape %a, %s : (tensor<3x4xf32>, tensor<1xi64>) -> tensor<?xf32>
  return
}

// -----

func.func @reshape_inferred(%a: tensor<3x4xf32>) {
  %s = nn.constant dense<[5, -1]> : tensor<2xi64>
  // expected-error @+1 {{cannot reshape [3, 4] (12 elements) to [5, -1]}}
  %0 = nn.reshape %a, %s : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @reshape_two(%a: tensor<3x4xf32>) {
  %s = nn.constant dense<-1> : tensor<2xi64>
  // expected-error @+1 {{shape has more than one -1: [-1, -1]}}
  %0 = nn.reshape %a, %s : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @matmul(%a: tensor<?x3xf32> {nn.dims = ["n", 3]}, %b: tensor<4x5xf32>) {
  // expected-error @+1 {{reduces dimensions 3 and 4 of [n, 3] and [4, 5]}}
  %0 = nn.matmul %a, %b : (tensor<?x3xf32>, tensor<4x5xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @matmul_symbolic(%a: tensor<2x?xf32> {nn.dims = [2, "k"]}, %b: tensor<?x2xf32> {nn.dims = ["k", 2]}) {
  %0 = nn.concat %a, %a {axis = 1 : i64} : (tensor<2x?xf32>, tensor<2x?xf32>) -> tensor<2x?xf32>
  %one = nn.constant dense<1.0> : tensor<2x1xf32>
  %1 = nn.concat %a, %one {axis = 1 : i64} : (tensor<2x?xf32>, tensor<2x1xf32>) -> tensor<2x?xf32>
  // expected-error @+1 {{reduces dimensions k + 1 and k}}
  %2 = nn.matmul %1, %b : (tensor<2x?xf32>, tensor<?x2xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @matmul_bias(%a: tensor<3x3xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{sizes of the bias and the result do not agree: 4 and 3}}
  %0 = nn.matmul %a, %a bias %b : (tensor<3x3xf32>, tensor<3x3xf32>, tensor<4xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @conv_channels(%x: tensor<1x3x8x8xf32>, %w: tensor<4x2x3x3xf32>) {
  // expected-error @+1 {{channels of x and channels of w times group do not agree: 3 and 2}}
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x3x8x8xf32>, tensor<4x2x3x3xf32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @conv_window(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error @+1 {{window of 9 is larger than the padded size along axis 1 of [1, 3, 8, 8]}}
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 4>, group = 1 : i64} : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @concat(%a: tensor<2x3xf32>, %b: tensor<3x3xf32>) {
  // expected-error @+1 {{inputs do not agree in dimension 0: [2, 3] and [3, 3]}}
  %0 = nn.concat %a, %b {axis = 1 : i64} : (tensor<2x3xf32>, tensor<3x3xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @split(%a: tensor<6xf32>) {
  %s = nn.constant dense<[2, 3]> : tensor<2xi64>
  // expected-error @+1 {{sizes add up to 5, dimension 0 is 6}}
  %0:2 = nn.split %a, %s {axis = 0 : i64} : (tensor<6xf32>, tensor<2xi64>) -> (tensor<?xf32>, tensor<?xf32>)
  return
}

// -----

func.func @gather(%a: tensor<2x3xf32>, %i: tensor<4xi64>) {
  // expected-error @+1 {{axis 2 is out of range for rank 2}}
  %0 = nn.gather %a, %i {axis = 2 : i64} : (tensor<2x3xf32>, tensor<4xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @gather_index(%a: tensor<2x3xf32>) {
  %s = nn.shape %a : (tensor<2x3xf32>) -> tensor<2xi64>
  %i = nn.constant dense<2> : tensor<i64>
  // expected-error @+1 {{index 2 is out of range for dimension 0 of [2]}}
  %0 = nn.gather %s, %i {axis = 0 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  return
}

// -----

func.func @squeeze(%a: tensor<2x3xf32>) {
  // expected-error @+1 {{cannot squeeze dimension 1 of [2, 3]}}
  %0 = nn.squeeze %a {axes = array<i64: 1>} : (tensor<2x3xf32>) -> tensor<?xf32>
  return
}

// -----

func.func @topk(%a: tensor<2x3xf32>) {
  %k = nn.constant dense<4> : tensor<1xi64>
  // expected-error @+1 {{takes 4 of 3 elements}}
  %0:2 = nn.topk %a, %k {axis = 1 : i64, largest} : (tensor<2x3xf32>, tensor<1xi64>) -> (tensor<?x?xf32>, tensor<?x?xi64>)
  return
}

// -----

func.func @if_ranks(%p: tensor<i1>, %a: tensor<2x3xf32>, %b: tensor<6xf32>) {
  // expected-error @+1 {{branches yield different ranks as result 0: [2, 3] and [6]}}
  %0 = nn.if %p : (tensor<i1>) -> tensor<?xf32> {
    nn.yield %a : tensor<2x3xf32>
  } else {
    nn.yield %b : tensor<6xf32>
  }
  return
}

// -----

func.func @loop_rank(%n: tensor<i64>, %a: tensor<2xf32>) {
  // expected-error @+1 {{carried value 0 changes its rank: [2] becomes [1, 2]}}
  %0 = nn.loop trip %n carried(%a) : (tensor<i64>, tensor<2xf32>) -> tensor<?xf32> {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %v: tensor<2xf32>):
    %u = nn.unsqueeze %v {axes = array<i64: 0>} : (tensor<2xf32>) -> tensor<1x2xf32>
    nn.yield %c, %u : tensor<i1>, tensor<1x2xf32>
  }
  return
}

// -----

func.func @attention(%q: tensor<1x8x4x64xf32>, %k: tensor<1x3x4x64xf32>) {
  // expected-error @+1 {{heads of q (8) are no multiple of those of k (3)}}
  %0 = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<1x8x4x64xf32>, tensor<1x3x4x64xf32>, tensor<1x3x4x64xf32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @einsum(%a: tensor<2x3xf32>, %b: tensor<4x5xf32>) {
  // expected-error @+1 {{size of 'j' is both 3 and 4}}
  %0 = nn.einsum %a, %b {equation = "ij,jk->ik"} : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @layer_norm(%x: tensor<2x8xf32>, %s: tensor<4xf32>) {
  // expected-error @+1 {{operand of [4] does not broadcast to [8]}}
  %0 = nn.layer_norm %x, %s {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<2x8xf32>, tensor<4xf32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @batch_norm(%x: tensor<2x8x4xf32>, %s: tensor<4xf32>) {
  // expected-error @+1 {{channels do not agree: 4 and 8}}
  %0 = nn.batch_norm %x, %s, %s, %s, %s {epsilon = 1.0e-5 : f64} : (tensor<2x8x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x?x?xf32>
  return
}

// -----

func.func @lstm(%x: tensor<5x2x3xf32>, %w: tensor<1x16x3xf32>, %r: tensor<1x16x5xf32>) {
  // expected-error @+1 {{rows of w and the hidden size do not agree: 16 and 20}}
  %0:3 = nn.lstm %x, %w, %r {direction = #nn.direction<forward>, activations = ["sigmoid", "tanh", "tanh"], operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<5x2x3xf32>, tensor<1x16x3xf32>, tensor<1x16x5xf32>) -> (tensor<?x?x?x?xf32>, tensor<?x?x?xf32>, tensor<?x?x?xf32>)
  return
}
