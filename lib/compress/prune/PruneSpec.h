//===- PruneSpec.h - what --prune=structured asks for -----------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_PRUNE_PRUNESPEC_H
#define NNOPT_LIB_COMPRESS_PRUNE_PRUNESPEC_H

#include "lib/compress/prune/Elimination.h"

namespace nnopt::compress {

/// "25%", "25%,criterion=fluctuation,steps=4": the share of the model's multiply-adds that is to
/// go.
struct PruneSpec {
  double share = 0;
  const Criterion *criterion = &criteria().front();
  /// Units go in this many steps, ever fewer in each, with a repair behind each.
  int64_t steps = 1;

  /// Returns what is wrong with the text; empty when nothing is.
  std::string parse(llvm::StringRef text);
  /// The share that is gone after step 1..steps: share (1 - (1 - step / steps)^3) (Zhu and Gupta
  /// 2017, equation 1).
  double shareAfter(int64_t step) const;
};

} // namespace nnopt::compress

#endif
