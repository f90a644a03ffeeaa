//===- NN.h - the nn dialect ------------------------------------*- C++ -*-===//
#ifndef NNOPT_DIALECTS_NN_NN_H
#define NNOPT_DIALECTS_NN_NN_H

#include "dialects/nn/AxisDependency.h"
#include "dialects/nn/Dim.h"
#include "dialects/nn/ShapeInference.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/nn/NNDialect.h.inc"
#include "dialects/nn/NNEnums.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/nn/NNTypes.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/nn/NNAttrs.h.inc"
#include "dialects/nn/NNInterfaces.h.inc"
#define GET_OP_CLASSES
#include "dialects/nn/NNOps.h.inc"

namespace nnopt::nn {

/// Whether values of a type are host values: strings, sequences, optionals, maps.
bool isHostType(mlir::Type type);
inline bool isHostValue(mlir::Value v) { return isHostType(v.getType()); }
/// Whether an operation has a host value as operand or result.
bool touchesHostValues(mlir::Operation *op);
/// The element type of a tensor type, any other type as it is.
mlir::Type elementTypeOf(mlir::Type type);
/// The type that holds for values of either of two types (an element rank or size that differs becomes unknown);
/// null when they have nothing in common.
mlir::Type joinTypes(mlir::Type a, mlir::Type b);
/// A sequence type (or that inside an optional) whose elements have unknown rank.
mlir::Type unrankedElements(mlir::Type type);

} // namespace nnopt::nn

#endif
