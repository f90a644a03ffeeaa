// RUN: nnopt-opt %s --remove-relu-units --split-input-file | FileCheck %s

// Of six units one is dead (weights 0, bias not positive), one constant, one twice the first, one not read. Two stay.
// CHECK-LABEL: func @units
func.func @units(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  // CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[\[}}1.000000e+00, 3.000000e+00], [-1.000000e+00, 1.000000e+00]]> : tensor<2x2xf32>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<[5.000000e-01, 0.000000e+00]> : tensor<2xf32>
  // CHECK: %[[H:.*]] = nn.matmul %arg0, %[[W]] bias %[[B]] {{.*}} -> tensor<?x2xf32>
  // CHECK: %[[R:.*]] = nn.relu %[[H]]
  // 10 + 2 * 30 for the first, 4 * 20 in the bias.
  // CHECK-DAG: %[[V:.*]] = nn.constant dense<{{\[\[}}7.000000e+01], [6.000000e+01]]> : tensor<2x1xf32>
  // CHECK-DAG: %[[D:.*]] = nn.constant dense<8.000000e+01> : tensor<1xf32>
  // CHECK: nn.matmul %[[R]], %[[V]] bias %[[D]]
  %w = nn.constant dense<[[1.0, 0.0, 2.0, 0.0, 3.0, 5.0], [-1.0, 0.0, -2.0, 0.0, 1.0, 5.0]]> : tensor<2x6xf32>
  %b = nn.constant dense<[0.5, 4.0, 1.0, -1.0, 0.0, 0.0]> : tensor<6xf32>
  %v = nn.constant dense<[[10.0], [20.0], [30.0], [50.0], [60.0], [0.0]]> : tensor<6x1xf32>
  %0 = nn.matmul %x, %w bias %b : (tensor<?x2xf32>, tensor<2x6xf32>, tensor<6xf32>) -> tensor<?x6xf32>
  %1 = nn.relu %0 : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %2 = nn.matmul %1, %v : (tensor<?x6xf32>, tensor<6x1xf32>) -> tensor<?x1xf32>
  return %2 : tensor<?x1xf32>
}
