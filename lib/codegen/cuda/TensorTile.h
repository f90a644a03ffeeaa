//===- TensorTile.h - tiles of a matrix product on tensor cores -*- C++ -*-===//
//
// A block computes a tile of the result, each of its warps a part of it. It walks through the
// contracted dimension in steps of 64 or 128 bytes. Shared memory holds several steps: while warps
// multiply one, asynchronous copies fill those behind it, and there is one barrier a step. Lines of
// 16-byte chunks are swizzled: a chunk lies where its number xor bits of the line's says, so that
// neither copies nor ldmatrix, which takes a chunk of eight lines, meet in a bank.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_TENSORTILE_H
#define NNOPT_LIB_CODEGEN_CUDA_TENSORTILE_H

#include "lib/codegen/cuda/Machine.h"
#include "lib/codegen/cuda/Mma.h"

namespace nnopt::cuda {

struct TensorTile {
  int64_t rows, columns;         // of a block
  int64_t warpRows, warpColumns; // of a warp
  /// Blocks that share the contracted dimension of a tile.
  int64_t slices = 1;
  /// Bytes that a step has of each row and column, and steps in shared memory.
  int64_t depthBytes = 64, stages = 4;

  int64_t warps() const { return rows / warpRows * (columns / warpColumns); }
  int64_t threads() const { return warps() * warpSize; }
  int64_t sharedBytes() const { return stages * depthBytes * (rows + columns); }

  /// What is estimated to be fastest for `count` products of [m, depth] and [depth, n]; sizes that
  /// are not known count as 256. `op` may ask for a tile by its attribute `nn.kernel = {rows = 64,
  /// columns = 64, slices = 2}`, as far as there is such a one. Steps have at most
  /// `maxDepthBytes`.
  static TensorTile choose(mlir::Operation *op, const Machine &machine, const MmaTypes &types,
                           nn::Dim m, nn::Dim n, nn::Dim depth, nn::Dim count,
                           int64_t maxDepthBytes = 128);
};

/// How elements of an operand get into shared memory. x is a row of the left operand, a column of
/// the right one.
struct TensorOperand {
  Buffer buffer;
  /// Whether neighbouring elements in memory are neighbours along the contracted dimension, or
  /// along x.
  bool alongDepth = true;
  /// Bytes that are copied at once: 16, 8 or 4, or 0 where elements must be loaded one by one. All
  /// of them are in the operand or none, and lie at a multiple of their number.
  int64_t piece = 0;
  /// f32 that are no tf32 yet.
  bool needsRounding = false;
  /// 16 bytes that stand for what is outside; zeros where absent.
  std::optional<Buffer> outside;
  /// What does not change from step to step for an x (of which there may be more than the operand
  /// has).
  std::function<llvm::SmallVector<Ix>(Ix x)> prepare;
  /// Where an element is in the buffer, and whether it is in the operand (null: always).
  std::function<std::pair<Ix, mlir::Value>(llvm::ArrayRef<Ix> prepared, Ix depth)> locate;
};

/// A right operand that comes into registers in its own way.
class RightOperand {
public:
  virtual ~RightOperand() = default;
  /// Begins to fill a stage of shared memory with the step that starts at this depth.
  virtual void fill(Ix stage, Ix firstDepth) = 0;
  /// Says, before the first step, that the warp takes the 16 columns of the tile from `x` on; calls are numbered from 0.
  virtual void addColumns(Ix x) = 0;
  /// The words of half a step (Mma.h): two of the first eight of these columns, two of the others.
  virtual llvm::SmallVector<mlir::Value> take(Ix stage, int64_t number, int64_t half) = 0;
};

/// The bytes that can be copied at once where lines have `length` elements.
int64_t pieceBytes(nn::Dim length, int64_t elementBytes, bool aligned);

/// A tile of a product: part `slice` of its contracted dimension.
struct TensorProduct {
  MmaTypes types;
  TensorTile tile;
  TensorOperand left, right;
  nn::Dim depth;
  /// In place of `right`, or null.
  RightOperand *own = nullptr;
  /// Whether the right operand may be copied before the launches before are over.
  bool rightIsConstant = false;
  Ix slice, firstRow, firstColumn, rows, columns;
  /// Neighbouring sums that are stored at once, 8, 4 or 1.
  int64_t storeLanes = 1;
  /// Whether the sums of the left operand's rows are needed (of bytes).
  bool rowSums = false;
};
/// Takes sums at (row, column) inside of rows x columns, and the sum of the left operand's row.
using StoreSums = llvm::function_ref<void(Ix row, Ix column, llvm::ArrayRef<mlir::Value> sums,
                                          mlir::Value rowSum)>;

void emitTensorTile(Kernel &k, const TensorProduct &product, StoreSums store);

} // namespace nnopt::cuda

#endif
