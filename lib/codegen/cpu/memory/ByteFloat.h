//===- ByteFloat.h - 8-bit floats -------------------------------*- C++ -*-===//
//
// LLVM has no 8-bit floats: kernels load and store them as bytes and convert by integer
// arithmetic. Formats as in ONNX (float8_e4m3fn and e5m2 with their `fnuz` variants).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_BYTEFLOAT_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_BYTEFLOAT_H

#include "lib/codegen/cpu/memory/Vectorize.h"

namespace nnopt::cpu {

/// Whether `type` (or the element type of a shaped type) is an 8-bit float with these routines.
bool isByteFloat(mlir::Type type);

/// f32 (scalar or vector) from bytes of the 8-bit format `type`.
mlir::Value fromByteFloat(Kernel &k, mlir::Value bytes, mlir::Type type);
/// Bytes of the 8-bit format `type` from f32, rounded to nearest even. Beyond the largest value:
/// that value if `saturate`, else infinity, or NaN in formats without one.
mlir::Value toByteFloat(Kernel &k, mlir::Value v, mlir::Type type, bool saturate);

} // namespace nnopt::cpu

#endif
