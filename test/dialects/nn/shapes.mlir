// Shape functions on symbolic dimensions; declared result types have the right rank only.
// RUN: nnopt-opt %s --infer-shapes="show=true" --split-input-file -verify-diagnostics

func.func @elementwise(%a: tensor<?x1xf32> {nn.dims = ["n", 1]}, %b: tensor<?xf32> {nn.dims = ["m"]},
                       %c: tensor<?xf32> {nn.dims = ["n"]}) {
  // expected-remark @+1 {{[n, m]}}
  %0 = nn.add %a, %b : (tensor<?x1xf32>, tensor<?xf32>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[broadcast(n, m)]}}
  %1 = nn.mul %b, %c : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  // expected-remark @+1 {{[n]}}
  %2 = nn.less %c, %c : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xi1>
  return
}

// -----

func.func @reshapes(%x: tensor<?x?x6xf32> {nn.dims = ["n", "m", 6]}) {
  // expected-remark @+1 {{[n, 6*m]}}
  %0 = nn.flatten %x {axis = 1 : i64} : (tensor<?x?x6xf32>) -> tensor<?x?xf32>
  %s = nn.constant dense<[0, -1, 2]> : tensor<3xi64>
  // expected-remark @+1 {{[n, 3*m, 2]}}
  %1 = nn.reshape %x, %s : (tensor<?x?x6xf32>, tensor<3xi64>) -> tensor<?x?x?xf32>
  %s2 = nn.constant dense<[-1, 6]> : tensor<2xi64>
  // expected-remark @+1 {{[n*m, 6]}}
  %2 = nn.reshape %x, %s2 : (tensor<?x?x6xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[1, n, m, 6, 1]}}
  %3 = nn.unsqueeze %x {axes = array<i64: 0, 4>} : (tensor<?x?x6xf32>) -> tensor<?x?x?x?x?xf32>
  // expected-remark @+1 {{[n, m, 6]}}
  %4 = nn.squeeze %3 {axes = array<i64: 4, 0>} : (tensor<?x?x?x?x?xf32>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[] = [6*n*m]}}
  %5 = nn.size %x : (tensor<?x?x6xf32>) -> tensor<i64>
  return
}

// -----

// Only some elements of the shape are known; the rest is what the result type says, or new.
func.func @partial_shapes(%x: tensor<?xf32> {nn.dims = ["n"]}, %k: tensor<1xi64>) {
  %c = nn.constant dense<64> : tensor<1xi64>
  // expected-remark @+1 {{[2]}}
  %s = nn.concat %k, %c {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  // expected-remark @+1 {{[reshape, 64]}}
  %0 = nn.reshape %x, %s : (tensor<?xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[8, 64]}}
  %1 = nn.reshape %x, %s : (tensor<?xf32>, tensor<2xi64>) -> tensor<8x?xf32>
  // expected-remark @+1 {{[constant_of_shape, 64]}}
  %2 = nn.constant_of_shape %s {value = dense<0.0> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @movement(%x: tensor<?x8xf32> {nn.dims = ["n", 8]}, %y: tensor<?x8xf32> {nn.dims = ["m", 8]}) {
  // expected-remark @+1 {{[8, n]}}
  %0 = nn.transpose %x {perm = array<i64: 1, 0>} : (tensor<?x8xf32>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[2*n + m, 8]}}
  %1 = nn.concat %x, %y, %x {axis = 0 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[n, 3]; [n, 3]; [n, 2]}}
  %2:3 = nn.split %x {axis = 1 : i64} : (tensor<?x8xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>, tensor<?x?xf32>)
  %r = nn.constant dense<[2, 3]> : tensor<2xi64>
  // expected-remark @+1 {{[2*n, 24]}}
  %3 = nn.tile %x, %r : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  %p = nn.constant dense<[1, 0, 2, -3]> : tensor<4xi64>
  // expected-remark @+1 {{[n + 3, 5]}}
  %4 = nn.pad %x, %p {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x8xf32>, tensor<4xi64>) -> tensor<?x?xf32>
  %e = nn.constant dense<[5, 1, 8]> : tensor<3xi64>
  // expected-remark @+1 {{[5, n, 8]}}
  %5 = nn.expand %x, %e : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x?x?xf32>
  return
}

// -----

