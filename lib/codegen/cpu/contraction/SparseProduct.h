//===- SparseProduct.h - contractions that skip zero weights ----*- C++ -*-===//
//
// Two kernels. Both cut the product into blocks of rows, and the contracted dimension into parts so that the rows of a
// block stay in L1 or L2 (SparsePlan).
//
// *Entries* (SparseProduct.cpp): rows of the activation are in the lanes of vectors: a block of rows is transposed into
// memory of the thread, part by part. Then each column walks its nonzeros (SparseWeights.h): broadcast the value,
// multiply it with the vectors of the block that the gap leads to, add to accumulators in registers. Sums of a panel of
// columns are transposed back and finished as those of dense products.
//
// *Blocks* (SparseBlocks.cpp): columns are in lanes, as in dense products. Each panel of columns walks the steps at which
// it is not all zero: load the vector of weights, and multiply it with one broadcast element of each row.
//
// 0 x inf and 0 x NaN are NaN: a part whose rows are not all finite is multiplied by the zeros as
// well, so that results are those of the dense product.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSEPRODUCT_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSEPRODUCT_H

#include "lib/codegen/cpu/contraction/SparseRows.h"

namespace nnopt::cpu {

/// Emits and launches the product: of entries, or of blocks.
mlir::LogicalResult emitSparseProduct(nn::LinearOp op, Lowering &lowering, const SparseRows &rows,
                                      const SparseSource &source, const SparsePlan &plan, llvm::StringRef name);
mlir::LogicalResult emitSparseBlocks(nn::LinearOp op, Lowering &lowering, const SparseRows &rows,
                                     const SparseSource &source, const SparsePlan &plan, llvm::StringRef name);

/// Constant weights of a stream. A vector may be read where it has fewer elements.
template <typename T> Buffer streamOf(Kernel &k, std::vector<T> list, mlir::Type type) {
  int64_t size = list.size();
  list.resize(std::max<size_t>(size, 64 / sizeof(T)));
  return k.weights(llvm::ArrayRef(reinterpret_cast<const char *>(list.data()), list.size() * sizeof(T)), type, {size});
}
/// What the zero point of bytes of x adds to each column, of which the weights sum up to `sums`; nothing where it is 0.
std::optional<Buffer> zeroPointTerm(Kernel &k, const SparseRows &in, std::vector<int32_t> sums);
/// Emits the loops over the tasks, each a panel of a block of rows: `body` gets the first row and a range of panels, of
/// which `balanced` (SparseStreams) makes equal shares equal work.
void runPanels(Kernel &k, const SparsePlan &plan, llvm::ArrayRef<uint32_t> balanced,
               llvm::function_ref<void(Ix, Ix, Ix)> body);

} // namespace nnopt::cpu

#endif
