// RUN: nnopt-opt --narrow-to-bf16=winograd=false %s | FileCheck %s

// For GPUs, which have no kernels for Winograd's algorithms, 3x3 convolutions multiply bf16 too.
// CHECK: nn.conv {{.*}}tensor<1x32x14x14xbf16>, tensor<32x32x3x3xbf16>) -> tensor<1x32x14x14xf32>
func.func @main(%x: tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32> {
  %w = nn.constant dense<0.5> : tensor<32x32x3x3xf32>
  %y = nn.conv %x, %w {dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x32x14x14xf32>, tensor<32x32x3x3xf32>) -> tensor<1x32x14x14xf32>
  return %y : tensor<1x32x14x14xf32>
}