func.func @slices(%x: tensor<?x8xf32> {nn.dims = ["n", 8]}) {
  %zero = nn.constant dense<0> : tensor<1xi64>
  %one = nn.constant dense<1> : tensor<1xi64>
  %two = nn.constant dense<2> : tensor<1xi64>
  %minus = nn.constant dense<-1> : tensor<1xi64>
  %end = nn.constant dense<9223372036854775807> : tensor<1xi64>
  %begin = nn.constant dense<-9223372036854775807> : tensor<1xi64>
  // expected-remark @+1 {{[max(0, n - 1), 8]}}
  %0 = nn.slice %x[%one : %end] : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[n, 8]}}
  %1 = nn.slice %x[%zero : %end] : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[n, 7]}}
  %2 = nn.slice %x[%zero : %minus axes %one] : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[n, 4]}}
  %3 = nn.slice %x[%zero : %end axes %minus steps %two] : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  // All in reverse.
  // expected-remark @+1 {{[n, 8]}}
  %4 = nn.slice %x[%minus : %begin axes %zero steps %minus] : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  // The first n - 1 and the last n - 1 are as many, so are the first and the last two.
  // expected-remark @+1 {{[max(0, n - 1), 8]}}
  %6 = nn.slice %x[%zero : %minus] : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  %minus2 = nn.constant dense<-2> : tensor<1xi64>
  // expected-remark @+1 {{[min(2, n), 8]}}
  %7 = nn.slice %x[%minus2 : %end] : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[min(2, n), 8]}}
  %5 = nn.slice %x[%zero : %two] : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @indexing(%x: tensor<?x8xf32> {nn.dims = ["n", 8]}, %i: tensor<?x3xi64> {nn.dims = ["m", 3]}, %v: tensor<2xf32>) {
  // expected-remark @+1 {{[m, 3, 8]}}
  %0 = nn.gather %x, %i {axis = 0 : i64} : (tensor<?x8xf32>, tensor<?x3xi64>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[m, 3]}}
  %1 = nn.gather_elements %x, %i {axis = 1 : i64} : (tensor<?x8xf32>, tensor<?x3xi64>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[m, 3, 1]}}
  %2 = nn.unsqueeze %i {axes = array<i64: 2>} : (tensor<?x3xi64>) -> tensor<?x?x?xi64>
  // expected-remark @+1 {{[m, 3, 8]}}
  %3 = nn.gather_nd %x, %2 : (tensor<?x8xf32>, tensor<?x?x?xi64>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[n, 8]}}
  %4 = nn.scatter_nd %x, %2, %3 {reduction = #nn.scatter_reduction<none>} : (tensor<?x8xf32>, tensor<?x?x?xi64>, tensor<?x?x?xf32>) -> tensor<?x?xf32>
  %d = nn.constant dense<10> : tensor<i64>
  // expected-remark @+1 {{[m, 10, 3]}}
  %5 = nn.one_hot %i, %d, %v {axis = 1 : i64} : (tensor<?x3xi64>, tensor<i64>, tensor<2xf32>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[2, nonzero]}}
  %6 = nn.non_zero %x : (tensor<?x8xf32>) -> tensor<?x?xi64>
  return
}

// -----

