//===- WidenedConstants.h - constants in fewer bits -------------*- C++ -*-===//
//
// A constant matrix that is stored in fewer bits, and the operations that make 32-bit floats of it. Kernels read what is
// stored (dialects/nn/NarrowWeights.h).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_WIDENEDCONSTANTS_H
#define NNOPT_LIB_COMPRESS_WIDENEDCONSTANTS_H

#include "lib/compress/WeightRounding.h"
#include "passes/common/Rewrite.h"

namespace nnopt::compress {

/// Groups of a row are whole words of eight 4-bit integers.
constexpr int64_t kGroupUnit = 8;
/// The largest group of at most `wanted` columns that divides them; all columns where there is none.
int64_t groupFor(int64_t columns, int64_t wanted);

/// A matrix [rows, columns] of integers of `bits` bits with scales, as a tensor of `shape`; `rowsLast`: which is
/// [columns, rows].
mlir::Value widenedIntegers(mlir::RewriterBase &rewriter, mlir::Location loc, const RoundedWeights &rounded, int bits,
                            llvm::ArrayRef<int64_t> shape, bool rowsLast);

/// `values` as a tensor of `type`, "bf16" or "f16".
mlir::Value widenedHalves(mlir::RewriterBase &rewriter, mlir::Location loc, llvm::ArrayRef<float> values,
                          llvm::ArrayRef<int64_t> shape, llvm::StringRef type);
/// What they are then.
std::vector<float> roundedToHalves(llvm::ArrayRef<float> values, llvm::StringRef type);

} // namespace nnopt::compress

#endif
