//===- Epilogue.h - bias, epilogue and store of contractions ----*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_EPILOGUE_H
#define NNOPT_LIB_CODEGEN_CUDA_EPILOGUE_H

#include "lib/codegen/cuda/Kernel.h"

namespace nnopt::cuda {

/// Writes sums to a result that is seen as a matrix: its last dimension is the column, all others together are
/// the row. Adds the bias (one value per column), applies the epilogue in registers, converts and stores.
class Epilogue {
public:
  /// With `noColumns` the result has no column dimension (matrix times vector): it is one column wide.
  Epilogue(Kernel &k, nn::LinearOp op, bool noColumns = false);

  /// Neighbouring columns that can be stored at once, `most` or fewer: 8 of at most 16 bits, 4, or 1.
  int64_t lanes(int64_t most = 4) const { return std::min(most, width); }
  /// Finishes sums[i] (f32, or i32 where bias and epilogue take that), element (row, column + i); sums are as many as lanes() or one.
  void store(Ix row, Ix column, llvm::ArrayRef<mlir::Value> sums);

  Buffer out;

private:
  struct Arg {
    Buffer buffer;
    nn::Dims dims; // as many as the result has, columns included
  };
  llvm::SmallVector<mlir::Value> loadArg(const Arg &arg, Ix row, Ix column, int64_t count);

  void storeAs(const Buffer &buffer, Ix offset, llvm::ArrayRef<mlir::Value> values);

  Kernel &k;
  mlir::Region &epilogue;
  std::optional<Buffer> second; // the second result
  nn::Dims dims; // of the result, columns included
  std::optional<Buffer> bias;
  llvm::SmallVector<Arg> args;
  int64_t width = 1;
};

/// Whether an epilogue can run on a GPU.
bool canRunEpilogue(mlir::Region &epilogue);

} // namespace nnopt::cuda

#endif
