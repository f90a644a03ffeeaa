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

// -----

// A pre-norm residual: table, constant and products make rows of mean 0, so that the mean need not be subtracted.
// CHECK-LABEL: func.func @stream
func.func @stream(%ids: tensor<?xi64>) -> tensor<?x2xf32> {
  // CHECK-DAG: %[[T:.*]] = nn.constant dense<{{\[\[}}-1.000000e+00, 1.000000e+00], [-2.000000e+00, 2.000000e+00]]>
  // CHECK-DAG: %[[E:.*]] = nn.gather %[[T]], %arg0
  // CHECK-DAG: nn.rms_norm %[[E]]
  // CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[\[}}-5.000000e-01, 5.000000e-01], [-1.500000e+00, 1.500000e+00]]>
  // CHECK-DAG: %[[B:.*]] = nn.constant dense<[-2.000000e+00, 2.000000e+00]>
  // CHECK-DAG: %[[P:.*]] = nn.matmul %{{.*}}, %[[W]] bias %[[B]]
  // CHECK-DAG: %[[X:.*]] = nn.add %[[E]], %[[P]]
  // CHECK-DAG: %[[N:.*]] = nn.rms_norm %[[X]]
  // CHECK: return %[[N]]
  %table = nn.constant dense<[[0.0, 2.0], [3.0, 7.0]]> : tensor<2x2xf32>
  %ones = nn.constant dense<1.0> : tensor<2xf32>
  %w = nn.constant dense<[[1.0, 2.0], [1.0, 4.0]]> : tensor<2x2xf32>
  %b = nn.constant dense<[1.0, 5.0]> : tensor<2xf32>
  %0 = nn.gather %table, %ids {axis = 0 : i64} : (tensor<2x2xf32>, tensor<?xi64>) -> tensor<?x2xf32>
  %1 = nn.layer_norm %0, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = nn.relu %1 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %3 = nn.matmul %2, %w bias %b : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %4 = nn.add %0, %3 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %5 = nn.layer_norm %4, %ones {axis = 1 : i64, epsilon = 1.0e-5 : f64} : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %5 : tensor<?x2xf32>
}

// -----

// The scale of attention goes into the columns of the queries of a product that makes keys, too.
// CHECK-LABEL: func.func @attention
func.func @attention(%x: tensor<1x3x2xf32>, %v: tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32> {
  // CHECK: %[[W:.*]] = nn.constant dense<{{\[\[}}2.000000e+00, 2.000000e+00, 4.000000e+00, 4.000000e+00], [2.000000e+00, 2.000000e+00, 4.000000e+00, 4.000000e+00]]>
  // CHECK: nn.matmul %arg0, %[[W]]
  // CHECK: nn.attention {{.*}} {scale = 1.000000e+00 : f64}
  %w = nn.constant dense<4.0> : tensor<2x4xf32>
  %0 = nn.matmul %x, %w : (tensor<1x3x2xf32>, tensor<2x4xf32>) -> tensor<1x3x4xf32>
  %q0, %k0 = nn.split %0 {axis = 2 : i64} : (tensor<1x3x4xf32>) -> (tensor<1x3x2xf32>, tensor<1x3x2xf32>)
  %q = nn.unsqueeze %q0 {axes = array<i64: 1>} : (tensor<1x3x2xf32>) -> tensor<1x1x3x2xf32>
  %k = nn.unsqueeze %k0 {axes = array<i64: 1>} : (tensor<1x3x2xf32>) -> tensor<1x1x3x2xf32>
  %y = nn.attention %q, %k, %v {scale = 0.5 : f64} : (tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x1x3x2xf32>
  return %y : tensor<1x1x3x2xf32>
}

// -----

// The first token only, as classifiers read it.
// CHECK-LABEL: func.func @first_token
func.func @first_token(%x: tensor<?x4x2xf32>) -> tensor<?x1xf32> {
  // CHECK: %[[N:.*]] = nn.layer_norm %arg0, %{{[^,]*}} {axis
  // CHECK: %[[T:.*]] = nn.gather %[[N]]
  // CHECK: nn.matmul %[[T]], %{{.*}} bias
  %g = nn.constant dense<[10.0, 20.0]> : tensor<2xf32>
  %w = nn.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %i = nn.constant dense<0> : tensor<i64>
  %0 = nn.layer_norm %x, %g, %g {axis = 2 : i64, epsilon = 1.0e-5 : f64} : (tensor<?x4x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x4x2xf32>
  %1 = nn.gather %0, %i {axis = 1 : i64} : (tensor<?x4x2xf32>, tensor<i64>) -> tensor<?x2xf32>
  %2 = nn.matmul %1, %w : (tensor<?x2xf32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  return %2 : tensor<?x1xf32>
}
