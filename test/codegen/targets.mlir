// A CPU's name gives the x86-64 level and extensions that the runtime checks for, and tunes the code.
// RUN: nnopt-compile %s --quiet --emit=llvm --target=haswell | FileCheck %s --check-prefix=V3
// RUN: nnopt-compile %s --quiet --emit=llvm --target=sandybridge | FileCheck %s --check-prefix=V2
// RUN: nnopt-compile %s --quiet --emit=llvm --target=znver4 | FileCheck %s --check-prefix=ZEN4
// RUN: nnopt-compile %s --quiet --emit=llvm --target=skylake-avx512 | FileCheck %s --check-prefix=V4
// RUN: nnopt-compile %s --quiet --emit=llvm --target=sapphirerapids | FileCheck %s --check-prefix=SPR

// V3: "target-cpu"="x86-64-v3"
// V3-NOT: "target-features"
// V3-SAME: "tune-cpu"="haswell"
// V2: "target-cpu"="x86-64-v2"
// V4: "target-cpu"="x86-64-v4"
// V4-NOT: "target-features"
// V4-SAME: "tune-cpu"="skylake-avx512"
// ZEN4: "target-cpu"="x86-64-v4" "target-features"="+avx512vnni,+avx512bf16,+avx512vbmi" "tune-cpu"="znver4"
// No FP16: nothing uses it, and nothing asks for it.
// SPR: "target-cpu"="x86-64-v4" "target-features"="+avxvnni,+avx512vnni,+avx512bf16,+avx512vbmi,+amx-tile,+amx-int8,+amx-bf16" "tune-cpu"="sapphirerapids"
func.func @main(%x: tensor<1024xf32>) -> tensor<1024xf32> {
  %0 = nn.relu %x : (tensor<1024xf32>) -> tensor<1024xf32>
  return %0 : tensor<1024xf32>
}
