//===- WeightOnly.h - weights alone in fewer bits ---------------*- C++ -*-===//
//
// Options of the quantize technique for matrix products that stay in 32-bit floats and read their weights in fewer bits, and
// for tables of which rows are looked up (NarrowTable.h):
//
//   w8           8-bit integers, symmetric, a scale for each out channel
//   w4           4-bit integers, a scale for each group of 32 neighbours in a column; with zero points (`asymmetric`) or not
//   bf16, f16    rounded
//
// w8a8 and w4a8 are w8 and w4 with activations of 8 bits: each row has a scale of its own, which is found at run time.
//
// w4 with a rank has, beside the integers Q of a layer's weights W, two thin matrices of 16-bit floats: x W ~ x Q + (x A) B. A B is
// the matrix of that rank that is closest to W - Q for the rows that calibration saw (Liu et al. 2024, "EoRA", section 3: the
// truncated singular value decomposition of (W - Q) L, E[x x'] = L L', times the inverse of L).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_WEIGHTONLY_H
#define NNOPT_LIB_COMPRESS_WEIGHTONLY_H

#include "lib/compress/Technique.h"

namespace nnopt::compress {

class WeightOnly {
public:
  /// Reads "w8", "w4", "w4,group=64,rank=16", "w8a8", "w4a8", "w4a8,group=64", "bf16", "f16"; whether it is one of these. `wrong` says what is wrong with the rest.
  bool configure(llvm::StringRef spec, std::string &wrong);
  static bool isOption(llvm::StringRef name);

  /// Why weights of `op` cannot be stored so; empty when they can.
  static std::string whyNot(mlir::Operation *op);
  /// All options, or the one that was configured.
  std::vector<Option> options(mlir::Operation *op, const Gram *gram) const;

  static std::string check(mlir::Operation *op, const Option &option);
  static LayerWeights weights(mlir::Operation *op, const Option &option);
  /// Whether the activation has 8 bits, too.
  static bool hasByteRows(const Option &option);
  static mlir::Value activation(mlir::RewriterBase &rewriter, mlir::Operation *op, const Option &option);
  static mlir::Value apply(mlir::RewriterBase &rewriter, mlir::Operation *op, const Option &option);
  static bool refit(mlir::Operation *op, Option &option, const Gram &gram);
  static std::string costKey(const Option &option);

private:
  std::string only; // empty: all
  int64_t group = 32, rank = 0;
};

} // namespace nnopt::compress

#endif
