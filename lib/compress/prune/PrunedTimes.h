//===- PrunedTimes.h - what fewer channels save -----------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_PRUNE_PRUNEDTIMES_H
#define NNOPT_LIB_COMPRESS_PRUNE_PRUNEDTIMES_H

#include "lib/compress/Data.h"
#include "lib/compress/LayerCost.h"
#include "lib/compress/Recipe.h"

namespace nnopt::compress {

/// The values of symbolic dimensions in a run whose time counts.
std::function<std::optional<int64_t>(nn::Dim)> sizesIn(mlir::func::FuncOp main, FuncShapes &shapes,
                                                       const Dataset &data);

/// Milliseconds of each operation that multiplies and adds, measured by itself, when `steps` of
/// prune-structured have been taken. The module stays as it is; what has been measured once is
/// known from then on.
std::vector<double> timesAfter(mlir::ModuleOp module, const std::vector<Step> &steps,
                               const Dataset &data, LayerCosts &costs);

} // namespace nnopt::compress

#endif
