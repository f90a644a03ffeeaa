//===- Kernel.h - building one GPU kernel -----------------------*- C++ -*-===//
//
// A GPU kernel is built with the same builder as a CPU kernel. Its function runs once for each thread: in
// place of tasks it gets the number of its block, the number of blocks and its number in the block. What a
// GPU has besides (shared memory, barriers, exchange within a warp) are NVVM operations.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_KERNEL_H
#define NNOPT_LIB_CODEGEN_CUDA_KERNEL_H

#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cuda {

using cpu::Buffer;
using cpu::Ix;
using cpu::Lowering;

/// The symbol of a block's shared memory, of which a kernel gets as much as its launch says.
inline constexpr llvm::StringLiteral sharedSymbol = "nnopt_shared";
inline constexpr int64_t warpSize = 32, sharedAlignment = 1024;
/// What Kernel::waitForLaunches and letNextLaunchBegin call: an instruction, or nothing, when an image is made.
inline constexpr llvm::StringLiteral waitForLaunchesFunction = "nnopt_wait_for_launches",
                                     letNextLaunchBeginFunction = "nnopt_let_next_launch_begin";

class Kernel : public cpu::Kernel {
public:
  /// Begins a kernel whose blocks have `threads` threads.
  Kernel(Lowering &lowering, mlir::Operation *op, llvm::StringRef name, int64_t threads)
      : cpu::Kernel(lowering, op, name), block(begin), threads(threads) {}

  /// Number of this block. Its thread is cpu::Kernel::thread.
  Ix block;
  const int64_t threads;

  /// `elements` elements of shared memory (16-byte aligned).
  Buffer shared(mlir::Type elementType, int64_t elements);
  /// The same at a multiple of `alignment` bytes, up to sharedAlignment.
  Buffer sharedAt(int64_t alignment, mlir::Type elementType, int64_t elements);
  /// Waits for the launches before, beside whose end GPUs begin this one (from sm_90 on): before it, constants may be read and
  /// nothing else, and nothing may be written. A kernel that does not say where waits at its start.
  void waitForLaunches();
  /// Lets blocks of the next launch begin where there is room, when all blocks of this one have come here; else they begin when
  /// these are done. Where there is little room they crowd: not for kernels whose time is arithmetic.
  void letNextLaunchBegin();
  /// Waits for all threads of the block; must be reached by all or none of them.
  void barrier();
  /// The value of the lane whose number differs in the bits of `mask`. f32 and i32.
  mlir::Value shuffleXor(mlir::Value v, int64_t mask);

  using Combine = llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)>;
  /// `v` of all lanes of the warp combined, in all of them.
  mlir::Value reduceWarp(mlir::Value v, Combine combine);
  /// `v` of all threads of the block combined, in all of them. `identity` is neutral.
  mlir::Value reduceBlock(mlir::Value v, mlir::Value identity, Combine combine);

  /// Loads of `lanes` consecutive elements as scalars: one access of up to 16 bytes, or several of 16. The address, so
  /// `offset`, is a multiple of an access's size.
  llvm::SmallVector<mlir::Value> loadLanes(const Buffer &buf, Ix offset, int64_t lanes);
  void storeLanes(const Buffer &buf, Ix offset, llvm::ArrayRef<mlir::Value> values);

  /// Finishes the kernel and launches it.
  void launch(nn::Dim blocks) { lowering.launchBlocks(*this, blocks, threads, sharedBytes); }

private:
  int64_t sharedBytes = 0;
  std::optional<Buffer> reduced; // what warps exchange in reduceBlock
};

/// Whether elements are f32, f16 or bf16: what is computed in f32.
inline bool isFloat(mlir::Type element) { return element.isF32() || element.isF16() || element.isBF16(); }
/// The same of all of these values that are there.
bool areFloats(Lowering &l, mlir::ValueRange values);
/// Whether a buffer starts at a multiple of 16 bytes for sure: not a view at an odd place.
bool isAligned(Lowering &l, mlir::Value v);
/// Whether `d` is a known multiple of `n`.
bool isMultiple(nn::Dim d, int64_t n);

/// Registers an emitter of GPU kernels: of the matching ones, that of the highest priority is used.
struct RegisterEmitter {
  explicit RegisterEmitter(cpu::Emitter emitter);
};

} // namespace nnopt::cuda

#endif
