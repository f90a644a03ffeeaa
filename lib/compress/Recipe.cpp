//===- Recipe.cpp - what was done to a model, to do it again ----------------===//

#include "lib/compress/Recipe.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "tools/common/tensor.h"

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

std::string Recipe::text() const {
  json all = notes;
  all["nnopt_recipe"] = 1;
  all["steps"] = json::array();
  for (const Step &s : steps) {
    json step = {{"technique", s.technique}, {"site", s.site}, {"option", s.option.name}, {"parameters", s.option.parameters}};
    if (!s.option.variant.empty())
      step["variant"] = s.option.variant;
    all["steps"].push_back(step);
  }
  return all.dump(1) + "\n";
}

Recipe Recipe::parse(const std::string &text, const std::string &from) {
  json all = json::parse(text, nullptr, /*allow_exceptions=*/false);
  auto bad = [&](const std::string &why) { return ToolError(3, from + ": not a recipe: " + why); };
  if (all.is_discarded() || !all.is_object())
    throw bad("it is no JSON object");
  if (!all.contains("nnopt_recipe") || all["nnopt_recipe"] != 1)
    throw bad("'nnopt_recipe' must be 1");
  if (!all.contains("steps") || !all["steps"].is_array())
    throw bad("'steps' must be a list");
  Recipe recipe;
  for (auto &[key, value] : all.items())
    if (key != "steps" && key != "nnopt_recipe")
      recipe.notes[key] = value;
  for (const json &s : all["steps"]) {
    for (const char *key : {"technique", "site", "option"})
      if (!s.is_object() || !s.contains(key) || !s[key].is_string())
        throw bad("step " + std::to_string(recipe.steps.size() + 1) + " has no text '" + key + "'");
    recipe.steps.push_back({s["technique"], s["site"], {s["option"], "", s.contains("parameters") ? s["parameters"] : json::object()}});
    if (s.contains("variant") && s["variant"].is_string())
      recipe.steps.back().option.variant = s["variant"];
  }
  return recipe;
}

void applyRecipe(ModuleOp module, const Recipe &recipe, const Techniques &techniques) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  FuncShapes shapes(main);
  if (failed(shapes.infer()))
    throw ToolError(1, "shapes cannot be computed");
  IRRewriter rewriter(module.getContext(), &shapes);
  std::vector<const Technique *> used;
  for (const std::unique_ptr<Technique> &technique : techniques) {
    // Sites of a technique are those that the techniques before it left.
    std::vector<Refusal> refused;
    llvm::StringMap<Operation *> sites;
    for (Site &site : technique->sites(main, refused))
      sites[site.name] = site.op;
    for (const Step &step : recipe.steps) {
      if (step.technique != technique->name())
        continue;
      std::string what = "recipe: " + step.technique + " of '" + step.site + "': ";
      auto it = sites.find(step.site);
      if (it == sites.end())
        throw ToolError(3, what + "the model has no such layer to " + step.technique + ", or another step took it; the recipe is of another model");
      if (std::string why = technique->check(it->second, step.option); !why.empty())
        throw ToolError(3, what + why);
      passedRemark(it->second->getLoc(), technique->name(), "applied")
          << remark::add("option {0} {1} with {2}", step.option.name, step.option.variant, step.option.parameters.dump());
      Value value = technique->apply(rewriter, it->second, step.option);
      rewriter.replaceOp(it->second, value);
      sites.erase(it);
    }
    used.push_back(technique.get());
  }
  for (const Step &step : recipe.steps)
    if (llvm::none_of(used, [&](const Technique *t) { return t->name() == step.technique; }))
      throw ToolError(3, "recipe: there is no technique '" + step.technique + "'");
  eraseDeadOps(main, rewriter);
  // Values that several sites read are prepared once.
  PassManager pm(module.getContext());
  pm.addNestedPass<func::FuncOp>(createCSEPass());
  if (failed(pm.run(module)))
    throw ToolError(1, "recipe: the changed graph is not valid");
  FuncShapes again(main);
  if (failed(again.infer()))
    throw ToolError(1, "recipe: shapes of the changed graph cannot be computed");
  IRRewriter finisher(module.getContext(), &again);
  for (const Technique *technique : used)
    technique->finish(main, finisher);
  eraseDeadOps(main, finisher);
}

} // namespace nnopt::compress
