// RUN: nnopt-opt --load-pass-plugin=%plugin --pass-pipeline="builtin.module(func.func(merge-relus))" %s | FileCheck %s

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: %[[R:.*]] = nn.relu %{{.*}}
  // CHECK-NOT: nn.relu
  // CHECK: return %[[R]]
  %0 = nn.relu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = nn.relu %0 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}
