// Rows of bytes that have a scale each, times weights in fewer bits: quantized and dequantized at run time, and the product
// reads the bytes. Nothing makes floats of them.
// RUN: nnopt-compile %s --quiet --emit=exec --target=znver4 | FileCheck %s
// RUN: nnopt-compile %s --quiet --emit=llvm --target=znver4 | FileCheck %s --check-prefixes=VNNI512
// RUN: nnopt-compile %s --quiet --emit=llvm --target=haswell | FileCheck %s --check-prefixes=WORDS256
// RUN: nnopt-compile %s --quiet --emit=exec --target=x86-64 | FileCheck %s --check-prefixes=FLOATS

// CHECK: launch map
// CHECK-NOT: launch map
// CHECK: launch group_sums_4x64
// CHECK-NOT: launch map
// CHECK: launch matmul_bytes_4x32x64
// CHECK-NOT: launch map

// VNNI512: define internal {{.*}}@matmul_bytes_4x32x64
// VNNI512: @llvm.x86.avx512.vpdpbusd.512
// WORDS256: define internal {{.*}}@matmul_bytes_4x32x64
// WORDS256: @llvm.x86.avx2.pmadd.wd

// Without instructions for bytes the rows are widened.
// FLOATS: launch matmul_narrow_4x32x64

func.func @main(%x: tensor<4x64xf32> {nn.name = "x"}, %s: tensor<4x1xf32> {nn.name = "s"}) -> (tensor<4x32xf32> {nn.name = "y"}) {
  %xq = nn.quantize %x, %s {to = i8} : (tensor<4x64xf32>, tensor<4x1xf32>) -> tensor<4x64xi8>
  %xd = nn.dequantize %xq, %s {to = f32} : (tensor<4x64xi8>, tensor<4x1xf32>) -> tensor<4x64xf32>
  %q = nn.constant dense<3> : tensor<2x32x32xi4>
  %ws = nn.constant dense<0.5> : tensor<2x1x32xf32>
  %b = nn.dequantize %q, %ws {to = f32} : (tensor<2x32x32xi4>, tensor<2x1x32xf32>) -> tensor<2x32x32xf32>
  %shape = nn.constant dense<[64, 32]> : tensor<2xi64>
  %w = nn.reshape %b, %shape : (tensor<2x32x32xf32>, tensor<2xi64>) -> tensor<64x32xf32>
  %y = nn.matmul %xd, %w : (tensor<4x64xf32>, tensor<64x32xf32>) -> tensor<4x32xf32>
  return %y : tensor<4x32xf32>
}
