//===- NNControlFlowOps.td - control flow and kernels from outside -*- tablegen -*-===//
#ifndef NN_CONTROL_FLOW_OPS_TD
#define NN_CONTROL_FLOW_OPS_TD

include "dialects/nn/NNBase.td"

//===----------------------------------------------------------------------===//
// Control flow: regions see the values around them
//===----------------------------------------------------------------------===//

def NN_IfOp : NN_Op<"if", [RecursiveMemoryEffects]> {
  let summary = "The yielded values of then_branch when the bool scalar holds, else of else_branch.";
  let arguments = (ins NN_Tensor:$condition);
  let results = (outs Variadic<NN_Value>:$results);
  let regions = (region SizedRegion<1>:$then_branch, SizedRegion<1>:$else_branch);
  let assemblyFormat = [{
    $condition attr-dict `:` functional-type(operands, results) $then_branch `else` $else_branch
  }];
  let hasVerifier = 1;
}
def NN_LoopOp : NN_Op<"loop", [AttrSizedOperandSegments, RecursiveMemoryEffects]> {
  let summary = "ONNX Loop: at most trip_count iterations while the condition holds.";
  let description = [{
    Body arguments: iteration number (i64 scalar), condition (bool scalar), carried values. It
    yields the condition, the carried values, then the scan outputs, which are stacked along a new
    first dimension. Results: final carried values, then stacked scan outputs.
  }];
  let arguments = (ins Optional<NN_Tensor>:$trip_count, Optional<NN_Tensor>:$condition, Variadic<NN_Value>:$carried);
  let results = (outs Variadic<NN_Value>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    (`trip` $trip_count^)? (`while` $condition^)? `carried` `(` $carried `)` attr-dict `:`
    functional-type(operands, results) $body
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Kernels from outside
//===----------------------------------------------------------------------===//

def NN_CustomOp : NN_Op<"custom"> {
  let summary = "A call of a C kernel that is linked into the artifact (include/nnopt/kernel.h).";
  let description = [{
    `kernel` is the symbol of the function. A plugin registers it with its shape function
    (`nn::registerCustomKernel`, CustomKernels.h). Attributes of the ONNX operator are constant operands.
  }];
  let arguments = (ins Variadic<NN_Tensor>:$inputs, StrAttr:$kernel);
  let results = (outs Variadic<NN_Tensor>:$outputs);
}

#endif // NN_CONTROL_FLOW_OPS_TD
