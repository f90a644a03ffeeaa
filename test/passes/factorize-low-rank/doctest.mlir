// RUN: nnopt-opt --factorize-low-rank %s | FileCheck %s
// Through all passes the factors stay apart.
// RUN: nnopt-opt --nnopt-default %s | FileCheck %s --check-prefix=DEFAULT

// All rows are equal: the rank is 1.
// CHECK-LABEL: func.func @product
// CHECK: %[[A:.*]] = nn.matmul %arg0, %{{.*}} : (tensor<?x64xf32>, tensor<64x1xf32>) -> tensor<?x1xf32>
// CHECK: nn.matmul %[[A]], %{{.*}} bias %{{.*}} : (tensor<?x1xf32>, tensor<1x128xf32>, tensor<128xf32>) -> tensor<?x128xf32>
// DEFAULT-LABEL: func.func @product
// DEFAULT: nn.matmul
// DEFAULT: nn.matmul
func.func @product(%x: tensor<?x64xf32>) -> tensor<?x128xf32> {
  %w = nn.constant dense<0.5> : tensor<64x128xf32>
  %b = nn.constant dense<1.0> : tensor<128xf32>
  %y = nn.matmul %x, %w bias %b : (tensor<?x64xf32>, tensor<64x128xf32>, tensor<128xf32>) -> tensor<?x128xf32>
  return %y : tensor<?x128xf32>
}

// The first one has the kernel.
// CHECK-LABEL: func.func @convolution
// CHECK: %[[C:.*]] = nn.conv %arg0, %{{.*}} {dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 2, 2>} : (tensor<1x32x9x9xf32>, tensor<1x32x3x3xf32>) -> tensor<1x1x5x5xf32>
// CHECK: nn.conv %[[C]], %{{.*}} {dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x1x5x5xf32>, tensor<48x1x1x1xf32>) -> tensor<1x48x5x5xf32>
func.func @convolution(%x: tensor<1x32x9x9xf32>) -> tensor<1x48x5x5xf32> {
  %w = nn.constant dense<0.25> : tensor<48x32x3x3xf32>
  %y = nn.conv %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 1 : i64}
    : (tensor<1x32x9x9xf32>, tensor<48x32x3x3xf32>) -> tensor<1x48x5x5xf32>
  return %y : tensor<1x48x5x5xf32>
}
