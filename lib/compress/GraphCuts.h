//===- GraphCuts.h - where a graph falls into two ---------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_GRAPHCUTS_H
#define NNOPT_LIB_COMPRESS_GRAPHCUTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <vector>

namespace nnopt::compress {

/// Places between operations of a function that a single value passes, besides its arguments, constants, and what is computed from
/// these alone (a mask of attention): behind a cut it is computed again.
class GraphCuts {
public:
  struct Cut {
    mlir::Operation *before; // the last operation before it
    mlir::Value passing;
  };
  /// Results of `main` from `resultCount` on do not count as readers.
  GraphCuts(mlir::func::FuncOp main, size_t resultCount);

  /// The number, in the order of the function's block, of an operation or of the one that holds it.
  int64_t placeOf(mlir::Operation *op) const;
  /// The last possible cut between each two neighbours among `spans`, the first and last places of what must not be taken apart.
  std::vector<Cut> between(std::vector<std::pair<int64_t, int64_t>> spans) const;

private:
  int64_t lastReader(mlir::Value v) const;
  /// Those of values that depend on an operation in one of the spans.
  std::vector<Cut> all(llvm::ArrayRef<std::pair<int64_t, int64_t>> spans) const;

  mlir::Block &block;
  size_t resultCount;
  std::vector<mlir::Operation *> ops;
  llvm::DenseMap<mlir::Operation *, int64_t> place;
};

} // namespace nnopt::compress

#endif
