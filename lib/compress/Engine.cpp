//===- Engine.cpp - changing a model by a recipe or a search ----------------===//

#include "lib/compress/Engine.h"
#include "lib/compress/Search.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipeline.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;

namespace nnopt::compress {

Techniques allTechniques() {
  Techniques all;
  all.push_back(createQuantizeTechnique());
  return all;
}

std::string compressModule(ModuleOp module, const DriverOptions &options, Progress &progress) {
  const CompressionOptions &ask = options.compression;
  // The exact passes first: layers are what is left of the graph then, and their names are those of recipes.
  PassManager pm(module.getContext(), ModuleOp::getOperationName(), PassManager::Nesting::Implicit);
  buildOptimizationPipeline(pm, 2, PipelineEnd::Graph);
  if (failed(pm.run(module)))
    throw ToolError(1, options.model + ": error: optimization failed");
  if (!ask.recipe && ask.recipeIn.empty())
    return Search(module, options, progress).run();
  std::string text, from = ask.recipe ? "recipe" : ask.recipeIn;
  if (ask.recipe) {
    text = *ask.recipe;
  } else {
    auto buffer = llvm::MemoryBuffer::getFile(ask.recipeIn);
    if (!buffer)
      throw ToolError(3, ask.recipeIn + ": " + buffer.getError().message());
    text = (*buffer)->getBuffer().str();
  }
  Recipe recipe = Recipe::parse(text, from);
  applyRecipe(module, recipe, allTechniques());
  if (!ask.recipeOut.empty())
    writeText(ask.recipeOut, recipe.text());
  return recipe.text();
}

} // namespace nnopt::compress
