// Models that quantize may round the other way than --opt=0: the root mean square of the error counts. Subtracting a
// little (by a pass that is wrong on purpose) instead of adding it changes a quarter of the integers by one.
// RUN: nnopt-compile %s -o %t.so --verify --quiet --load-pass-plugin=%build/lib/libWrongPass.so --passes=wrong-add 2>&1 \
// RUN:   | FileCheck %s --check-prefix=NEAR
// RUN: sed s/0.0004/0.4/ %s > %t.mlir
// RUN: not nnopt-compile %t.mlir -o %t.so --verify --quiet --load-pass-plugin=%build/lib/libWrongPass.so --passes=wrong-add 2>&1 \
// RUN:   | FileCheck %s --check-prefix=FAR
// RUN: nnopt-compile %s -o %t.so --verify --quiet 2>&1 | FileCheck %s --check-prefix=EQUAL

// NEAR: verify: output 'y': root mean square error 0.{{.*}} of 4096 elements differ); within 2 %
// FAR: verify: output 'y': root mean square error {{.*}}; more than the 2 % allowed for a quantized model
// EQUAL: equal within tolerance
func.func @main(%a: tensor<1x64x64xf32> {nn.name = "a"}) -> (tensor<1x64x64xf32> {nn.name = "y"}) {
  %c = nn.constant dense<0.0004> : tensor<f32>
  %s = nn.constant dense<0.0031> : tensor<f32>
  %z = nn.constant dense<120> : tensor<ui8>
  %x = nn.tanh %a : (tensor<1x64x64xf32>) -> tensor<1x64x64xf32>
  %p = nn.add %x, %c : (tensor<1x64x64xf32>, tensor<f32>) -> tensor<1x64x64xf32>
  %q = nn.quantize %p, %s, %z {to = ui8} : (tensor<1x64x64xf32>, tensor<f32>, tensor<ui8>) -> tensor<1x64x64xui8>
  %y = nn.dequantize %q, %s, %z {to = f32} : (tensor<1x64x64xui8>, tensor<f32>, tensor<ui8>) -> tensor<1x64x64xf32>
  return %y : tensor<1x64x64xf32>
}