func.func @images(%x: tensor<?x12x?x?xf32> {nn.dims = ["n", 12, "h", "w"]}) {
  // expected-remark @+1 {{[n, 3, 2*h, 2*w]}}
  %0 = nn.depth_to_space %x {blocksize = 2 : i64} : (tensor<?x12x?x?xf32>) -> tensor<?x?x?x?xf32>
  // expected-remark @+1 {{[n, 12, h, w]}}
  %1 = nn.space_to_depth %0 {blocksize = 2 : i64} : (tensor<?x?x?x?xf32>) -> tensor<?x?x?x?xf32>
  %s = nn.constant dense<[1.0, 1.0, 2.0, 0.5]> : tensor<4xf32>
  // expected-remark @+1 {{[n, 12, 2*h, (w floordiv 2)]}}
  %2 = nn.resize %x, %s {mode = #nn.resize_mode<nearest>, coordinates = #nn.coordinate_mode<asymmetric>, nearest = #nn.nearest_mode<floor>, cubic_coeff_a = -0.75 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x12x?x?xf32>, tensor<4xf32>) -> tensor<?x?x?x?xf32>
  // Halved twice, rounding up, then pooled to the floor.
  // expected-remark @+1 {{[n, 12, ((h + 1) floordiv 2), ((w + 1) floordiv 2)]}}
  %3 = nn.max_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<?x12x?x?xf32>) -> tensor<?x?x?x?xf32>
  // expected-remark @+1 {{[n, 12, (h floordiv 2), (w floordiv 2)]}}
  %4 = nn.avg_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<?x12x?x?xf32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

// Ceil mode drops a window that would start in the padding on the right: 3, not 4.
func.func @ceil_mode(%x: tensor<1x1x5xf32>) {
  // expected-remark @+1 {{[1, 1, 3]; [1, 1, 3]}}
  %0:2 = nn.max_pool %x {kernel = array<i64: 1>, strides = array<i64: 2>, pads = array<i64: 0, 2>, dilations = array<i64: 1>, ceil_mode} : (tensor<1x1x5xf32>) -> (tensor<?x?x?xf32>, tensor<?x?x?xi64>)
  // expected-remark @+1 {{[1, 1, 3]}}
  %1 = nn.max_pool %x {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, ceil_mode} : (tensor<1x1x5xf32>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[1, 1, 2]}}
  %2 = nn.max_pool %x {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : (tensor<1x1x5xf32>) -> tensor<?x?x?xf32>
  return
}

// -----

func.func @contractions(%x: tensor<?x3x?x32xf32> {nn.dims = ["n", 3, "h", 32]}, %w: tensor<8x3x3x3xf32>, %t: tensor<3x4x2x2xf32>,
                        %l: tensor<?x32x?x3xf32> {nn.dims = ["n", 32, "h", 3]}) {
  // expected-remark @+1 {{[n, 8, h, 16]}}
  %0 = nn.conv %x, %w {strides = array<i64: 1, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64} : (tensor<?x3x?x32xf32>, tensor<8x3x3x3xf32>) -> tensor<?x?x?x?xf32>
  // expected-remark @+1 {{[n, 16, h, 8]}}
  %1 = nn.conv %l, %w {strides = array<i64: 2, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64, channels_last} : (tensor<?x32x?x3xf32>, tensor<8x3x3x3xf32>) -> tensor<?x?x?x?xf32>
  // expected-remark @+1 {{[n, 4, 2*h, 65]}}
  %2 = nn.conv_transpose %x, %t {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, output_padding = array<i64: 0, 1>, group = 1 : i64} : (tensor<?x3x?x32xf32>, tensor<3x4x2x2xf32>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @products(%a: tensor<?x?x8xf32> {nn.dims = ["b", "s", 8]}, %w: tensor<8x5xf32>, %v: tensor<8xf32>, %q: tensor<4x8xi8>) {
  // expected-remark @+1 {{[b, s, 5]}}
  %0 = nn.matmul %a, %w : (tensor<?x?x8xf32>, tensor<8x5xf32>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[b, s]}}
  %1 = nn.matmul %a, %v : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[b, s, s]}}
  %2 = nn.matmul %a, %a {transpose_b} : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[]}}
  %3 = nn.matmul %v, %v : (tensor<8xf32>, tensor<8xf32>) -> tensor<f32>
  // expected-remark @+1 {{[s, 5, b]}}
  %4 = nn.einsum %a, %w {equation = "bij,jk->ikb"} : (tensor<?x?x8xf32>, tensor<8x5xf32>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[b, s, 5]}}
  %5 = nn.einsum %a, %w {equation = "...j,jk->...k"} : (tensor<?x?x8xf32>, tensor<8x5xf32>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[4, 4]}}
  %6 = nn.matmul %q, %q {transpose_b} : (tensor<4x8xi8>, tensor<4x8xi8>) -> tensor<4x4xi32>
  return
}

// -----

