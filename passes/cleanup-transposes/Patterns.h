//===- Patterns.h - patterns of cleanup-transposes --------------*- C++ -*-===//
#ifndef NNOPT_PASSES_CLEANUP_TRANSPOSES_PATTERNS_H
#define NNOPT_PASSES_CLEANUP_TRANSPOSES_PATTERNS_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// Neutral operands, casts, and elementwise operations between transposes.
void addElementwisePatterns(mlir::RewritePatternSet &patterns, FuncShapes &shapes);

} // namespace nnopt

#endif
