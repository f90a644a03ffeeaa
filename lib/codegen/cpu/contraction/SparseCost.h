//===- SparseCost.h - whether skipping zero weights pays --------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSECOST_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSECOST_H

#include "lib/codegen/cpu/contraction/SparseWeights.h"

namespace nnopt::cpu {

/// A product whose weights may be sparse, as the cost model sees it.
struct SparseQuery {
  int64_t columns = 1, taps = 1, steps = 1;
  double entries = 0;           // nonzero steps of all columns
  double blocks = 0;            // steps at which a panel of columns is not all zero, of all panels
  bool bytes = false;           // a step is four of them
  bool windows = false;         // rows are looked up
  double denseRatio = 1;        // time of the dense algorithm relative to a multiplication of all weights
  double coldBytesPerCycle = 0; // weights come from memory at this rate; 0: from caches
};

/// Estimated cycles of one thread, fitted to measurements with AVX-512 and AVX2
/// (docs/rationale/sparsity.md).
double denseCycles(const Target &target, const SparseQuery &query, int64_t rows);
double sparseCycles(const Target &target, const SparseQuery &query, const SparsePlan &plan, int64_t rows);
double blockCycles(const Target &target, const SparseQuery &query, const SparsePlan &plan, int64_t rows);

/// The plans with the least cycles. `known`: no other number of rows will come.
SparsePlan chooseSparsePlan(const Target &target, const SparseQuery &query, int64_t rows, bool known);
SparsePlan chooseBlockPlan(const Target &target, const SparseQuery &query, int64_t rows, bool known);

} // namespace nnopt::cpu

#endif
