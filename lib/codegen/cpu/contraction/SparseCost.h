//===- SparseCost.h - whether skipping zero weights pays --------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSECOST_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSECOST_H

#include "lib/codegen/cpu/contraction/SparseWeights.h"

namespace nnopt::cpu {

/// A product whose weights may be sparse, as the cost model sees it.
struct SparseQuery {
  int64_t columns = 1, taps = 1, steps = 1;
  double entries = 0;           // nonzero steps of all columns
  bool bytes = false;           // a step is four of them
  bool windows = false;         // rows are looked up
  double denseRatio = 1;        // time of the dense algorithm relative to a multiplication of all weights
  double coldBytesPerCycle = 0; // weights come from memory at this rate; 0: from caches
};

/// Estimated cycles of one thread, fitted to measurements with AVX-512 and AVX2
/// (docs/rationale/sparsity.md).
double denseCycles(const Target &target, const SparseQuery &query, int64_t rows);
double sparseCycles(const Target &target, const SparseQuery &query, const SparsePlan &plan, int64_t rows);

/// The plan with the least cycles. `known`: blocks need not hold any other number of rows.
SparsePlan chooseSparsePlan(const Target &target, const SparseQuery &query, int64_t rows, bool known);

} // namespace nnopt::cpu

#endif
