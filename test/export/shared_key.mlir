// Two operations that draw the same numbers have no ONNX form.
// RUN: not nnopt-compile %s --emit=onnx --opt=0 -o %t.onnx 2>&1 | FileCheck %s

// CHECK: several operations, or iterations of a loop, draw the same numbers
func.func @main() -> (tensor<2xf32>, tensor<2xf32>) {
  %key = nn.random_key {stream = 0 : i64} : () -> tensor<2xi64>
  %shape = nn.constant dense<2> : tensor<1xi64>
  %0 = nn.random %key, %shape {distribution = #nn.distribution<normal>, element = f32} : (tensor<2xi64>, tensor<1xi64>) -> tensor<2xf32>
  %1 = nn.random %key, %shape {distribution = #nn.distribution<uniform>, element = f32} : (tensor<2xi64>, tensor<1xi64>) -> tensor<2xf32>
  return %0, %1 : tensor<2xf32>, tensor<2xf32>
}
