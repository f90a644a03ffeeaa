// Scale and shift of a normalization go into the products behind it.
// RUN: nnopt-opt --fold-norm-affine --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @layer_norm
func.func @layer_norm(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x1xf32>) {
  // CHECK-DAG: %[[ONES:.*]] = nn.constant dense<1.000000e+00> : tensor<2xf32>
  // CHECK-DAG: %[[N:.*]] = nn.layer_norm %arg0, %[[ONES]] {axis
  // CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[\[}}1.000000e+01, 2.000000e+01], [6.000000e+01, 8.000000e+01]]> : tensor<2x2xf32>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<[1.100000e+01, 1.600000e+01]> : tensor<2xf32>
  // CHECK-DAG: nn.matmul %[[N]], %[[W]] bias %[[B]] :
  // CHECK-DAG: %[[V:.*]] = nn.constant dense<{{\[\[}}5.000000e+01, 1.200000e+02]]> : tensor<1x2xf32>
  // CHECK-DAG: nn.matmul %[[N]], %[[V]] bias %{{.*}} {transpose_b}
  %g = nn.constant dense<[10.0, 20.0]> : tensor<2xf32>
  %s = nn.constant dense<[1.0, 3.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %v = nn.constant dense<[[5.0, 6.0]]> : tensor<1x2xf32>
  %0 = nn.layer_norm %x, %g, %s {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %1 = nn.matmul %0, %w bias %b : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = nn.matmul %0, %v {transpose_b} : (tensor<?x2xf32>, tensor<1x2xf32>) -> tensor<?x1xf32>
  return %1, %2 : tensor<?x2xf32>, tensor<?x1xf32>
}
