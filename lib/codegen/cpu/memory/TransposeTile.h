//===- TransposeTile.h - copies that transpose ------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_TRANSPOSETILE_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_TRANSPOSETILE_H

#include "lib/codegen/cpu/memory/StridedCopy.h"

namespace nnopt::cpu {

/// Launches a copy whose source is contiguous along `axis` and whose destination along the
/// innermost axis: square tiles over these two axes are transposed in registers.
void launchTransposedCopy(Lowering &l, Kernel &k, const StridedCopy &copy, unsigned axis);

/// Transposes `rows` (as many vectors as lanes, a power of two) in registers: log2 stages of
/// two-operand shuffles.
llvm::SmallVector<mlir::Value> transposeVectors(Kernel &k, llvm::ArrayRef<mlir::Value> rows);

} // namespace nnopt::cpu

#endif
