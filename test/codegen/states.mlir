// Outputs that append to an input: what is read through strides has room behind it (Lowering::planStates).
// RUN: split-file %s %t
// RUN: nnopt-compile %t/appends.mlir --emit=exec | FileCheck %s --check-prefix=APPENDS
// RUN: nnopt-compile %t/appends.mlir --emit=exec --opt=0 | FileCheck %s --check-prefix=NOTHING
// RUN: nnopt-compile %t/appends.mlir --kv-cache=int8 --emit=exec | FileCheck %s --check-prefix=BYTES
// RUN: nnopt-compile %t/read.mlir --emit=exec | FileCheck %s --check-prefix=NOTHING
// RUN: nnopt-compile %t/front.mlir --emit=exec | FileCheck %s --check-prefix=NOTHING

// APPENDS: state 0: output1 appends to input1 along axis 2
// The old part is copied only where the state is not bound.
// APPENDS: launch concat{{.*}}(input1, out output1{{.*}}) tasks {{.*}}state 0 copies
// APPENDS: launch concat{{.*}}(input2, out output1{{.*}}state 0 capacity
// APPENDS: launch attention
// Bytes and their scales append, each to its own input; attention reads them where they are.
// BYTES: state 0: output1 appends to input1 along axis 2
// BYTES: state 1: output2 appends to input3 along axis 2
// BYTES-NOT: dequantize
// BYTES: launch attention{{.*}}output1{{.*}}output2
// NOTHING-NOT: state 0

//--- appends.mlir
func.func @main(%q: tensor<?x2x?x8xf32> {nn.dims = ["batch", 2, "step", 8]}, %past: tensor<?x2x?x8xf32> {nn.dims = ["batch", 2, "length", 8]},
                %new: tensor<?x2x?x8xf32> {nn.dims = ["batch", 2, "step", 8]}) -> (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) {
  %k = nn.concat %past, %new {axis = 2 : i64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  return %y, %k : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>
}

//--- read.mlir
// Somebody else reads the present as a dense array.
func.func @main(%q: tensor<?x2x?x8xf32> {nn.dims = ["batch", 2, "step", 8]}, %past: tensor<?x2x?x8xf32> {nn.dims = ["batch", 2, "length", 8]},
                %new: tensor<?x2x?x8xf32> {nn.dims = ["batch", 2, "step", 8]}) -> (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) {
  %k = nn.concat %past, %new {axis = 2 : i64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  %s = nn.softmax %k {axis = 3 : i64} : (tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  return %y, %k, %s : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>
}

//--- front.mlir
// What is new comes first: the past would have to move.
func.func @main(%q: tensor<?x2x?x8xf32> {nn.dims = ["batch", 2, "step", 8]}, %past: tensor<?x2x?x8xf32> {nn.dims = ["batch", 2, "length", 8]},
                %new: tensor<?x2x?x8xf32> {nn.dims = ["batch", 2, "step", 8]}) -> (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) {
  %n = nn.relu %new : (tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  %k = nn.concat %n, %past {axis = 2 : i64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  return %y, %k : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>
}
