// Contractions of bytes use the instructions for them: VNNI where there is one, else exact sums of 16-bit products;
// depthwise ones are computed in floats, exactly.
// RUN: nnopt-compile %s --quiet --emit=llvm --target=znver4 | FileCheck %s --check-prefixes=CHECK,VNNI512
// RUN: nnopt-compile %s --quiet --emit=llvm --target=alderlake | FileCheck %s --check-prefixes=CHECK,VNNI256
// RUN: nnopt-compile %s --quiet --emit=llvm --target=skylake-avx512 | FileCheck %s --check-prefixes=CHECK,WORDS512
// RUN: nnopt-compile %s --quiet --emit=llvm --target=haswell | FileCheck %s --check-prefixes=CHECK,WORDS256

// CHECK-LABEL: define internal {{.*}}@conv_lanes_5x5x32_32_3x3g32
// CHECK: @llvm.fmuladd.v
// CHECK-LABEL: define internal {{.*}}@conv_5x5x32_16_3x3
// VNNI512: @llvm.x86.avx512.vpdpbusd.512
// VNNI256: @llvm.x86.avx512.vpdpbusd.256
// WORDS512: @llvm.x86.avx512.pmaddw.d.512
// WORDS256: @llvm.x86.avx2.pmadd.wd
// CHECK-LABEL: define internal {{.*}}@matmul_1x25x48x32
// VNNI512: @llvm.x86.avx512.vpdpbusd.512
// VNNI256: @llvm.x86.avx512.vpdpbusd.256
// WORDS512: @llvm.x86.avx512.pmaddw.d.512
// WORDS256: @llvm.x86.avx2.pmadd.wd

func.func @main(%x: tensor<1x5x5x32xui8>) -> (tensor<1x5x5x16xi32>, tensor<1x5x5x48xi32>) {
  %z = nn.constant dense<3> : tensor<ui8>
  %w1 = nn.constant dense<5> : tensor<32x1x3x3xi8>
  %w2 = nn.constant dense<-7> : tensor<16x32x3x3xi8>
  %w3 = nn.constant dense<9> : tensor<32x48xi8>
  %a = nn.conv %x, %w1 x_zero %z {channels_last, dilations = array<i64: 1, 1>, group = 32 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x5x5x32xui8>, tensor<32x1x3x3xi8>, tensor<ui8>) -> tensor<1x5x5x32xui8> {
  ^bb0(%acc: i32):
    %b = arith.trunci %acc : i32 to i8
    nn.yield %b : i8
  }
  %b = nn.conv %a, %w2 x_zero %z {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x5x5x32xui8>, tensor<16x32x3x3xi8>, tensor<ui8>) -> tensor<1x5x5x16xi32>
  %c = nn.matmul %a, %w3 a_zero %z : (tensor<1x5x5x32xui8>, tensor<32x48xi8>, tensor<ui8>) -> tensor<1x5x5x48xi32>
  return %b, %c : tensor<1x5x5x16xi32>, tensor<1x5x5x48xi32>
}
