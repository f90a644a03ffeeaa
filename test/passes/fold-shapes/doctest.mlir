// Shape arithmetic of an exported model: split heads off the last dimension.
// RUN: nnopt-opt %s --fold-shapes --split-input-file | FileCheck %s

// CHECK-LABEL: func @split_heads
// CHECK-SAME: -> tensor<?x?x12x64xf32>
func.func @split_heads(%x: tensor<?x?x768xf32> {nn.dims = ["batch", "sequence", 768]}) -> tensor<?x?x?x?xf32> {
  // The first two dimensions are copied, so the target shape is a constant.
  // CHECK-NEXT: %[[Y:.*]] = nn.relu
  // CHECK-NEXT: %[[S:.*]] = nn.constant dense<[0, 0, 12, 64]> : tensor<4xi64>
  // CHECK-NEXT: nn.reshape %[[Y]], %[[S]]
  // CHECK-NEXT: return
  %y = nn.relu %x : (tensor<?x?x768xf32>) -> tensor<?x?x768xf32>
  %shape = nn.shape %y : (tensor<?x?x768xf32>) -> tensor<3xi64>
  %two = nn.constant dense<[0, 1]> : tensor<2xi64>
  %lead = nn.gather %shape, %two {axis = 0 : i64} : (tensor<3xi64>, tensor<2xi64>) -> tensor<2xi64>
  %heads = nn.constant dense<[12, 64]> : tensor<2xi64>
  %target = nn.concat %lead, %heads {axis = 0 : i64} : (tensor<2xi64>, tensor<2xi64>) -> tensor<4xi64>
  %r = nn.reshape %y, %target : (tensor<?x?x768xf32>, tensor<4xi64>) -> tensor<?x?x?x?xf32>
  return %r : tensor<?x?x?x?xf32>
}

// -----

// A size that is needed at run time is read off the function's arguments, so that nothing waits for %y.
// CHECK-LABEL: func @positions
func.func @positions(%x: tensor<?x?xf32> {nn.dims = ["batch", "sequence"]}) -> (tensor<?x?xf32>, tensor<?xi64>) {
  // CHECK: %[[N:.*]] = nn.shape %arg0 {end = 2 : i64, start = 1 : i64}
  // CHECK: %[[S:.*]] = nn.squeeze %[[N]]
  // CHECK: nn.range %{{.*}}, %[[S]], %{{.*}}
  %y = nn.relu %x : (tensor<?x?xf32>) -> tensor<?x?xf32>
  %shape = nn.shape %y : (tensor<?x?xf32>) -> tensor<2xi64>
  %one = nn.constant dense<1> : tensor<i64>
  %zero = nn.constant dense<0> : tensor<i64>
  %n = nn.gather %shape, %one {axis = 0 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %r = nn.range %zero, %n, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  return %y, %r : tensor<?x?xf32>, tensor<?xi64>
}

// -----

// The rank is known, so is the branch.
// CHECK-LABEL: func @known_branch
func.func @known_branch(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK-NOT: nn.if
  // CHECK: nn.exp
  // CHECK-NOT: nn.relu
  %shape = nn.shape %x {start = 1 : i64} : (tensor<?x4xf32>) -> tensor<1xi64>
  %four = nn.constant dense<4> : tensor<1xi64>
  %eq = nn.equal %shape, %four : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi1>
  %y = nn.if %eq : (tensor<1xi1>) -> tensor<?x4xf32> {
    %0 = nn.exp %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
    nn.yield %0 : tensor<?x4xf32>
  } else {
    %0 = nn.relu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
    nn.yield %0 : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// Operations that give back their operand.
// CHECK-LABEL: func @nothing_done
func.func @nothing_done(%x: tensor<?x4xf32> {nn.dims = ["n", 4]}) -> tensor<?x4xf32> {
  // CHECK-NEXT: return %arg0
  %c0 = nn.constant dense<0> : tensor<1xi64>
  %c1 = nn.constant dense<1> : tensor<1xi64>
  %end = nn.constant dense<9223372036854775807> : tensor<1xi64>
  %ones = nn.constant dense<1> : tensor<2xi64>
  %pads = nn.constant dense<0> : tensor<4xi64>
  %0 = nn.slice %x[%c0 : %end axes %c1] : (tensor<?x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4xf32>
  %1 = nn.expand %0, %ones : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %2 = nn.tile %1, %ones : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %3 = nn.pad %2, %pads {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 0, 0>}
    : (tensor<?x4xf32>, tensor<4xi64>) -> tensor<?x4xf32>
  %4 = nn.unsqueeze %3 {axes = array<i64: 0>} : (tensor<?x4xf32>) -> tensor<1x?x4xf32>
  %5 = nn.reduce %4 {kind = #nn.reduce_kind<sum>, axes = array<i64: 0>, keep_dims = false} : (tensor<1x?x4xf32>) -> tensor<?x4xf32>
  return %5 : tensor<?x4xf32>
}

// -----

// Elementwise operations broadcast: the expanded copy is not needed.
// CHECK-LABEL: func @expand
func.func @expand(%x: tensor<?x4xf32> {nn.dims = ["n", 4]}, %v: tensor<1x4xf32>) -> tensor<?x4xf32> {
  // CHECK-NEXT: nn.add %arg0, %arg1
  %shape = nn.shape %x : (tensor<?x4xf32>) -> tensor<2xi64>
  %wide = nn.expand %v, %shape : (tensor<1x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %y = nn.add %x, %wide : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// So do matrix products, in their batch dimensions.
// CHECK-LABEL: func @expand_matmul
func.func @expand_matmul(%x: tensor<?x4x5xf32> {nn.dims = ["n", 4, 5]}, %v: tensor<1x5x6xf32>) -> tensor<?x4x6xf32> {
  // CHECK-NEXT: nn.matmul %arg0, %arg1
  %size = nn.shape %x {start = 0 : i64, end = 1 : i64} : (tensor<?x4x5xf32>) -> tensor<1xi64>
  %rest = nn.constant dense<[5, 6]> : tensor<2xi64>
  %shape = nn.concat %size, %rest {axis = 0 : i64} : (tensor<1xi64>, tensor<2xi64>) -> tensor<3xi64>
  %wide = nn.expand %v, %shape : (tensor<1x5x6xf32>, tensor<3xi64>) -> tensor<?x5x6xf32>
  %y = nn.matmul %x, %wide : (tensor<?x4x5xf32>, tensor<?x5x6xf32>) -> tensor<?x4x6xf32>
  return %y : tensor<?x4x6xf32>
}
