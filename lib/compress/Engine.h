//===- Engine.h - choosing what to do to a model ----------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_ENGINE_H
#define NNOPT_LIB_COMPRESS_ENGINE_H

#include "lib/compress/Recipe.h"
#include "lib/driver/Driver.h"

namespace nnopt::compress {

/// All techniques, in the order they are applied.
Techniques allTechniques();
/// What is wrong with `spec` for a technique by itself ("expected int8"); empty when nothing is.
std::string checkSpec(llvm::StringRef technique, llvm::StringRef spec);

/// Changes `module`, an imported graph, as the options say: runs the exact graph passes, then
/// replays a recipe or finds one. Returns the recipe that was applied. Throws ToolError; a budget
/// that cannot be met is exit 1, after the best recipe has been written.
std::shared_ptr<const Recipe> compressModule(mlir::ModuleOp module, const DriverOptions &options,
                                             Progress &progress);

} // namespace nnopt::compress

#endif
