// Branches of all forms.
// RUN: nnopt-opt %s --merge-parallel-convs --split-input-file | FileCheck %s

// The identity is depthwise: the merged kernel stays depthwise.
// CHECK-LABEL: func @depthwise_and_identity(
// CHECK: nn.constant dense<{{\[\[}}[1.000000e+00, 3.000000e+00, 3.000000e+00]], {{\[\[}}4.000000e+00, 6.000000e+00, 6.000000e+00]]]> : tensor<2x1x3xf32>
// CHECK: nn.conv {{.*}}group = 2
// CHECK-NOT: nn.add
func.func @depthwise_and_identity(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<[[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]]> : tensor<2x1x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 2 : i64}
    : (tensor<1x2x8xf32>, tensor<2x1x3xf32>) -> tensor<1x2x8xf32>
  %2 = nn.add %0, %x : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// Two groups become blocks of one.
// CHECK-LABEL: func @grouped_and_dense(
// CHECK: nn.constant dense<{{\[\[}}[3.000000e+00], [3.000000e+00], [2.000000e+00], [2.000000e+00]]
// CHECK: nn.conv {{.*}}group = 1
// CHECK-NOT: nn.add
func.func @grouped_and_dense(%x: tensor<1x4x8xf32>) -> (tensor<1x4x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<4x2x1xf32>
  %v = nn.constant dense<2.0> : tensor<4x4x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<4x2x1xf32>) -> tensor<1x4x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x4x8xf32>, tensor<4x4x1xf32>) -> tensor<1x4x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  return %2 : tensor<1x4x8xf32>
}

// -----

// CHECK-LABEL: func @subtraction(
// CHECK: nn.constant dense<-2.000000e+00> : tensor<2x2x1xf32>
// CHECK: nn.conv
// CHECK-NOT: nn.sub
func.func @subtraction(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %v = nn.constant dense<3.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.sub %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// A dilated kernel is a larger one with gaps.
// CHECK-LABEL: func @dilated(
// CHECK: nn.constant dense<{{\[\[}}[3.000000e+00, 1.000000e+00, 4.000000e+00, 1.000000e+00, 5.000000e+00]]]>
// CHECK: nn.conv {{.*}}dilations = array<i64: 1>{{.*}}pads = array<i64: 2, 2>
// CHECK-NOT: nn.add
func.func @dilated(%x: tensor<1x1x16xf32>) -> (tensor<1x1x16xf32>) {
  %w = nn.constant dense<1.0> : tensor<1x1x5xf32>
  %v = nn.constant dense<[[[2.0, 3.0, 4.0]]]> : tensor<1x1x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 2, 2>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x16xf32>, tensor<1x1x5xf32>) -> tensor<1x1x16xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 2, 2>, dilations = array<i64: 2>, group = 1 : i64}
    : (tensor<1x1x16xf32>, tensor<1x1x3xf32>) -> tensor<1x1x16xf32>
  %2 = nn.add %0, %1 : (tensor<1x1x16xf32>, tensor<1x1x16xf32>) -> tensor<1x1x16xf32>
  return %2 : tensor<1x1x16xf32>
}

// -----

// Taps on a common grid stay dilated.
// CHECK-LABEL: func @common_grid(
// CHECK: nn.constant dense<{{\[\[}}[2.000000e+00, 4.000000e+00, 4.000000e+00]]]>
// CHECK: nn.conv {{.*}}dilations = array<i64: 2>
// CHECK-NOT: nn.add
func.func @common_grid(%x: tensor<1x1x16xf32>) -> (tensor<1x1x16xf32>) {
  %w = nn.constant dense<[[[2.0, 3.0, 4.0]]]> : tensor<1x1x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 2, 2>, dilations = array<i64: 2>, group = 1 : i64}
    : (tensor<1x1x16xf32>, tensor<1x1x3xf32>) -> tensor<1x1x16xf32>
  %2 = nn.add %0, %x : (tensor<1x1x16xf32>, tensor<1x1x16xf32>) -> tensor<1x1x16xf32>
  return %2 : tensor<1x1x16xf32>
}

// -----

// The shortcut reads where the middle tap does.
// CHECK-LABEL: func @stride_two(
// CHECK: nn.constant dense<{{\[\[}}[1.000000e+00, 7.000000e+00, 3.000000e+00]]]>
// CHECK: nn.conv {{.*}}pads = array<i64: 1, 1>, strides = array<i64: 2>
// CHECK-NOT: nn.add
func.func @stride_two(%x: tensor<1x1x8xf32>) -> (tensor<1x1x4xf32>) {
  %w = nn.constant dense<[[[1.0, 2.0, 3.0]]]> : tensor<1x1x3xf32>
  %v = nn.constant dense<5.0> : tensor<1x1x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 2>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x3xf32>) -> tensor<1x1x4xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 2>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x4xf32>
  %2 = nn.add %0, %1 : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  return %2 : tensor<1x1x4xf32>
}

// -----

// Each kernel stands where its own padding puts it.
// CHECK-LABEL: func @asymmetric(
// CHECK: nn.constant dense<{{\[\[}}[1.000000e+00, 7.000000e+00, 9.000000e+00]]]>
// CHECK: nn.conv {{.*}}pads = array<i64: 1, 1>
// CHECK-NOT: nn.add
func.func @asymmetric(%x: tensor<1x1x8xf32>) -> (tensor<1x1x8xf32>) {
  %w = nn.constant dense<[[[1.0, 2.0, 3.0]]]> : tensor<1x1x3xf32>
  %v = nn.constant dense<[[[5.0, 6.0]]]> : tensor<1x1x2xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x3xf32>) -> tensor<1x1x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x1x8xf32>, tensor<1x1x2xf32>) -> tensor<1x1x8xf32>
  %2 = nn.add %0, %1 : (tensor<1x1x8xf32>, tensor<1x1x8xf32>) -> tensor<1x1x8xf32>
  return %2 : tensor<1x1x8xf32>
}

