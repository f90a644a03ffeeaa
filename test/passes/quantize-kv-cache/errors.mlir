// RUN: nnopt-opt --quantize-kv-cache=required=true --split-input-file --verify-diagnostics %s

// A value that a graph computes is no cache.
// expected-error @+1 {{there is no KV cache to be kept in 8 bits: no output is an input with new rows behind it that attention reads}}
func.func @main(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x?x8xf32>) -> tensor<1x2x3x8xf32> {
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<1x2x3x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// -----

// Somebody else reads the present.
// expected-warning @+2 {{the cache 'present' stays in floats: it is read by softmax}}
// expected-error @+1 {{there is no KV cache}}
func.func @main(%q: tensor<1x2x1x8xf32>, %past: tensor<1x2x?x8xf32>, %new: tensor<1x2x1x8xf32>)
    -> (tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32> {nn.name = "present"}, tensor<1x2x?x8xf32>) {
  %k = nn.concat %past, %new {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x?x8xf32>
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x1x8xf32>
  %s = nn.softmax %k {axis = 3 : i64} : (tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  return %y, %k, %s : tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>
}

// -----

// Queries, of which each step has new ones, are no keys; the other cache is rounded.
// expected-warning @+1 {{the cache 'output1' stays in floats: it is read by attention}}
func.func @main(%past: tensor<1x2x?x8xf32>, %new: tensor<1x2x1x8xf32>, %pastv: tensor<1x2x?x8xf32>) -> (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) {
  %k = nn.concat %past, %new {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x?x8xf32>
  %v = nn.concat %pastv, %new {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x?x8xf32>
  %y = nn.attention %k, %v, %v {scale = 1.0 : f64} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  return %y, %k, %v : tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>
}

// -----

// The past has another reader: it would see integers.
// expected-warning @+2 {{the cache 'output1' stays in floats: its past is read by relu}}
// expected-error @+1 {{there is no KV cache}}
func.func @main(%q: tensor<1x2x1x8xf32>, %past: tensor<1x2x?x8xf32>, %new: tensor<1x2x1x8xf32>) -> (tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) {
  %k = nn.concat %past, %new {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x?x8xf32>
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x1x8xf32>
  %r = nn.relu %past : (tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  return %y, %k, %r : tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>
}

// -----

// What grows is computed, here by a relu.
// expected-warning @+2 {{the cache 'output1' stays in floats: what grows is no input of the model}}
// expected-error @+1 {{there is no KV cache}}
func.func @main(%q: tensor<1x2x1x8xf32>, %past: tensor<1x2x?x8xf32>, %new: tensor<1x2x1x8xf32>) -> (tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>) {
  %r = nn.relu %past : (tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
  %k = nn.concat %r, %new {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x?x8xf32>
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x1x8xf32>
  return %y, %k : tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>
}

// -----

// Doubles; rows along the dimension that grows; nobody who attends.
// expected-warning @+4 {{the cache 'output1' stays in floats: it is not of 32-bit floats}}
// expected-warning @+3 {{the cache 'output2' stays in floats: it grows along its last dimension, so that rows are not of tokens}}
// expected-warning @+2 {{the cache 'output3' stays in floats: no attention reads it}}
// expected-error @+1 {{there is no KV cache}}
func.func @main(%q: tensor<1x2x1x8xf64>, %past: tensor<1x2x?x8xf64>, %new: tensor<1x2x1x8xf64>, %columns: tensor<1x2x8x?xf32>, %column: tensor<1x2x8x1xf32>,
                %rows: tensor<1x2x?x8xf32>, %row: tensor<1x2x1x8xf32>)
    -> (tensor<1x2x1x8xf64>, tensor<1x2x?x8xf64>, tensor<1x2x8x?xf32>, tensor<1x2x?x8xf32>) {
  %k = nn.concat %past, %new {axis = 2 : i64} : (tensor<1x2x?x8xf64>, tensor<1x2x1x8xf64>) -> tensor<1x2x?x8xf64>
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<1x2x1x8xf64>, tensor<1x2x?x8xf64>, tensor<1x2x?x8xf64>) -> tensor<1x2x1x8xf64>
  %c = nn.concat %columns, %column {axis = 3 : i64} : (tensor<1x2x8x?xf32>, tensor<1x2x8x1xf32>) -> tensor<1x2x8x?xf32>
  %r = nn.concat %rows, %row {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x?x8xf32>
  return %y, %k, %c, %r : tensor<1x2x1x8xf64>, tensor<1x2x?x8xf64>, tensor<1x2x8x?xf32>, tensor<1x2x?x8xf32>
}
