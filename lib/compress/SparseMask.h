//===- SparseMask.h - which weights to keep ---------------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_SPARSEMASK_H
#define NNOPT_LIB_COMPRESS_SPARSEMASK_H

#include "lib/compress/SparsePattern.h"

namespace nnopt::compress {

/// The largest |w|.
Mask magnitudeMask(const Matrix &weights, const SparsePattern &pattern, Scope scope);

/// The largest |w| |x|, of root mean squares |x| of the columns (M. Sun et al., "A Simple and
/// Effective Pruning Approach for Large Language Models", 2023: "Wanda").
Mask wandaMask(const Matrix &weights, const Matrix &hessian, const SparsePattern &pattern,
               Scope scope);

/// Optimal brain surgeon: the smallest w^2 / [H^-1]_cc go, column after column, and the columns
/// behind make up for each (E. Frantar, D. Alistarh, "SparseGPT", 2023). Scores are compared within
/// `blockSize` columns, so that what was made up before counts. `hessian` is E[x x'] and positive
/// definite.
Mask obsMask(Matrix weights, const Matrix &hessian, const SparsePattern &pattern,
             int64_t blockSize = 32);

/// Minimizes (v - w)' H (v - w) over v of the pattern by the alternating direction method of
/// multipliers: a solution of the quadratic problem and the nearest matrix of the pattern pull at
/// each other, harder with every step (X. Meng et al., "ALPS", 2024). `hessian` is E[x x'].
Mask admmMask(const Matrix &weights, const Matrix &hessian, const SparsePattern &pattern);

} // namespace nnopt::compress

#endif
