//===- Recipe.h - what was done to a model, to do it again ------*- C++ -*-===//
//
// {"nnopt_recipe": 1, "steps": [{"technique": "quantize", "site": "/conv1/Conv", "option": "int8", "variant": "mse",
//                                "parameters": {"scale": 0.0157, "zero_point": 0}}, ...], ...}
//
// Only the steps matter for replaying; other members tell people how they came about.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_RECIPE_H
#define NNOPT_LIB_COMPRESS_RECIPE_H

#include "lib/compress/Technique.h"

namespace nnopt::compress {

struct Step {
  std::string technique, site;
  Option option;
};

struct Recipe {
  std::vector<Step> steps;
  nlohmann::json notes = nlohmann::json::object(); // members beside the steps

  std::string text() const;
  /// Throws ToolError (exit 3) for anything that is no recipe; `from` is for messages.
  static Recipe parse(const std::string &text, const std::string &from);
};

/// Applies the steps to `main` of a module that went through the graph passes. Throws ToolError (exit 3) when a step names
/// a site that the model does not have or an option that does not fit it.
void applyRecipe(mlir::ModuleOp module, const Recipe &recipe, const Techniques &techniques);

} // namespace nnopt::compress

#endif
