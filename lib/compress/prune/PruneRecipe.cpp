//===- PruneRecipe.cpp - what structured pruning did, done again ------------===//

#include "lib/compress/prune/PruneRecipe.h"
#include "lib/compress/WeightTensors.h"
#include "passes/common/AxisGroups.h"
#include "tools/common/runner.h"
#include "llvm/ADT/BitVector.h"

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

std::vector<std::pair<std::string, LinearLayer>> namedLayers(func::FuncOp main) {
  std::vector<std::pair<std::string, LinearLayer>> layers;
  SiteNames names;
  for (nn::LinearOp op : main.getBody().front().getOps<nn::LinearOp>()) {
    std::string name = names.of(op);
    if (auto layer = LinearLayer::get(op, nullptr, Groups::Taken))
      layers.push_back({name, *layer});
  }
  return layers;
}

static ToolError wrong(const Step &step, const std::string &why) {
  return ToolError(3, "recipe: " + step.technique + " of '" + step.site + "': " + why);
}

/// The units of a group that a step does not keep.
static std::vector<unsigned> removedBy(const Step &step, size_t units) {
  const json &parameters = step.option.parameters;
  const json keep = parameters.is_object() ? parameters.value("keep", json()) : json();
  llvm::BitVector kept(units);
  bool valid = keep.is_array() && !keep.empty();
  for (size_t i = 0; valid && i < keep.size(); ++i) {
    int64_t unit = keep[i].is_number_integer() ? keep[i].get<int64_t>() : -1;
    valid = unit >= 0 && unit < int64_t(units) && !kept.test(unit);
    if (valid)
      kept.set(unit);
  }
  if (!valid)
    throw wrong(step, "'keep' must be a list of different units below " + std::to_string(units));
  std::vector<unsigned> removed;
  for (unsigned u = 0; u < units; ++u)
    if (!kept.test(u))
      removed.push_back(u);
  return removed;
}

void applyStructuredPruning(ModuleOp module, const std::vector<Step> &steps) {
  std::vector<const Step *> keeps, weights;
  for (const Step &step : steps) {
    if (step.technique != kPruneStructured)
      continue;
    if (step.option.name != "keep" && step.option.name != "weights")
      throw wrong(step, "there is no option '" + step.option.name + "'");
    (step.option.name == "keep" ? keeps : weights).push_back(&step);
  }
  if (keeps.empty() && weights.empty())
    return;
  auto main = module.lookupSymbol<func::FuncOp>("main");
  FuncShapes shapes(main);
  if (failed(shapes.infer()))
    throw ToolError(1, "shapes cannot be computed");
  AxisGroups groups(main, shapes);
  llvm::StringMap<unsigned> groupNumbers;
  for (auto [g, group] : llvm::enumerate(groups.groups()))
    groupNumbers[group.name] = g;
  llvm::StringMap<Operation *> layers;
  for (auto &[name, layer] : namedLayers(main))
    layers[name] = layer.op();
  std::vector<std::pair<unsigned, unsigned>> units;
  for (const Step *step : keeps) {
    auto it = groupNumbers.find(step->site);
    if (it == groupNumbers.end())
      throw wrong(*step, "the model has no such group of channels; the recipe is of another model");
    const AxisGroups::Group &group = groups.groups()[it->second];
    std::vector<unsigned> removed = removedBy(*step, group.units.size());
    for (unsigned unit : removed)
      units.push_back({it->second, unit});
    passedRemark(main.getLoc(), kPruneStructured, "removed")
        << remark::metric("Units", int64_t(removed.size()))
        << remark::add("of {0} of {1}", group.units.size(), group.name);
  }
  auto fails = [] {
    return ToolError(1, "recipe: shapes of the smaller graph cannot be computed");
  };
  if (failed(groups.remove(units)))
    throw fails();
  FuncShapes after(main);
  if (failed(after.infer()))
    throw fails();
  IRRewriter rewriter(module.getContext(), &after);
  for (const Step *step : weights) {
    auto it = layers.find(step->site);
    if (it == layers.end())
      throw wrong(*step, "the model has no such layer; the recipe is of another model");
    LinearLayer layer = *LinearLayer::get(it->second, nullptr, Groups::Taken);
    if (std::string why = checkWeights(step->option, layer); !why.empty())
      throw wrong(*step, why);
    rewriter.replaceOp(it->second, layer.withWeights(rewriter, *weightsOf(step->option)));
    layers.erase(it);
  }
  eraseDeadOps(main, rewriter);
}

} // namespace nnopt::compress
