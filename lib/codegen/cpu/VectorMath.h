//===- VectorMath.h - math functions on vectors -----------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_VECTORMATH_H
#define NNOPT_LIB_CODEGEN_CPU_VECTORMATH_H

#include "lib/codegen/cpu/Target.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

namespace nnopt::cpu {

/// Expansions of math functions on vectors of f32 that are better than the upstream ones: `exp`
/// and `exp2` (relative error about 2e-7 where the result is a normal number; what would be denormal is 0),
/// `erf` (relative error below 4e-7), `log` (1e-7, of denormals too), `sin` and `cos` (absolute error below
/// 1e-7, of numbers of any size).
void populateVectorMathPatterns(mlir::RewritePatternSet &patterns, const Target &target);

} // namespace nnopt::cpu

#endif
