// Products of bytes and bf16 by the tiles of AMX: four sums in registers while panels stream by.
// RUN: nnopt-compile %s --quiet --emit=llvm --target=sapphirerapids | FileCheck %s
// RUN: nnopt-compile %s --quiet --emit=llvm --target=cooperlake | FileCheck %s --check-prefix=VECTORS
// VECTORS-NOT: llvm.x86.tile

// Rows at one distance: two tiles of them by two of columns, read where they are. 40 elements end inside of a tile: a copy.
// CHECK-LABEL: define internal {{.*}}@matmul_1x32x64x40
// CHECK: call void @llvm.x86.ldtilecfg
// CHECK: call void @llvm.x86.tilezero(i8 3)
// CHECK: call void @llvm.x86.tileloadd64(i8 4, {{.*}}, i64 80)
// CHECK-NEXT: call void @llvm.x86.tileloadd64(i8 5, {{.*}}, i64 80)
// CHECK: call void @llvm.x86.tileloadd64(i8 6, {{.*}}, i64 128)
// CHECK-NEXT: call void @llvm.x86.tdpbf16ps(i8 0, i8 4, i8 6)
// CHECK-NEXT: call void @llvm.x86.tdpbf16ps(i8 2, i8 5, i8 6)
// CHECK: call void @llvm.x86.tdpbf16ps(i8 1, i8 4, i8 7)
// CHECK-NEXT: call void @llvm.x86.tdpbf16ps(i8 3, i8 5, i8 7)
// CHECK: call void @llvm.x86.tileloadd64(i8 4, {{.*}}, i64 64)
// CHECK: call void @llvm.x86.tilestored64(i8 3
// CHECK: call void @llvm.x86.tilerelease()
func.func @main(%x: tensor<32x40xbf16>, %u: tensor<1x5x5x64xui8>, %s: tensor<1x5x5x64xi8>, %few: tensor<3x64xui8>)
    -> (tensor<32x64xf32>, tensor<1x5x5x64xi32>, tensor<1x5x5x16xi32>, tensor<1x5x5x16xi32>, tensor<3x64xi32>, tensor<1x5x5x8xi32>) {
  %w = nn.constant dense<2.0> : tensor<40x64xbf16>
  %a = nn.matmul %x, %w : (tensor<32x40xbf16>, tensor<40x64xbf16>) -> tensor<32x64xf32>

  // Taps: one tile of rows, which are copied, by four of columns; unsigned rows.
  // CHECK-LABEL: define internal {{.*}}@conv_5x5x64_64_3x3
  // CHECK: call void @llvm.x86.tdpbusd(i8 3, i8 4, i8 5)
  %w3 = nn.constant dense<-7> : tensor<64x64x3x3xi8>
  %b = nn.conv %u, %w3 {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x5x5x64xui8>, tensor<64x64x3x3xi8>) -> tensor<1x5x5x64xi32>

  // Signed rows have an instruction of their own.
  // CHECK-LABEL: define internal {{.*}}@conv_5x5x64_16_1x1
  // CHECK: call void @llvm.x86.tdpbssd(i8 0, i8 4, i8 6)
  // CHECK-NEXT: call void @llvm.x86.tdpbssd(i8 1, i8 5, i8 6)
  %w1 = nn.constant dense<5> : tensor<16x64x1x1xi8>
  %c = nn.conv %s, %w1 {channels_last, dilations = array<i64: 1, 1>, group = 1 : i64, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x5x5x64xi8>, tensor<16x64x1x1xi8>) -> tensor<1x5x5x16xi32>

  // Not by tiles: weights with a zero point, three rows, eight columns.
  // CHECK: call void @llvm.x86.tilerelease()
  // CHECK-NOT: call void @llvm.x86.tile
  %wz = nn.constant dense<9> : tensor<64x16xi8>
  %one = nn.constant dense<1> : tensor<i8>
  %d = nn.matmul %u, %wz b_zero %one : (tensor<1x5x5x64xui8>, tensor<64x16xi8>, tensor<i8>) -> tensor<1x5x5x16xi32>
  %wide = nn.constant dense<9> : tensor<64x64xi8>
  %e = nn.matmul %few, %wide : (tensor<3x64xui8>, tensor<64x64xi8>) -> tensor<3x64xi32>
  %narrow = nn.constant dense<9> : tensor<64x8xi8>
  %f = nn.matmul %u, %narrow : (tensor<1x5x5x64xui8>, tensor<64x8xi8>) -> tensor<1x5x5x8xi32>
  return %a, %b, %c, %d, %e, %f : tensor<32x64xf32>, tensor<1x5x5x64xi32>, tensor<1x5x5x16xi32>, tensor<1x5x5x16xi32>, tensor<3x64xi32>, tensor<1x5x5x8xi32>
}
