//===- Direct.h - constants computed without compiling ----------*- C++ -*-===//
#ifndef NNOPT_PASSES_FOLD_CONSTANTS_DIRECT_H
#define NNOPT_PASSES_FOLD_CONSTANTS_DIRECT_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// The elements of a value of floats before they were rounded to its type.
using Unrounded = std::vector<double>;

/// Whether computeDirectly knows the operation (and it is not a large one).
bool isDirect(mlir::Operation *op);

/// The value of an operation with one result whose operands have the given values; null where it takes compiled code.
/// `unrounded` has what operands were before they were rounded, or null; `result` gets that of the result, or stays
/// empty, so that a chain of operations is rounded once.
mlir::ElementsAttr computeDirectly(mlir::Operation *op, llvm::ArrayRef<mlir::ElementsAttr> values,
                                   llvm::ArrayRef<const Unrounded *> unrounded, Unrounded &result);

} // namespace nnopt

#endif
