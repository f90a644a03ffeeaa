//===- Gemm.h - tiles of a matrix product -----------------------*- C++ -*-===//
//
// A block computes a tile of the result. It walks through the contracted dimension in steps: while threads
// multiply what is in one half of shared memory, the loads of the next step are under way into registers, and
// go to the other half after that; so there is one barrier a step. A thread has 4x4 results, or several such
// squares. Where the result has too few tiles for the machine, `slices` groups of threads share the steps of a
// tile and add up their sums at the end.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_GEMM_H
#define NNOPT_LIB_CODEGEN_CUDA_GEMM_H

#include "lib/codegen/cuda/Kernel.h"

namespace nnopt::cuda {

struct Tile {
  int64_t rows, columns;
  int64_t rowSquares, columnSquares; // of a thread
  int64_t slices;
  static constexpr int64_t depth = 16;

  int64_t threadRows() const { return rows / (4 * rowSquares); }
  int64_t threadColumns() const { return columns / (4 * columnSquares); }
  int64_t sliceThreads() const { return threadRows() * threadColumns(); }
  int64_t threads() const { return sliceThreads() * slices; }

  /// The tile for `count` products of [m, depth] and [depth, n].
  static Tile choose(nn::Dim m, nn::Dim n, nn::Dim count);
};

/// How elements of an operand get into shared memory. x is a row of the left operand, a column of the right one.
struct TileOperand {
  /// Neighbouring elements of one load (1, 2 or 4), and whether they lie along the contracted dimension or along x.
  int64_t lanes = 1;
  bool alongDepth = true;
  /// What does not change from step to step for an x (of which there may be more than the operand has).
  std::function<llvm::SmallVector<Ix>(Ix x)> prepare;
  /// `lanes` elements as f32, zeros outside of the operand.
  std::function<llvm::SmallVector<mlir::Value>(llvm::ArrayRef<Ix> prepared, Ix depth)> load;
};

/// An operand that is a matrix of `size` x `depth` elements from element `base` of `buf` on; `along`: its rows lie along
/// the contracted dimension. `aligned`: the matrix begins at a multiple of 16 bytes.
TileOperand matrixOperand(Kernel &k, const Buffer &buf, bool aligned, Ix base, nn::Dim size, nn::Dim depth, bool along);

/// Emits the product of a tile whose first row and column these are. `store` gets 4 or 1 neighbouring sums
/// (`storeLanes`) at (row, column) inside of `rows` x `columns`.
void emitTile(Kernel &k, const Tile &tile, nn::Dim depth, const TileOperand &left, const TileOperand &right, Ix firstRow,
              Ix firstColumn, Ix rows, Ix columns, int64_t storeLanes,
              llvm::function_ref<void(Ix row, Ix column, llvm::ArrayRef<mlir::Value> sums)> store);

} // namespace nnopt::cuda

#endif
