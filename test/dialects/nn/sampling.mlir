// Shapes of operations that sample images and signals; declared result types have the right rank only.
// RUN: nnopt-opt %s --infer-shapes="show=true" --split-input-file -verify-diagnostics

func.func @images(%x: tensor<?x8x?x?xf32> {nn.dims = ["n", 8, "h", "w"]},
                  %grid: tensor<?x?x7x2xf32> {nn.dims = ["n", "oh", 7, 2]},
                  %i: tensor<?x8x?x?xi64> {nn.dims = ["n", 8, "h", "w"]},
                  %rois: tensor<?x4xf32> {nn.dims = ["r", 4]}, %images: tensor<?xi64> {nn.dims = ["r"]}) {
  // expected-remark @+1 {{[n, 8, oh, 7]}}
  %0 = nn.grid_sample %x, %grid {mode = #nn.resize_mode<linear>, padding = #nn.sample_padding<zeros>} : (tensor<?x8x?x?xf32>, tensor<?x?x7x2xf32>) -> tensor<?x?x?x?xf32>
  // expected-remark @+1 {{[r, 8, 3, 5]}}
  %1 = nn.roi_align %x, %rois, %images {height = 3 : i64, width = 5 : i64, sampling_ratio = 2 : i64, spatial_scale = 0.25 : f64} : (tensor<?x8x?x?xf32>, tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x?x?x?xf32>
  // expected-remark @+1 {{[n, 8, 2*h - 1, 2*w - 1]}}
  %2 = nn.max_unpool %x, %i {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>} : (tensor<?x8x?x?xf32>, tensor<?x8x?x?xi64>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @deform(%x: tensor<?x4x?x?xf32> {nn.dims = ["n", 4, "h", "w"]},
                  %offset: tensor<?x18x?x?xf32> {nn.dims = ["n", 18, "h", "w"]}) {
  // expected-remark @+1 {{[n, 36, h*w]}}
  %0 = nn.deform_sample %x, %offset {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, offset_group = 1 : i64} : (tensor<?x4x?x?xf32>, tensor<?x18x?x?xf32>) -> tensor<?x?x?xf32>
  return
}

// -----

func.func @blocks(%x: tensor<?x12x?xf32> {nn.dims = ["n", 12, "l"]}, %shape: tensor<2xi64>) {
  %image = nn.constant dense<[6, 8]> : tensor<2xi64>
  %block = nn.constant dense<[2, 3]> : tensor<2xi64>
  // expected-remark @+1 {{[n, 2, 6, 8]}}
  %0 = nn.col2im %x, %image, %block {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<?x12x?xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<?x?x?x?xf32>
  // expected-remark @+1 {{[n, 2, col2im, col2im_1]}}
  %1 = nn.col2im %x, %shape, %block {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<?x12x?xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<?x?x?x?xf32>
  return
}

// -----

func.func @transforms(%x: tensor<?x?x1xf32> {nn.dims = ["b", "t", 1]}, %c: tensor<?x?x2xf32> {nn.dims = ["b", "k", 2]},
                      %axis: tensor<i64>) {
  %one = nn.constant dense<1> : tensor<i64>
  %n = nn.constant dense<400> : tensor<i64>
  // expected-remark @+1 {{[b, t, 2]}}
  %0 = nn.dft %x, %one : (tensor<?x?x1xf32>, tensor<i64>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[b, (t floordiv 2) + 1, 2]}}
  %1 = nn.dft %x, %one {onesided} : (tensor<?x?x1xf32>, tensor<i64>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[b, 201, 2]}}
  %2 = nn.dft %x, %n, %one {onesided} : (tensor<?x?x1xf32>, tensor<i64>, tensor<i64>) -> tensor<?x?x?xf32>
  // expected-remark @+1 {{[b, 2*k - 2, 1]}}
  %3 = nn.dft %c, %one {inverse, onesided} : (tensor<?x?x2xf32>, tensor<i64>) -> tensor<?x?x?xf32>
  // Without a length or half of the result the axis does not matter.
  // expected-remark @+1 {{[b, t, 2]}}
  %4 = nn.dft %x, %axis : (tensor<?x?x1xf32>, tensor<i64>) -> tensor<?x?x?xf32>
  return
}

// -----

func.func @others(%x: tensor<?x?x5x5xf32> {nn.dims = ["b", "c", 5, 5]}, %l: tensor<?xi64> {nn.dims = ["c"]},
                  %u: tensor<?x?x2x5xf32> {nn.dims = ["b", "c", 2, 5]}) {
  // expected-remark @+1 {{[b, c]}}
  %0 = nn.det %x : (tensor<?x?x5x5xf32>) -> tensor<?x?xf32>
  // expected-remark @+1 {{[b, c, 5, 5]}}
  %1 = nn.reverse_sequence %x, %l {batch_axis = 1 : i64, time_axis = 0 : i64} : (tensor<?x?x5x5xf32>, tensor<?xi64>) -> tensor<?x?x?x?xf32>
  // expected-remark @+1 {{[b, c, 5, 5]}}
  %2 = nn.tensor_scatter %x, %u {axis = 2 : i64} : (tensor<?x?x5x5xf32>, tensor<?x?x2x5xf32>) -> tensor<?x?x?x?xf32>
  // expected-remark @+1 {{[b, c, 5, 5]}}
  %3 = nn.bit_cast %x {to = i32} : (tensor<?x?x5x5xf32>) -> tensor<?x?x?x?xi32>
  // expected-remark @+1 {{[b, c, 2, 2]}}
  %4 = nn.lp_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, p = 3 : i64} : (tensor<?x?x5x5xf32>) -> tensor<?x?x?x?xf32>
  return
}
