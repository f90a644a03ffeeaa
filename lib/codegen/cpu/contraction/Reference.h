//===- Reference.h - helpers of the plain contraction loops -----*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_REFERENCE_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_REFERENCE_H

#include "lib/codegen/cpu/Kernel.h"

namespace nnopt::cpu {

/// Element `offset` of `buf` in the accumulator type.
mlir::Value loadAs(Kernel &k, const Buffer &buf, Ix offset, mlir::Type accType);
/// a * b + acc of floats or integers, scalars or vectors.
mlir::Value addProduct(Kernel &k, mlir::Value a, mlir::Value b, mlir::Value acc);
/// Sum over i < depth of a[aOffset + i * aStep] * b[bOffset + i * bStep] added to `init`. Contiguous
/// floats of the accumulator type are summed lane by lane.
mlir::Value dotProduct(Kernel &k, const Buffer &a, Ix aOffset, Ix aStep, const Buffer &b, Ix bOffset, Ix bStep, Ix depth,
                       mlir::Value init);

} // namespace nnopt::cpu

#endif
