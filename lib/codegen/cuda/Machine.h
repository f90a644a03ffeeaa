//===- Machine.h - what tiles are chosen for --------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_MACHINE_H
#define NNOPT_LIB_CODEGEN_CUDA_MACHINE_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace nnopt::cuda {

/// Sizes of a GPU (CUDA C programming guide, table 15; NVIDIA's whitepapers of GA100, GA102, AD102,
/// GH100), as far as kernels differ by them. All images of an artifact have the same launches, so
/// there is one machine for all of them.
struct Machine {
  int64_t multiprocessors;
  int64_t sharedBytes;      // of a multiprocessor
  int64_t blockSharedBytes; // of a block at most
  int64_t f16Products; // of tensor cores a cycle and multiprocessor; of bytes twice as many, of
                       // tf32 half

  /// The one with the most multiprocessors among these architectures, with shared memory that all
  /// of them have.
  static Machine of(llvm::ArrayRef<uint32_t> architectures);
};

} // namespace nnopt::cuda

#endif
