// What passes may do with random numbers: nothing with a key that counts, everything with a number that has one.
// RUN: nnopt-opt %s --canonicalize --cse --fold-constants --cse | FileCheck %s

// Two keys stay two, and both are drawn at run time.
// CHECK-LABEL: func @keys
// CHECK: %[[A:.*]] = nn.random_key {stream = 0
// CHECK: %[[B:.*]] = nn.random_key {stream = 0
// CHECK: nn.random %[[A]]
// CHECK: nn.random %[[B]]
func.func @keys() -> (tensor<8xf32>, tensor<8xf32>) {
  %s = nn.constant dense<8> : tensor<1xi64>
  %a = nn.random_key {stream = 0 : i64} : () -> tensor<2xi64>
  %b = nn.random_key {stream = 0 : i64} : () -> tensor<2xi64>
  %0 = nn.random %a, %s {distribution = #nn.distribution<uniform>, element = f32} : (tensor<2xi64>, tensor<1xi64>) -> tensor<8xf32>
  %1 = nn.random %b, %s {distribution = #nn.distribution<uniform>, element = f32} : (tensor<2xi64>, tensor<1xi64>) -> tensor<8xf32>
  return %0, %1 : tensor<8xf32>, tensor<8xf32>
}

// A function of the same key is the same.
// CHECK-LABEL: func @same
// CHECK: %[[R:.*]] = nn.random %
// CHECK-NEXT: return %[[R]], %[[R]]
func.func @same(%n: tensor<?xf32> {nn.dims = ["n"]}) -> (tensor<?xf32>, tensor<?xf32>) {
  %s = nn.shape %n : (tensor<?xf32>) -> tensor<1xi64>
  %a = nn.random_key {stream = 1 : i64} : () -> tensor<2xi64>
  %0 = nn.random %a, %s {distribution = #nn.distribution<normal>, element = f32} : (tensor<2xi64>, tensor<1xi64>) -> tensor<?xf32>
  %1 = nn.random %a, %s {distribution = #nn.distribution<normal>, element = f32} : (tensor<2xi64>, tensor<1xi64>) -> tensor<?xf32>
  return %0, %1 : tensor<?xf32>, tensor<?xf32>
}

// With a seed the key is a constant, and small results fold.
// CHECK-LABEL: func @seeded
// CHECK-NOT: nn.random
// CHECK: return
func.func @seeded() -> tensor<2xf32> {
  %key = nn.constant dense<[0, -1]> : tensor<2xi64>
  %s = nn.constant dense<2> : tensor<1xi64>
  %0 = nn.random %key, %s {distribution = #nn.distribution<uniform>, element = f32} : (tensor<2xi64>, tensor<1xi64>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
