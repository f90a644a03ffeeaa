//===- NarrowTable.h - tables of embeddings in fewer bits -------*- C++ -*-===//
//
// The part of weight-only quantization that is about rows of a constant table, taken by `nn.gather`: they are widened as they
// are read. Options have the names of those of matrix products (WeightOnly.h).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_NARROWTABLE_H
#define NNOPT_LIB_COMPRESS_NARROWTABLE_H

#include "lib/compress/Technique.h"

namespace nnopt::compress {

class NarrowTable {
public:
  /// Whether a gather takes rows of a constant matrix of 32-bit floats.
  static bool isTable(nn::GatherOp op);
  /// Why the table of a gather stays as it is; empty when it may be stored in fewer bits.
  static std::string whyNot(nn::GatherOp op);

  /// Of a gather for which whyNot() is empty.
  explicit NarrowTable(nn::GatherOp op) : op(op) {}
  /// Those of the name `only`, or all where that is empty; 4-bit integers in groups of about `group`.
  std::vector<Option> options(llvm::StringRef only, int64_t group);
  std::string check(const Option &option);
  mlir::Value apply(mlir::RewriterBase &rewriter, const Option &option);

private:
  nn::GatherOp op;
};

} // namespace nnopt::compress

#endif
