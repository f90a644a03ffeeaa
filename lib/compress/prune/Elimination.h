//===- Elimination.h - which channels a model can miss ----------*- C++ -*-===//
//
// Orders the units of a group (channels, heads, neurons) by how little the layers that sum over
// them would miss them.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_PRUNE_ELIMINATION_H
#define NNOPT_LIB_COMPRESS_PRUNE_ELIMINATION_H

#include "lib/compress/LeastSquares.h"
#include "llvm/ADT/ArrayRef.h"
#include <string>
#include <vector>

namespace nnopt::compress {

/// A layer that sums over the units of a group.
struct Consumer {
  LayerWeights weights;
  const Gram *gram;                          // of what it reads
  std::vector<std::vector<int64_t>> columns; // of its weights, for each unit
};

/// What criteria look at.
struct UnitGroup {
  int64_t units = 0;
  std::vector<int64_t> gone; // units that went before: they are the first of any order
  std::vector<Consumer> consumers;
  /// Weights and biases that make the values of a unit, one row for each unit; no columns where
  /// nothing constant does.
  Matrix producers;
  Vector scales; // of batch normalizations that end in a unit; empty where there is none
};

/// Units in the order in which they go, and for each how much the layers behind have lost when it
/// is gone: the share of the variance of their outputs, summed over layers (for criteria that do
/// not know it: of the sum of scores).
struct Elimination {
  std::vector<int64_t> order;
  std::vector<double> loss;
};

/// A way to tell units that matter from others.
struct Criterion {
  const char *name, *summary;
  Elimination (*eliminate)(const UnitGroup &group);
  /// Whether it says nothing of groups without batch normalizations.
  bool needsScales = false;
};

/// All criteria; the first one is the default.
llvm::ArrayRef<Criterion> criteria();
/// The one of that name, or null.
const Criterion *findCriterion(llvm::StringRef name);

/// The weights and biases of the consumers that come closest to their outputs with the first
/// counts[i] units of `order` gone, whose columns are zero: for each of `counts`, which ascend.
std::vector<std::vector<LayerWeights>> weightsWithout(const UnitGroup &group,
                                                      llvm::ArrayRef<int64_t> order,
                                                      llvm::ArrayRef<int64_t> counts);

} // namespace nnopt::compress

#endif
