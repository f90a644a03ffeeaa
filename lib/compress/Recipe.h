//===- Recipe.h - what was done to a model, to do it again ------*- C++ -*-===//
//
// {"nnopt_recipe": 1, "steps": [{"technique": "quantize", "site": "/conv1/Conv", "option": "int8",
// "variant": "mse",
//                                "parameters": {"scale": 0.0157, "zero_point": 0}}, ...], ...}
//
// Only the steps matter for replaying; other members tell people how they came about. Steps with
// arrays, as weights that were solved anew, have a member "tensors": for each array its name in the
// file beside, RECIPE.npz, whose SHA-256 is in "tensors_sha256".
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
  /// Writes the text to `path`, and arrays, where steps have any, to `path`.npz. Throws ToolError.
  void write(const std::string &path) const;
  /// Reads what write() wrote. Throws ToolError (exit 3) for anything that is no recipe.
  static Recipe read(const std::string &path);
  /// Steps without arrays; `from` is for messages.
  static Recipe parse(const std::string &text, const std::string &from) {
    return parse(text, from, {});
  }

private:
  static Recipe parse(const std::string &text, const std::string &from, const Tensors &tensors);
  Tensors allTensors() const;
};

/// Does what those of `steps` say that change the shapes of many operations at once, so that all others come behind them: of
/// prune-structured, then of merge-tokens. Throws ToolError (exit 3) where they do not fit the model.
void applyAhead(mlir::ModuleOp module, const std::vector<Step> &steps);

/// Applies the steps to `main` of a module that went through the graph passes. Throws ToolError
/// (exit 3) when a step names a site that the model does not have or an option that does not fit
/// it.
void applyRecipe(mlir::ModuleOp module, const Recipe &recipe, const Techniques &techniques);

} // namespace nnopt::compress

#endif
