// What is known of the elements of small integer tensors.
// RUN: nnopt-opt %s --infer-shapes="show=true" --split-input-file -verify-diagnostics

func.func @arithmetic(%x: tensor<?x?xf32> {nn.dims = ["n", "m"]}) {
  // expected-remark @+1 {{[2] = [n, m]}}
  %s = nn.shape %x : (tensor<?x?xf32>) -> tensor<2xi64>
  %c = nn.constant dense<[2, 3]> : tensor<2xi64>
  // expected-remark @+1 {{[2] = [n + 2, m + 3]}}
  %0 = nn.add %s, %c : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  // expected-remark @+1 {{[2] = [n - 2, m - 3]}}
  %1 = nn.sub %s, %c : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  // expected-remark @+1 {{[2] = [2*n, 3*m]}}
  %2 = nn.mul %c, %s : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  // expected-remark @+1 {{[2] = [(n floordiv 2), (m floordiv 3)]}}
  %3 = nn.div %s, %c : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  // expected-remark @+1 {{[2] = [n, m]}}
  %4 = nn.div %2, %c : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  // expected-remark @+1 {{[2] = [(n mod 2), (m mod 3)]}}
  %5 = nn.mod %s, %c : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  // expected-remark @+1 {{[2] = [-n, -m]}}
  %6 = nn.neg %s : (tensor<2xi64>) -> tensor<2xi64>
  // A difference may be negative, where division rounds the other way: not known.
  // expected-remark @+1 {{[2]}}
  %7 = nn.div %1, %c : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  // expected-remark @+1 {{[] = [n*m]}}
  %8 = nn.reduce %s {axes = array<i64: 0>, keep_dims = false, kind = #nn.reduce_kind<prod>} : (tensor<2xi64>) -> tensor<i64>
  // expected-remark @+1 {{[2] = [n, m]}}
  %9 = nn.cast %s {to = i32} : (tensor<2xi64>) -> tensor<2xi32>
  return
}

// -----

// The idiom by which exporters keep dimensions marked -1: where(shape == -1, 1, shape).
func.func @decisions(%x: tensor<?xf32> {nn.dims = ["n"]}, %y: tensor<?xf32> {nn.dims = ["m"]}) {
  // expected-remark @+1 {{[1] = [n]}}
  %n = nn.shape %x : (tensor<?xf32>) -> tensor<1xi64>
  // expected-remark @+1 {{[1] = [m]}}
  %m = nn.shape %y : (tensor<?xf32>) -> tensor<1xi64>
  %minus = nn.constant dense<-1> : tensor<1xi64>
  %one = nn.constant dense<1> : tensor<1xi64>
  // expected-remark @+1 {{[1] = [0]}}
  %0 = nn.equal %n, %minus : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi1>
  // expected-remark @+1 {{[1] = [n]}}
  %1 = nn.where %0, %one, %n : (tensor<1xi1>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  // expected-remark @+1 {{[1]}}
  %2 = nn.equal %n, %m : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi1>
  // expected-remark @+1 {{[1]}}
  %3 = nn.where %2, %n, %m : (tensor<1xi1>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  // expected-remark @+1 {{[1] = [1]}}
  %4 = nn.greater %n, %minus : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi1>
  // expected-remark @+1 {{[1] = [1]}}
  %5 = nn.equal %n, %n : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi1>
  // expected-remark @+1 {{[1] = [0]}}
  %6 = nn.logical_not %5 : (tensor<1xi1>) -> tensor<1xi1>
  return
}

// -----

func.func @movement(%x: tensor<?x?x3xf32> {nn.dims = ["n", "m", 3]}) {
  // expected-remark @+1 {{[2] = [m, 3]}}
  %s = nn.shape %x {start = 1 : i64} : (tensor<?x?x3xf32>) -> tensor<2xi64>
  %i = nn.constant dense<-1> : tensor<i64>
  // expected-remark @+1 {{[] = [3]}}
  %0 = nn.gather %s, %i {axis = 0 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  // expected-remark @+1 {{[1] = [3]}}
  %1 = nn.unsqueeze %0 {axes = array<i64: 0>} : (tensor<i64>) -> tensor<1xi64>
  // expected-remark @+1 {{[3] = [3, m, 3]}}
  %2 = nn.concat %1, %s {axis = 0 : i64} : (tensor<1xi64>, tensor<2xi64>) -> tensor<3xi64>
  %a = nn.constant dense<2> : tensor<1xi64>
  %b = nn.constant dense<-4> : tensor<1xi64>
  %c = nn.constant dense<0> : tensor<1xi64>
  %d = nn.constant dense<-1> : tensor<1xi64>
  // Reversed.
  // expected-remark @+1 {{[3] = [3, m, 3]}}
  %3 = nn.slice %2[%a : %b axes %c steps %d] : (tensor<3xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?xi64>
  // expected-remark @+1 {{[1] = [m]; [1] = [3]}}
  %4:2 = nn.split %s {axis = 0 : i64} : (tensor<2xi64>) -> (tensor<1xi64>, tensor<1xi64>)
  // expected-remark @+1 {{[4] = [m, 3, m, 3]}}
  %5 = nn.tile %s, %a : (tensor<2xi64>, tensor<1xi64>) -> tensor<4xi64>
  %e = nn.constant dense<[2, 2]> : tensor<2xi64>
  // expected-remark @+1 {{[2, 2] = [m, 3, m, 3]}}
  %6 = nn.expand %s, %e : (tensor<2xi64>, tensor<2xi64>) -> tensor<?x?xi64>
  // expected-remark @+1 {{[2, 2] = [m, m, 3, 3]}}
  %7 = nn.transpose %6 {perm = array<i64: 1, 0>} : (tensor<?x?xi64>) -> tensor<?x?xi64>
  // expected-remark @+1 {{[2] = [7, 7]}}
  %8 = nn.constant_of_shape %a {value = dense<7> : tensor<1xi64>} : (tensor<1xi64>) -> tensor<?xi64>
  // expected-remark @+1 {{[1, 2] = [0, 1]}}
  %9 = nn.non_zero %8 : (tensor<?xi64>) -> tensor<?x?xi64>
  return
}

// -----

func.func @ranges(%x: tensor<?xf32> {nn.dims = ["n"]}) {
  %zero = nn.constant dense<0> : tensor<i64>
  %one = nn.constant dense<1> : tensor<i64>
  %four = nn.constant dense<4> : tensor<i64>
  %minus = nn.constant dense<-3> : tensor<i64>
  // expected-remark @+1 {{[4] = [0, 1, 2, 3]}}
  %0 = nn.range %zero, %four, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  // expected-remark @+1 {{[2] = [4, 1]}}
  %1 = nn.range %four, %zero, %minus : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  // expected-remark @+1 {{[] = [n]}}
  %n = nn.size %x : (tensor<?xf32>) -> tensor<i64>
  // expected-remark @+1 {{[n]}}
  %2 = nn.range %zero, %n, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  // expected-remark @+1 {{[] = [n + 4]}}
  %end = nn.add %n, %four : (tensor<i64>, tensor<i64>) -> tensor<i64>
  // From n to n + 4: the count is known though the elements are symbolic.
  // expected-remark @+1 {{[4] = [n, n + 1, n + 2, n + 3]}}
  %3 = nn.range %n, %end, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %a = nn.constant dense<0.0> : tensor<f32>
  %b = nn.constant dense<1.0> : tensor<f32>
  %c = nn.constant dense<0.3> : tensor<f32>
  // expected-remark @+1 {{[4]}}
  %4 = nn.range %a, %b, %c : (tensor<f32>, tensor<f32>, tensor<f32>) -> tensor<?xf32>
  return
}

// -----

// Narrow integers keep the low bits.
func.func @narrow() {
  %c = nn.constant dense<[5, 9]> : tensor<2xi64>
  // expected-remark @+1 {{[2]}}
  %0 = nn.cast %c {to = i4} : (tensor<2xi64>) -> tensor<2xi4>
  // expected-remark @+1 {{[2] = [5, 9]}}
  %1 = nn.cast %c {to = ui4} : (tensor<2xi64>) -> tensor<2xui4>
  return
}
