//===- PruneRecipe.h - what structured pruning did, done again --*- C++ -*-===//
//
// Steps of prune-structured in recipes: option "keep" names the units of a group that stay, option
// "weights" has what a layer has then. They change the shapes of many operations at once, so they
// come before the steps of all techniques that replace single operations.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_PRUNE_PRUNERECIPE_H
#define NNOPT_LIB_COMPRESS_PRUNE_PRUNERECIPE_H

#include "lib/compress/Recipe.h"

namespace nnopt::compress {

constexpr const char *kPruneStructured = "prune-structured";

/// All layers of a function with the names that recipes have for them, which are those before
/// anything is removed.
std::vector<std::pair<std::string, LinearLayer>> namedLayers(mlir::func::FuncOp main);

/// Removes what the steps of prune-structured among `steps` say. Throws ToolError (exit 3) where
/// they do not fit the model.
void applyStructuredPruning(mlir::ModuleOp module, const std::vector<Step> &steps);

} // namespace nnopt::compress

#endif
