//===- Rows.h - a block works on a row --------------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_ROWS_H
#define NNOPT_LIB_CODEGEN_CUDA_ROWS_H

#include "lib/codegen/cuda/Kernel.h"

namespace nnopt::cuda {

/// How the threads of a block share a contiguous row of n elements: each takes `lanes` neighbouring ones at a
/// time. A row that is short enough is loaded once and stays in registers.
struct RowShape {
  /// `rows`: what is read and written a row at a time; `parameters`: what all rows share.
  RowShape(Lowering &l, nn::Dim n, llvm::ArrayRef<mlir::Value> rows, llvm::ArrayRef<mlir::Value> parameters = {});
  int64_t threads, lanes;
  int64_t steps = 0; // vectors of a thread when the row stays in registers, else 0
};

/// A row of x, as floats of `type`.
class Row {
public:
  Row(Kernel &k, const RowShape &shape, const Buffer &x, Ix base, Ix n, mlir::Type type);

  using Term = llvm::function_ref<mlir::Value(mlir::Value element)>;
  /// Combines term(element) over the row, in all threads of the block.
  mlir::Value reduce(mlir::Value identity, Term term, Kernel::Combine combine);
  /// Visits the elements: `lanes` at column, column + 1, ...
  void forEach(llvm::function_ref<void(Ix column, llvm::ArrayRef<mlir::Value> elements)> body);

private:
  llvm::SmallVector<mlir::Value> load(Ix column);
  Ix column(int64_t step);
  Kernel &k;
  const RowShape &shape;
  Buffer x;
  Ix base, n;
  mlir::Type type;
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> kept; // of each step, zeros behind the row's end
};

} // namespace nnopt::cuda

#endif
