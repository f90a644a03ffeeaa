// --bisect names the first pass after which outputs differ from --opt=0; a plugin brings one that is wrong.
// RUN: not nnopt-compile %s --bisect --load-pass-plugin=%build/lib/libWrongPass.so \
// RUN:   --passes=fold-shapes,canonicalize,cse,wrong-add,fold-constants,canonicalize > %t.out
// RUN: FileCheck %s < %t.out
// RUN: not nnopt-compile %s --bisect --load-pass-plugin=%build/lib/libWrongPass.so \
// RUN:   --passes=wrong-add,nnopt-default | FileCheck %s --check-prefix=FIRST
// RUN: nnopt-compile %s --bisect | FileCheck %s --check-prefix=GOOD
// RUN: nnopt-compile %s --bisect --passes= | FileCheck %s --check-prefix=GOOD
// RUN: not nnopt-compile %s --verify -o %t.so --quiet --load-pass-plugin=%build/lib/libWrongPass.so --passes=wrong-add
// RUN: not nnopt-compile %s --bisect --passes=no-such-pass 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// CHECK: passes the last of them
// CHECK: 6 canonicalize differ
// CHECK: 0 (none) equal
// CHECK: 3 cse equal
// CHECK: 4 wrong-add differ
// CHECK: bisect: guilty is pass 4 of 6, wrong-add
// FIRST: guilty is pass 1 of {{.*}}, wrong-add
// GOOD: bisect: nothing differs
// UNKNOWN: --passes=no-such-pass: {{.*}}no-such-pass
func.func @main(%x: tensor<2x8xf32>, %y: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0 = nn.add %x, %y : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %1 = nn.relu %0 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  return %1 : tensor<2x8xf32>
}
