//===- Engine.cpp - changing a model by a recipe or a search ----------------===//

#include "lib/compress/Engine.h"
#include "lib/compress/Noise.h"
#include "lib/compress/Search.h"
#include "lib/compress/prune/PruneRecipe.h"
#include "lib/compress/prune/PruneSpec.h"
#include "lib/compress/tokens/MergeTokens.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"
#include "passes/Pipeline.h"

using namespace mlir;

namespace nnopt::compress {

Techniques allTechniques() {
  Techniques all;
  all.push_back(createLowRankTechnique());
  all.push_back(createMoETechnique());
  all.push_back(createPruneSparseTechnique());
  all.push_back(createQuantizeTechnique());
  all.push_back(createSparseActivationsTechnique());
  all.push_back(createRefitTechnique());
  // Behind the others: their steps may be of layers inside of blocks that go.
  all.push_back(createParallelBlocksTechnique());
  all.push_back(createDropLayerTechnique());
  return all;
}

std::string checkSpec(StringRef technique, StringRef spec) {
  if (technique == kPruneStructured)
    return PruneSpec().parse(spec);
  if (int64_t count; technique == kMergeTokens)
    return parseTokenCount(spec, count);
  for (std::unique_ptr<Technique> &t : allTechniques())
    if (t->name() == technique)
      return t->configure(spec);
  return "there is no technique '" + technique.str() + "'";
}

std::shared_ptr<const Recipe> compressModule(ModuleOp module, const DriverOptions &options,
                                             Progress &progress) {
  const CompressionOptions &ask = options.compression;
  // The exact passes first: layers are what is left of the graph then, and their names are those of
  // recipes.
  auto main = module.lookupSymbol<func::FuncOp>("main");
  bool searches = !ask.recipe && ask.recipeIn.empty(), isNoisy = searches && ask.calib.empty();
  MomentsByName moments = searches ? momentsOfNormalizations(main) : MomentsByName();
  auto run = [&](llvm::function_ref<void(PassManager &)> add) {
    PassManager pm(module.getContext(), ModuleOp::getOperationName(), PassManager::Nesting::Implicit);
    add(pm);
    if (failed(pm.run(module)))
      throw ToolError(1, options.model + ": error: optimization failed");
  };
  run([](PassManager &pm) {
    PipelineOptions graph;
    graph.end = PipelineEnd::Graph;
    buildOptimizationPipeline(pm, graph);
  });
  int64_t noted = isNoisy ? noteMoments(main, moments) : 0;
  run([](PassManager &pm) { pm.addNestedPass<func::FuncOp>(createEqualizeChannels()); });
  if (searches)
    return std::make_shared<const Recipe>(Search(module, options, progress, noted, moments).run());
  auto recipe =
      ask.recipe ? ask.recipe : std::make_shared<const Recipe>(Recipe::read(ask.recipeIn));
  applyRecipe(module, *recipe, allTechniques());
  if (!ask.recipeOut.empty())
    recipe->write(ask.recipeOut);
  return recipe;
}

} // namespace nnopt::compress
