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

#endif
