//===- Gather.h - what the kernels of lookups share -------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_GATHER_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_GATHER_H

#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// Index `at` of `indices`, of an axis of `size` elements, made non-negative and clamped.
Ix loadIndex(Kernel &k, const Buffer &indices, Ix at, Ix size);

/// Rows of `row` elements that make a task worth a thread.
int64_t rowGrain(nn::Dim row, int64_t bytes);

} // namespace nnopt::cpu

#endif
