//===- NarrowMatrix.h - weights in fewer bits, in registers -----*- C++ -*-===//
//
// Weights of a product, or a table, that stay in memory as they are stored, [column][depth], and become floats in registers.
//
// An integer u below 2^23 becomes a float without a conversion: the bits 0x4b000000 | u are 2^23 + u.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_NARROWMATRIX_H
#define NNOPT_LIB_CODEGEN_CUDA_NARROWMATRIX_H

#include "dialects/nn/NarrowWeights.h"
#include "lib/codegen/cuda/Kernel.h"

namespace nnopt::cuda {

/// How integers of narrow weights are stored: unsigned.
struct NarrowCodes {
  explicit NarrowCodes(const nn::NarrowWeights &weights);
  int64_t bits;   // 4 or 8; 16 of floats
  int64_t offset; // what was added
  /// The code of an element of `bytes`, the weights' values.
  unsigned code(llvm::ArrayRef<char> bytes, int64_t element) const {
    return unsigned(bytes[element] + offset) & ((1u << bits) - 1);
  }

  /// With w = scale (u - zero) of a code u: for each group of each column, the scale and 2^23 + zero.
  struct Parameters {
    std::vector<float> scales, bases; // at(group, column)
    bool equalBases;
  };
  /// `at(group, column)` is where a group's are, of `count`; others are 0.
  Parameters parameters(Lowering &l, const nn::NarrowWeights &weights, int64_t count,
                        llvm::function_ref<int64_t(int64_t, int64_t)> at) const;
  /// u - zero, of the code in the low bits of `word` (of which others may be set), for its `base`: 2^23 + zero.
  mlir::Value widened(Kernel &k, mlir::Value word, mlir::Value base) const;
};

class NarrowMatrix {
public:
  NarrowMatrix(Kernel &k, const nn::NarrowWeights &weights);

  /// Neighbours along the depth that are one load: of one group, and all inside or none.
  int64_t lanes() const;
  double bytesPerColumn() const { return double(depth) * double(codes.bits) / 8 + (scales ? 4.0 * double(groups) : 0); }

  /// Scale and base of the group at `position`; scale null: there are none.
  struct Parameters {
    mlir::Value scale, base;
  };
  Parameters parameters(Ix column, Ix position);
  /// `count` (1, 2, 4, 8, 16) weights of a column from `position`, a multiple of it, on; without the scale.
  llvm::SmallVector<mlir::Value> load(Ix column, Ix position, int64_t count, const Parameters &p);
  /// The same with the scale.
  llvm::SmallVector<mlir::Value> loadScaled(Ix column, Ix position, int64_t count);

private:
  void packFloats(const nn::NarrowWeights &w);
  void packIntegers(const nn::NarrowWeights &w);

  Kernel &k;
  NarrowCodes codes;
  int64_t depth, group, groups, padded;
  Buffer matrix;
  std::optional<Buffer> scales, bases;
  mlir::Value base; // where all are equal
};

} // namespace nnopt::cuda

#endif