func.func @reductions(%x: tensor<?x4x?xf32> {nn.dims = ["n", 4, "m"]}, %ax: tensor<1xi64>, %w: tensor<2x16x7xf32>, %r: tensor<2x16x4xf32>, %s: tensor<?x?x7xf32> {nn.dims = ["t", "n", 7]}) {
  // expected-remark @+1 {{[n, m]}}
  %0 = nn.reduce %x {axes = array<i64: 1>, keep_dims = false, kind = #nn.reduce_kind<sum>} : (tensor<?x4x?xf32>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[1, 1, 1]}}
  %1 = nn.reduce %x {keep_dims = true, kind = #nn.reduce_kind<mean>} : (tensor<?x4x?xf32>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[reduce, reduce_1, reduce_2]}}
  %2 = nn.reduce %x, %ax {keep_dims = true, kind = #nn.reduce_kind<max>} : (tensor<?x4x?xf32>, tensor<1xi64>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[n, 4]}}
  %3 = nn.arg_reduce %x {axis = 2 : i64, keep_dims = false, max} : (tensor<?x4x?xf32>) -> tensor<?x?xi64>
  %k = nn.constant dense<2> : tensor<1xi64>
  // expected-remark @+1 {{[n, 2, m]; [n, 2, m]}}
  %4:2 = nn.topk %x, %k {axis = 1 : i64, largest} : (tensor<?x4x?xf32>, tensor<1xi64>) -> (tensor<?x?x?xf32>, tensor<?x?x?xi64>)
  // expected-remark @+1 {{[t, 2, n, 4]; [2, n, 4]; [2, n, 4]}}
  %5:3 = nn.lstm %s, %w, %r {direction = #nn.direction<bidirectional>, activations = ["sigmoid", "tanh", "tanh", "sigmoid", "tanh", "tanh"], operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<?x?x7xf32>, tensor<2x16x7xf32>, tensor<2x16x4xf32>) -> (tensor<?x?x?x?xf32>, tensor<?x?x?xf32>, tensor<?x?x?xf32>)
  return
}

// -----

func.func @counted(%x: tensor<?x4x3xf32> {nn.dims = ["n", 4, 3]}, %boxes: tensor<?x9x4xf32> {nn.dims = ["n", 9, 4]}, %scores: tensor<?x2x9xf32> {nn.dims = ["n", 2, 9]}) {
  // expected-remark @+1 {{[unique]; [unique]; [12*n]; [unique]}}
  %0:4 = nn.unique %x {sorted} : (tensor<?x4x3xf32>) -> (tensor<?xf32>, tensor<?xi64>, tensor<?xi64>, tensor<?xi64>)
  // expected-remark @+1 {{[n, unique_1, 3]; [unique_1]; [4]; [unique_1]}}
  %1:4 = nn.unique %x {axis = 1 : i64} : (tensor<?x4x3xf32>) -> (tensor<?x?x?xf32>, tensor<?xi64>, tensor<?xi64>, tensor<?xi64>)
  // expected-remark @+1 {{[selected, 3]}}
  %2 = nn.non_max_suppression %boxes, %scores {operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>} : (tensor<?x9x4xf32>, tensor<?x2x9xf32>) -> tensor<?x3xi64>
  return
}

// -----

func.func @random(%x: tensor<?x3xf32> {nn.dims = ["n", 3]}) {
  // expected-remark @+1 {{[2]}}
  %key = nn.random_key {stream = 0 : i64} : () -> tensor<2xi64>
  // expected-remark @+1 {{[2]}}
  %s = nn.shape %x : (tensor<?x3xf32>) -> tensor<2xi64>
  // expected-remark @+1 {{[n, 3]}}
  %0 = nn.random %key, %s {distribution = #nn.distribution<normal>, element = f32} : (tensor<2xi64>, tensor<2xi64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @linear_attention(%q: tensor<?x?x24xf32> {nn.dims = ["b", "t", 24]}, %k: tensor<?x?x12xf32> {nn.dims = ["b", "t", 12]}, %v: tensor<?x?x10xf32> {nn.dims = ["b", "t", 10]}) {
  // expected-remark @+1 {{[b, t, 20]; [b, 2, 6, 5]}}
  %0:2 = nn.linear_attention %q, %k, %v {heads = 4 : i64, key_heads = 2 : i64, scale = 1.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0>} : (tensor<?x?x24xf32>, tensor<?x?x12xf32>, tensor<?x?x10xf32>) -> (tensor<?x?x?xf32>, tensor<?x?x?x?xf32>)
  return
}

// -----

func.func @moe(%x: tensor<?x?x8xf32> {nn.dims = ["b", "t", 8]}, %score: tensor<?x?x4xf32> {nn.dims = ["b", "t", 4]}, %w1: tensor<4x16x8xf32>, %w2: tensor<4x5x16xf32>) {
  // expected-remark @+1 {{[b, t, 5]}}
  %0 = nn.moe %x score %score w1 %w1 w2 %w2 : (tensor<?x?x8xf32>, tensor<4x16x8xf32>, tensor<4x5x16xf32>, tensor<?x?x4xf32>) -> tensor<?x?x?xf32> {
  ^bb0(%h: f32):
    nn.yield %h : f32
  }
  return
}
