// RUN: nnopt-opt --quantize-kv-cache %s | FileCheck %s

// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[PAST:arg[0-9]+]]: tensor<1x2x?x8xi8> {nn.dims = [1, 2, "length", 8], nn.name = "past"}
// CHECK-SAME: %[[SCALE:arg[0-9]+]]: tensor<1x2x?x1xf32> {nn.dims = [1, 2, "length", 1], nn.name = "past.scale"}
// CHECK-SAME: tensor<1x2x?x8xi8> {nn.name = "present"}, tensor<1x2x?x1xf32> {nn.name = "present.scale"}
func.func @main(%q: tensor<1x2x1x8xf32> {nn.name = "q"}, %past: tensor<1x2x?x8xf32> {nn.name = "past", nn.dims = [1, 2, "length", 8]},
                %new: tensor<1x2x1x8xf32> {nn.name = "new"}) -> (tensor<1x2x1x8xf32> {nn.name = "y"}, tensor<1x2x?x8xf32> {nn.name = "present"}) {
  // CHECK: %[[ROWS:.*]] = nn.quantize %arg2, %[[NEW_SCALE:[0-9]+]]
  // CHECK: %[[K:.*]] = nn.concat %[[PAST]], %[[ROWS]]
  // CHECK: %[[S:.*]] = nn.concat %[[SCALE]], %[[NEW_SCALE]]
  // CHECK: %[[F:.*]] = nn.dequantize %[[K]], %[[S]]
  // CHECK: %[[Y:.*]] = nn.attention %arg0, %[[F]], %[[F]]
  // CHECK: return %[[Y]], %[[K]], %[[S]]
  %k = nn.concat %past, %new {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x?x8xf32>
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x1x8xf32>
  return %y, %k : tensor<1x2x1x8xf32>, tensor<1x2x?x8xf32>
}
