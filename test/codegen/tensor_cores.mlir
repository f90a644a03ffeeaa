// Which products run on tensor cores, with which tiles, and which do not.
// RUN: nnopt-compile %s --quiet --gpu=sm_80 --emit=exec | FileCheck %s --check-prefixes=CHECK,F32
// RUN: nnopt-compile %s --quiet --gpu=sm_80 --precision=tf32 --emit=exec | FileCheck %s --check-prefixes=CHECK,TF32

// Many tiles: the biggest one.
// CHECK: launch cuda tensor_matmul_f16_128x256(
// RUN: nnopt-compile %s --quiet --gpu=emulate --emit=exec | FileCheck %s --check-prefix=EMULATED
// EMULATED: launch tensor_matmul_f16_128x256(
// Smaller ones, more of them.
// CHECK: launch cuda tensor_matmul_bf16_{{64|32|16}}x
// One row: blocks share the contracted dimension, and a second kernel adds what they have.
// CHECK: launch cuda tensor_matmul_f16_16x64_split[[S:[0-9]+]](
// CHECK: launch cuda tensor_matmul_f16_16x64_split[[S]]_sum(
// f32 stays exact unless tf32 is asked for, with a tile by request.
// F32: launch cuda matmul(
// TF32: launch cuda tensor_matmul_tf32_16x64(
// Bytes: unsigned by signed.
// CHECK: launch cuda tensor_matmul_u8s8_
// Zero points of rows: plain loops.
// CHECK: launch cuda matmul_loops_
// A convolution, and one whose groups are too narrow.
// CHECK: launch cuda tensor_conv_14x14x32_64_3x3_f16_
// CHECK: launch cuda conv_14x14x{{.*}}(

func.func @main(%a: tensor<4096x1024xf16>, %b: tensor<128x768xbf16>, %c: tensor<1x4096xf16>, %d: tensor<64x64xf32>, %w3: tensor<64x64xf32>,
                %e: tensor<64x96xui8>, %zeros: tensor<64xui8>, %x: tensor<1x14x14x32xf16>)
    -> (tensor<4096x4096xf16>, tensor<128x768xf32>, tensor<1x4096xf16>, tensor<64x64xf32>, tensor<64x32xi32>, tensor<64x32xi32>,
        tensor<1x14x14x64xf16>, tensor<1x14x14x32xf16>) {
  %w0 = nn.constant dense<0.5> : tensor<1024x4096xf16>
  %w1 = nn.constant dense<0.5> : tensor<768x768xbf16>
  %w2 = nn.constant dense<0.5> : tensor<4096x4096xf16>
  %w4 = nn.constant dense<5> : tensor<96x32xi8>
  %w5 = nn.constant dense<0.5> : tensor<64x32x3x3xf16>
  %w6 = nn.constant dense<0.5> : tensor<32x4x3x3xf16>
  %z = nn.constant dense<3> : tensor<ui8>
  %0 = nn.matmul %a, %w0 : (tensor<4096x1024xf16>, tensor<1024x4096xf16>) -> tensor<4096x4096xf16>
  %1 = nn.matmul %b, %w1 : (tensor<128x768xbf16>, tensor<768x768xbf16>) -> tensor<128x768xf32>
  %2 = nn.matmul %c, %w2 : (tensor<1x4096xf16>, tensor<4096x4096xf16>) -> tensor<1x4096xf16>
  %3 = nn.matmul %d, %w3 {nn.kernel = {rows = 16 : i64}} : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %4 = nn.matmul %e, %w4 a_zero %z : (tensor<64x96xui8>, tensor<96x32xi8>, tensor<ui8>) -> tensor<64x32xi32>
  %5 = nn.matmul %e, %w4 a_zero %zeros : (tensor<64x96xui8>, tensor<96x32xi8>, tensor<64xui8>) -> tensor<64x32xi32>
  %6 = nn.conv %x, %w5 {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x14x14x32xf16>, tensor<64x32x3x3xf16>) -> tensor<1x14x14x64xf16>
  %7 = nn.conv %x, %w6 {channels_last, dilations = array<i64: 1, 1>, group = 8 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x14x14x32xf16>, tensor<32x4x3x3xf16>) -> tensor<1x14x14x32xf16>
  return %0, %1, %2, %3, %4, %5, %6, %7 : tensor<4096x4096xf16>, tensor<128x768xf32>, tensor<1x4096xf16>, tensor<64x64xf32>, tensor<64x32xi32>, tensor<64x32xi32>, tensor<1x14x14x64xf16>, tensor<1x14x14x32xf16>
}
