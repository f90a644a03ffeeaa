//===- Pairs.h - rows of f32 as bf16 for products of pairs ------*- C++ -*-===//
//
// addPairProducts() (NarrowProduct.h) multiplies pairs of bf16 that are neighbours along the contracted dimension. What is
// made of f32 while a kernel runs is rounded here: rows whose elements are neighbours already, and panels whose neighbours
// are in rows one after the other.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_PAIRS_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_PAIRS_H

#include "lib/codegen/cpu/Kernel.h"

namespace nnopt::cpu {

/// i32 lanes: `even` as bf16 below, `odd` as bf16 above.
mlir::Value pairLanes(Kernel &k, mlir::Value even, mlir::Value odd);
/// `count` elements, a multiple of `lanes`, from f32 to bf16. `to` may be `from`.
void narrowRow(Kernel &k, mlir::Value from, mlir::Value to, Ix count, int64_t lanes);
/// Rows 2 i and 2 i + 1 of `from`, `pitch` elements apart, become row i of `to`, one pair beside the other; a last single
/// row is paired with zeros. `width` is a multiple of `lanes`. `to` may be `from` where pitch is the width.
void pairRows(Kernel &k, mlir::Value from, Ix pitch, Ix rows, int64_t width, mlir::Value to, int64_t lanes);

} // namespace nnopt::cpu

#endif
