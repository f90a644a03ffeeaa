// One row behind relu: rows of weights for zeros are not read. More rows, and values that are not zero for a range of
// inputs, take the kernel for all.
// RUN: split-file %s %t
// RUN: nnopt-compile %t/relu.mlir --emit=exec | FileCheck %s --check-prefix=SPARSE
// RUN: nnopt-compile %t/relu.mlir --emit=exec --opt=0 | FileCheck %s --check-prefix=DENSE
// RUN: nnopt-compile %t/rows.mlir --emit=exec | FileCheck %s --check-prefix=DENSE
// RUN: nnopt-compile %t/sigmoid.mlir --emit=exec | FileCheck %s --check-prefix=DENSE
// RUN: nnopt-compile %t/infinite.mlir --emit=exec | FileCheck %s --check-prefix=DENSE
// RUN: nnopt-compile %t/relu.mlir -o %t/relu.so --verify

// SPARSE: launch matmul_sparse_row_24x160
// DENSE-NOT: matmul_sparse_row

//--- relu.mlir
func.func @main(%x: tensor<1x160xf32>) -> tensor<1x24xf32> {
  %w = nn.constant dense<0.5> : tensor<160x24xf32>
  %h = nn.relu %x : (tensor<1x160xf32>) -> tensor<1x160xf32>
  %y = nn.matmul %h, %w : (tensor<1x160xf32>, tensor<160x24xf32>) -> tensor<1x24xf32>
  return %y : tensor<1x24xf32>
}

//--- rows.mlir
func.func @main(%x: tensor<2x160xf32>) -> tensor<2x24xf32> {
  %w = nn.constant dense<0.5> : tensor<160x24xf32>
  %h = nn.relu %x : (tensor<2x160xf32>) -> tensor<2x160xf32>
  %y = nn.matmul %h, %w : (tensor<2x160xf32>, tensor<160x24xf32>) -> tensor<2x24xf32>
  return %y : tensor<2x24xf32>
}

//--- sigmoid.mlir
func.func @main(%x: tensor<1x160xf32>) -> tensor<1x24xf32> {
  %w = nn.constant dense<0.5> : tensor<160x24xf32>
  %h = nn.sigmoid %x : (tensor<1x160xf32>) -> tensor<1x160xf32>
  %y = nn.matmul %h, %w : (tensor<1x160xf32>, tensor<160x24xf32>) -> tensor<1x24xf32>
  return %y : tensor<1x24xf32>
}

//--- infinite.mlir
func.func @main(%x: tensor<1x160xf32>) -> tensor<1x24xf32> {
  %w = nn.constant dense<0x7F800000> : tensor<160x24xf32>
  %h = nn.relu %x : (tensor<1x160xf32>) -> tensor<1x160xf32>
  %y = nn.matmul %h, %w : (tensor<1x160xf32>, tensor<160x24xf32>) -> tensor<1x24xf32>
  return %y : tensor<1x24xf32>
}
