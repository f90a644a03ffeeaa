//===- Recipe.cpp - what was done to a model, to do it again ----------------===//

#include "lib/compress/Recipe.h"
#include "lib/compress/prune/PruneRecipe.h"
#include "lib/compress/tokens/MergeTokens.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "tools/common/runner.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SHA256.h"

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

static std::string digestOf(const Tensors &tensors) {
  llvm::SHA256 hash;
  for (auto &[name, array] : tensors) {
    hash.update(name + " " + array.typeName() + shapeText(array.shape));
    hash.update(StringRef(array.data.data(), array.data.size()));
  }
  return llvm::toHex(hash.final(), /*LowerCase=*/true);
}

/// The arrays of all steps under their names in the file.
Tensors Recipe::allTensors() const {
  Tensors all;
  for (auto [i, step] : llvm::enumerate(steps))
    for (auto &[name, array] : step.option.tensors)
      all[std::to_string(i) + "/" + name] = array;
  return all;
}

std::string Recipe::text() const {
  json all = notes;
  all["nnopt_recipe"] = 1;
  all["steps"] = json::array();
  for (auto [i, s] : llvm::enumerate(steps)) {
    json step = {{"technique", s.technique},
                 {"site", s.site},
                 {"option", s.option.name},
                 {"parameters", s.option.parameters}};
    if (!s.option.variant.empty())
      step["variant"] = s.option.variant;
    for (auto &[name, array] : s.option.tensors)
      step["tensors"][name] = std::to_string(i) + "/" + name;
    all["steps"].push_back(step);
  }
  if (Tensors tensors = allTensors(); !tensors.empty())
    all["tensors_sha256"] = digestOf(tensors);
  return all.dump(1) + "\n";
}

void Recipe::write(const std::string &path) const {
  Tensors tensors = allTensors();
  std::vector<npz::Entry> entries;
  for (auto &[name, array] : tensors)
    entries.push_back({name, array.kind, array.width, array.shape, array.data.data()});
  if (!entries.empty() && path == "-")
    throw ToolError(2, "this recipe has arrays beside its text: write it to a file");
  std::string error;
  if (!entries.empty() && !npz::write(path + ".npz", entries, error))
    throw ToolError(1, error);
  writeText(path, text());
}

Recipe Recipe::read(const std::string &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    throw ToolError(3, path + ": " + buffer.getError().message());
  Tensors tensors;
  std::string error;
  if (llvm::sys::fs::exists(path + ".npz") && !npz::read(path + ".npz", tensors, error))
    throw ToolError(3, error);
  return parse((*buffer)->getBuffer().str(), path, tensors);
}

Recipe Recipe::parse(const std::string &text, const std::string &from, const Tensors &tensors) {
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
    if (key != "steps" && key != "nnopt_recipe" && key != "tensors_sha256")
      recipe.notes[key] = value;
  for (const json &s : all["steps"]) {
    for (const char *key : {"technique", "site", "option"})
      if (!s.is_object() || !s.contains(key) || !s[key].is_string())
        throw bad("step " + std::to_string(recipe.steps.size() + 1) + " has no text '" + key + "'");
    Option option{s["option"], "", s.contains("parameters") ? s["parameters"] : json::object(), {}};
    if (s.contains("variant") && s["variant"].is_string())
      option.variant = s["variant"];
    const json arrays = s.value("tensors", json::object());
    for (auto &[name, entry] : arrays.items()) {
      auto it = entry.is_string() ? tensors.find(entry.get<std::string>()) : tensors.end();
      if (it == tensors.end())
        throw ToolError(3, from + ": array " + entry.dump() + " of '" + std::string(s["site"]) +
                               "' is not in " + from + ".npz, which belongs to the recipe");
      option.tensors[name] = it->second;
    }
    recipe.steps.push_back({s["technique"], s["site"], std::move(option)});
  }
  if (Tensors used = recipe.allTensors();
      !used.empty() && all.value("tensors_sha256", json()) != digestOf(used))
    throw ToolError(3, from + ".npz: the arrays are not those that the recipe was written with");
  return recipe;
}

void applyAhead(ModuleOp module, const std::vector<Step> &steps) {
  applyStructuredPruning(module, steps);
  applyTokenMerging(module, steps);
}

void applyRecipe(ModuleOp module, const Recipe &recipe, const Techniques &techniques) {
  applyAhead(module, recipe.steps);
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
        throw ToolError(3, what + "the model has no such layer to " + step.technique +
                               ", or another step took it; the recipe is of another model");
      if (std::string why = technique->check(it->second, step.option); !why.empty())
        throw ToolError(3, what + why);
      passedRemark(it->second->getLoc(), technique->name(), "applied")
          << remark::add("option {0} {1} with {2}", step.option.name, step.option.variant,
                         step.option.parameters.dump());
      Value value = technique->apply(rewriter, it->second, step.option);
      rewriter.replaceOp(it->second, value);
      sites.erase(it);
    }
    used.push_back(technique.get());
  }
  for (const Step &step : recipe.steps)
    if (step.technique != kPruneStructured && step.technique != kMergeTokens &&
        llvm::none_of(used, [&](const Technique *t) { return t->name() == step.technique; }))
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