// -----

// CHECK-LABEL: func @pooling(
// CHECK: nn.constant dense<1.33333337> : tensor<2x1x3xf32>
// CHECK: nn.conv
// CHECK-NOT: nn.avg_pool
func.func @pooling(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x1x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 2 : i64}
    : (tensor<1x2x8xf32>, tensor<2x1x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.avg_pool %x {kernel = array<i64: 3>, strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, count_include_pad}
    : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %3 = nn.add %0, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// 1x1, then 3x3 (without a bias between, padding is 0 in both).
// CHECK-LABEL: func @sequence(
// CHECK: nn.constant dense<1.300000e+01> : tensor<2x2x3xf32>
// CHECK: nn.conv
// CHECK-NOT: nn.conv
// CHECK: return
func.func @sequence(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  %u = nn.constant dense<3.0> : tensor<2x2x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %1, %u {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %3 = nn.add %0, %2 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// What is padded with is what the 1x1 gives for zeros (Diverse Branch Block): 3 taps * (1 + 2).
// CHECK-LABEL: func @padding_by_the_bias(
// CHECK-DAG: nn.constant dense<5.000000e+00> : tensor<2x2x3xf32>
// CHECK-DAG: nn.constant dense<9.000000e+00> : tensor<2xf32>
// CHECK: nn.conv
// CHECK-NOT: nn.conv
// CHECK: return
func.func @padding_by_the_bias(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<2.0> : tensor<2x2x1xf32>
  %b = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %u = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %p = nn.constant dense<[0, 0, 1, 0, 0, 1]> : tensor<6xi64>
  %c = nn.constant dense<[[[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]]]> : tensor<1x2x10xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v bias %b {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>, tensor<2xf32>) -> tensor<1x2x8xf32>
  %2 = nn.pad %1, %p {mode = #nn.pad_mode<constant>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x8xf32>, tensor<6xi64>) -> tensor<1x2x10xf32>
  %3 = nn.add %2, %c : (tensor<1x2x10xf32>, tensor<1x2x10xf32>) -> tensor<1x2x10xf32>
  %4 = nn.conv %3, %u {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x10xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %5 = nn.add %0, %4 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %5 : tensor<1x2x8xf32>
}

// -----

// A 1x1 and a constant depthwise edge filter beside a 3x3 (ECBSR).
// CHECK-LABEL: func @edge_filter(
// CHECK: nn.constant dense<{{\[\[}}[2.000000e+00, 1.000000e+00, 0.000000e+00], [3.000000e+00, 1.000000e+00, -1.000000e+00]], {{\[\[}}7.000000e+00, 1.000000e+00, -5.000000e+00], [9.000000e+00, 1.000000e+00, -7.000000e+00]]]>
// CHECK: nn.conv
// CHECK-NOT: nn.conv
// CHECK: return
func.func @edge_filter(%x: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x3xf32>
  %v = nn.constant dense<[[[1.0], [2.0]], [[3.0], [4.0]]]> : tensor<2x2x1xf32>
  %u = nn.constant dense<[[[1.0, 0.0, -1.0]], [[2.0, 0.0, -2.0]]]> : tensor<2x1x3xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %v {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.conv %1, %u {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, group = 2 : i64}
    : (tensor<1x2x8xf32>, tensor<2x1x3xf32>) -> tensor<1x2x8xf32>
  %3 = nn.add %0, %2 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// -----

// Further terms of the sum stay.
// CHECK-LABEL: func @other_terms(
// CHECK: %[[Y:.*]] = nn.conv
// CHECK-NEXT: %[[Z:.*]] = nn.add %[[Y]], %arg1
// CHECK-NEXT: return %[[Z]]
func.func @other_terms(%x: tensor<1x2x8xf32>, %z: tensor<1x2x8xf32>) -> (tensor<1x2x8xf32>) {
  %w = nn.constant dense<1.0> : tensor<2x2x1xf32>
  %0 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %2 = nn.add %0, %z : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %1 = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, group = 1 : i64}
    : (tensor<1x2x8xf32>, tensor<2x2x1xf32>) -> tensor<1x2x8xf32>
  %4 = nn.add %2, %1 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %4 : tensor<1x2x8xf32>
}

// -----

// Two products of the same rows: a low-rank adapter beside its weight.
// CHECK-LABEL: func @adapter(
// CHECK: nn.constant dense<3.000000e+00> : tensor<4x4xf32>
// CHECK: %[[Y:.*]] = nn.matmul %arg0
// CHECK-NEXT: return %[[Y]]
func.func @adapter(%x: tensor<?x4xf32> {nn.dims = ["n", 4]}) -> tensor<?x4xf32> {
  %w = nn.constant dense<1.0> : tensor<4x4xf32>
  %a = nn.constant dense<2.0> : tensor<4x1xf32>
  %b = nn.constant dense<1.0> : tensor<1x4xf32>
  %0 = nn.matmul %x, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %1 = nn.matmul %x, %a : (tensor<?x4xf32>, tensor<4x1xf32>) -> tensor<?x1xf32>
  %2 = nn.matmul %1, %b : (tensor<?x1xf32>, tensor<1x4xf32>) -> tensor<?x4xf32>
  %3 = nn.add %0, %2 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %3 : tensor<?x4xf32>
}
