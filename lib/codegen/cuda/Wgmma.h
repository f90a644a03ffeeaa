//===- Wgmma.h - products of four warps, of sm_90a --------------*- C++ -*-===//
//
// A warpgroup, four warps of which the first one's number is a multiple of four, multiplies 64 rows of the left operand with
// 8 to 256 columns of the right one, 32 bytes deep (PTX ISA 8.0, 9.7.14 "wgmma"). Both operands are read from shared memory,
// as lines along the contracted dimension whose chunks are swizzled as TensorTile.h says: of lines of 64 and 128 bytes, these are
// the swizzling modes of that name. Warp w has rows 16 w to 16 w + 15, of which a lane has what it has of the pieces of mma (Mma.h).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_WGMMA_H
#define NNOPT_LIB_CODEGEN_CUDA_WGMMA_H

#include "lib/codegen/cuda/Mma.h"

namespace nnopt::cuda {

inline constexpr int64_t warpgroupThreads = 128, wgmmaRows = 64;
/// Where operands may begin: the swizzle repeats after so many bytes, or half as many with lines of 64 bytes.
inline constexpr int64_t wgmmaAlignment = 1024;

/// The function that says whether an image is for sm_90a: it becomes a constant when the image is made.
inline constexpr llvm::StringLiteral hasWgmmaFunction = "nnopt_has_wgmma";
/// Whether the code is for an architecture that has these instructions: of a branch on it, an image keeps one side.
mlir::Value hasWgmma(Kernel &k);

/// Describes the lines of 64 or 128 bytes from `line` on, a multiple of eight of them behind a multiple of wgmmaAlignment; or a
/// part of each, a multiple of 32 bytes behind.
mlir::Value describeLines(Kernel &k, mlir::Value line, int64_t lineBytes);

/// Makes what this thread has written, and what its copies have, visible to products.
void fenceForProducts(Kernel &k);
/// Before the first product, and after registers of sums were touched otherwise.
void beginProducts(Kernel &k);
/// Begins to add a product to `sums`, of which a lane has columns / 2.
void addProduct(Kernel &k, const MmaTypes &types, int64_t columns, mlir::Value left, mlir::Value right,
                llvm::MutableArrayRef<mlir::Value> sums);
/// The products begun since the last call are a group from now on.
void commitProducts(Kernel &k);
/// Waits for the products but those of the last `groups` groups. `sums` must not be touched before where theirs are in it.
void waitForProducts(Kernel &k, int64_t groups, llvm::MutableArrayRef<mlir::Value> sums);

} // namespace nnopt::cuda

#endif
