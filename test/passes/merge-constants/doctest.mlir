// One of equal constants stays.
// RUN: nnopt-opt --merge-constants --cse %s | FileCheck %s

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  // CHECK-NEXT: %[[C:.*]] = nn.constant dense_resource<table_0> : tensor<2xf32>
  // CHECK-NEXT: %[[Y:.*]] = nn.add %arg0, %[[C]]
  // CHECK-NEXT: return %[[Y]], %[[Y]]
  %a = nn.constant dense_resource<table_0> : tensor<2xf32>
  %b = nn.constant dense_resource<table_1> : tensor<2xf32>
  %0 = nn.add %x, %a : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %1 = nn.add %x, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %0, %1 : tensor<2xf32>, tensor<2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      table_0: "0x040000000000803F00000040",
      table_1: "0x040000000000803F00000040"
    }
  }
#-}
