//===- NNInterfaces.td - interfaces that nn passes share --------*- tablegen -*-===//
#ifndef NN_INTERFACES_TD
#define NN_INTERFACES_TD

include "mlir/IR/OpBase.td"

/// Result shapes of an operation from the shapes (and, for small integer tensors, the contents)
/// of its operands. All dimensions are symbolic expressions (`nn::Dim`); a static dimension is a
/// constant expression. The importer calls it to type each new operation, the shape analysis
/// calls it to recompute everything after rewriting.
def NN_ShapeFunction : OpInterface<"ShapeFunction"> {
  let cppNamespace = "::nnopt::nn";
  let methods = [
    InterfaceMethod<"Sets the element type and dimensions of every result on `ctx`, and their "
                    "contents where known. Emits an error naming the reason when the operand "
                    "shapes contradict each other.",
      "::mlir::LogicalResult", "inferShapes", (ins "::nnopt::nn::ShapeContext &":$ctx)>,
    InterfaceMethod<"Whether only the *content* of operand `index` matters for the shape of the "
                    "results, so that a content known symbolically makes the operand dead at run "
                    "time (the shape operand of reshape, starts/ends of slice, ...).",
      "bool", "isShapeOperand", (ins "unsigned":$index), "",
      "return ::nnopt::nn::isShapeOperandOf($_op, index);">
  ];
}

/// An operation that computes each result element from the elements of its operands at the same
/// (numpy-broadcast) position.
def NN_Elementwise : OpInterface<"Elementwise"> {
  let cppNamespace = "::nnopt::nn";
  let methods = [
    InterfaceMethod<"Emits the scalar computation with arith/math operations on `args` (one value "
                    "for each operand, of the operand's element type; integers are signless) and "
                    "returns the result element. Must only use operations that are elementwise "
                    "mappable, so that the same builder makes vector code.",
      "::mlir::Value", "buildScalar",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::ValueRange":$args)>
  ];
}

/// An operation that is linear in an activation and linear in a weight: each result element along
/// the out channel axis is a sum of products of activation elements (of all in channels of its
/// group) and weights, plus the channel's bias, through the epilogue. Everything else about it
/// (windows, batch dimensions, attributes) may be unknown to who scales channels.
def NN_LinearOp : OpInterface<"LinearOp"> {
  let cppNamespace = "::nnopt::nn";
  let methods = [
    InterfaceMethod<"The operand whose channels are reduced.",
      "::mlir::OpOperand &", "getActivationMutable">,
    InterfaceMethod<"The operand that holds the weights (any value; passes need a constant).",
      "::mlir::OpOperand &", "getWeightMutable">,
    InterfaceMethod<"The activation.", "::mlir::Value", "getActivation", (ins),
      "return $_op.getActivationMutable().get();">,
    InterfaceMethod<"The weights.", "::mlir::Value", "getWeight", (ins),
      "return $_op.getWeightMutable().get();">,
    InterfaceMethod<"One element for each out channel (or one for all), or null.",
      "::mlir::Value", "getBias", (ins), "return $_op.getBias();">,
    InterfaceMethod<"Scalar code that ends the operation; empty for none.",
      "::mlir::Region &", "getEpilogue", (ins), "return $_op.getEpilogue();">,
    InterfaceMethod<"What the epilogue yields besides the result, or null.",
      "::mlir::Value", "getSecond", (ins), "return $_op.getSecond();">,
    InterfaceMethod<"What the epilogue reads besides.",
      "::mlir::Operation::operand_range", "getEpilogueArgs", (ins), "return $_op.getEpilogueArgs();">,
    InterfaceMethod<"Appends operands for the epilogue.",
      "void", "addEpilogueArgs", (ins "::mlir::ValueRange":$values),
      "$_op.getEpilogueArgsMutable().append(values);">,
    InterfaceMethod<"Dimension of the activation that is reduced.",
      "int64_t", "getInChannelAxis">,
    InterfaceMethod<"Dimension of the result that the bias goes along.",
      "int64_t", "getOutChannelAxis">,
    InterfaceMethod<"Dimension of the weight for in channels (of one group, or all of them).",
      "int64_t", "getWeightInAxis">,
    InterfaceMethod<"Dimension of the weight for out channels (all of them, or of one group); -1 "
                    "when the weight has no such dimension (a vector).",
      "int64_t", "getWeightOutAxis">,
    InterfaceMethod<"In and out channels fall into this many blocks; only block i of the one feeds "
                    "block i of the other.",
      "int64_t", "getGroups", (ins), "", "return 1;">,
    InterfaceMethod<"Whether the out axis of the weight runs over all groups; otherwise the in axis "
                    "does.",
      "bool", "areGroupsAlongWeightOut", (ins), "", "return true;">,
    InterfaceMethod<"Number of out channels; ShapedType::kDynamic where the types do not say.",
      "int64_t", "getOutChannels", (ins), [{
        int64_t axis = $_op.getWeightOutAxis();
        auto type = ::llvm::cast<::mlir::RankedTensorType>($_op.getWeightMutable().get().getType());
        if (axis < 0 || type.isDynamicDim(axis))
          return ::mlir::ShapedType::kDynamic;
        return type.getDimSize(axis) * ($_op.areGroupsAlongWeightOut() ? 1 : $_op.getGroups());
      }]>,
    InterfaceMethod<"Number of in channels; ShapedType::kDynamic where the types do not say.",
      "int64_t", "getInChannels", (ins), [{
        auto type = ::llvm::cast<::mlir::RankedTensorType>($_op.getWeightMutable().get().getType());
        int64_t axis = $_op.getWeightInAxis();
        if (type.isDynamicDim(axis))
          return ::mlir::ShapedType::kDynamic;
        return type.getDimSize(axis) * ($_op.areGroupsAlongWeightOut() ? $_op.getGroups() : 1);
      }]>,
    InterfaceMethod<"A copy with its attributes and epilogue, with another activation (of the same "
                    "type), weight (of the same shape) and bias (null: none).",
      "::nnopt::nn::LinearOp", "cloneWith",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::Value":$activation,
           "::mlir::Value":$weight, "::mlir::Value":$bias)>
  ];
}

/// How an operation ties indices along the dimensions of its operands and results: which ones must be removed together so
/// that what is left computes the rest. An operation without it is a barrier: all its axes stay.
def NN_AxisDependency : OpInterface<"AxisDependency"> {
  let cppNamespace = "::nnopt::nn";
  let methods = [
    InterfaceMethod<"Tells `ties` about all axes that can be narrowed. Axes that it does not mention are fixed.",
      "void", "tieAxes", (ins "::nnopt::nn::AxisTies &":$ties)>,
    InterfaceMethod<"Adapts attributes, and operands that hold sizes or positions, to axes of which only `kept(axis)` is "
                    "left. Operands that are tied get narrowed afterwards by the caller, types are inferred anew.",
      "void", "narrow", (ins "::mlir::OpBuilder &":$builder, "::nnopt::nn::KeptIndices":$kept), "", "return;">
  ];
}

/// An operation that the runtime calls in its library of host operations, by the operation's mnemonic.
def NN_HostCall : OpInterface<"HostCall"> {
  let cppNamespace = "::nnopt::nn";
}

#endif
