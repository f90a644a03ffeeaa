// Random numbers are nodes with a seed (a constant key) or without one (a key that is new each time); their import
// is what was exported.
// RUN: rm -rf %t && mkdir %t
// RUN: nnopt-compile %s --emit=onnx --opt=0 -o %t/out.onnx
// RUN: nnopt-opt %t/out.onnx --cse | FileCheck %s

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<?x4xf32> {nn.dims = ["n", 4]}) -> (tensor<2x3xf32>, tensor<?x4xf64>) {
  // CHECK-DAG: %[[KEY:.*]] = nn.constant dense<[4615063718147915776, -1]> : tensor<2xi64>
  // CHECK-DAG: nn.random %[[KEY]], %{{.*}} {distribution = #nn.distribution<normal>, element = f32} : {{.*}} -> tensor<2x3xf32>
  // CHECK-DAG: %[[NEW:.*]] = nn.random_key {stream = 0 : i64}
  // CHECK-DAG: nn.random %[[NEW]], %{{.*}} {distribution = #nn.distribution<uniform>, element = f64} : {{.*}} -> tensor<?x4xf64>
  %key = nn.constant dense<[4615063718147915776, -1]> : tensor<2xi64>
  %shape = nn.constant dense<[2, 3]> : tensor<2xi64>
  %0 = nn.random %key, %shape {distribution = #nn.distribution<normal>, element = f32} : (tensor<2xi64>, tensor<2xi64>) -> tensor<2x3xf32>
  %new = nn.random_key {stream = 0 : i64} : () -> tensor<2xi64>
  %like = nn.shape %x : (tensor<?x4xf32>) -> tensor<2xi64>
  %1 = nn.random %new, %like {distribution = #nn.distribution<uniform>, element = f64} : (tensor<2xi64>, tensor<2xi64>) -> tensor<?x4xf64>
  return %0, %1 : tensor<2x3xf32>, tensor<?x4xf64>
}
