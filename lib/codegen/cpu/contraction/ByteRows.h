//===- ByteRows.h - attention over keys and values of 8 bits ----*- C++ -*-===//
//
// Keys and values of --kv-cache=int8: signed bytes with a scale for each row. Bytes become floats in registers, and scales are
// multiplied to products and to probabilities, one for each row.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_BYTEROWS_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_BYTEROWS_H

#include "lib/codegen/cpu/Kernel.h"

namespace nnopt::cpu {

/// Element d of row j is bytes[j * pitch + d] * scales[j * scalePitch].
struct ByteRows {
  mlir::Value bytes, scales; // pointers
  Ix pitch, scalePitch;
  int64_t width;
};

/// Writes `count` rows from `first` on as floats, one after another.
void widenByteRows(Kernel &k, const ByteRows &rows, Ix first, Ix count, mlir::Value to, int64_t lanes);

/// The products of `width` floats at `x` and of rows [first, first + lanes): a vector. Rows from `count` on are not read. `inside`:
/// which rows there are; null: all of them.
mlir::Value byteRowProducts(Kernel &k, mlir::Value x, const ByteRows &rows, Ix first, Ix count, int64_t lanes, mlir::Value inside);

/// Adds up `count` rows times their `factors`, which are multiplied by the scales in place. `store` gets a column and the sums of it
/// and of those behind it, whole vectors first.
void sumByteRows(Kernel &k, mlir::Value factors, const ByteRows &rows, Ix count, int64_t lanes,
                 llvm::function_ref<void(int64_t column, mlir::Value sums)> store);

} // namespace nnopt::cpu

#endif
