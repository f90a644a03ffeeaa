//===- Mma.h - instructions of tensor cores ---------------------*- C++ -*-===//
//
// A warp multiplies a 16-row piece of the left operand with an 8-column piece of the right one, 32
// bytes deep whatever the elements are (PTX ISA 7.8, 9.7.13.4 "mma"). So one layout serves all
// types: lane l has of the left operand the words (row l/4, word l%4), (l/4 + 8, l%4), (l/4, l%4 +
// 4), (l/4 + 8, l%4 + 4), of the right one (column l/4, word l%4), (l/4, l%4 + 4), and of the sums
// (l/4, 2(l%4)), its right neighbour, and both of row l/4 + 8.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_MMA_H
#define NNOPT_LIB_CODEGEN_CUDA_MMA_H

#include "lib/codegen/cuda/Kernel.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace nnopt::cuda {

/// What tensor cores multiply.
struct MmaTypes {
  static constexpr int64_t rows = 16, columns = 8, depthBytes = 32;
  mlir::NVVM::MMATypes left, right;

  int64_t elementBytes() const;
  bool isInteger() const {
    return left == mlir::NVVM::MMATypes::s8 || left == mlir::NVVM::MMATypes::u8;
  }
  bool isTf32() const { return left == mlir::NVVM::MMATypes::tf32; }
  mlir::Type sumType(mlir::MLIRContext *ctx) const;
  /// `f16`, `bf16`, `tf32`, `u8s8`, ...: for names of kernels.
  std::string text() const;
};

/// How tensor cores multiply elements of these types; nothing where they do not. `tf32`: f32 may be
/// rounded to tf32.
std::optional<MmaTypes> mmaTypes(mlir::Type left, mlir::Type right, bool tf32);

/// f32 rounded to tf32 (10 bits behind the point), ties away from zero, as cvt.rna.tf32 does.
uint32_t roundedToTf32(uint32_t bits);
mlir::Value roundToTf32(Kernel &k, mlir::Value word);

/// Four matrices of 8 rows of 16 bytes: lane l says where row l % 8 of matrix l / 8 begins, and
/// gets the words (row l / 4, word l % 4) of each, i32. `transposed`: the 16-bit elements (2(l%4),
/// l/4) and (2(l%4)+1, l/4) in place of those.
llvm::SmallVector<mlir::Value> loadMatrices(Kernel &k, mlir::Value row, bool transposed);
/// Adds the product of a piece of the left operand (4 words) and the right one (2) to `sums` (4).
void multiplyAdd(Kernel &k, const MmaTypes &types, llvm::ArrayRef<mlir::Value> left,
                 llvm::ArrayRef<mlir::Value> right, llvm::MutableArrayRef<mlir::Value> sums);

/// Two f32 as a word of 16-bit floats that are multiplied.
mlir::Value packHalves(Kernel &k, const MmaTypes &types, mlir::Value low, mlir::Value high);

/// Begins to copy 4, 8 or 16 bytes to shared memory; zeros unless `inside` (null: always).
void copyAsync(Kernel &k, mlir::Value to, mlir::Value from, int64_t bytes, mlir::Value inside);
/// The copies begun since the last call are a group from now on.
void commitCopies(Kernel &k);
/// Waits for this thread's copies but those of the last `groups` groups.
void waitForCopies(Kernel &k, int64_t groups);

} // namespace nnopt::cuda

#endif
