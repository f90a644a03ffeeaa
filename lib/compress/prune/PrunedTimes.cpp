//===- PrunedTimes.cpp - what fewer channels save ---------------------------===//

#include "lib/compress/prune/PrunedTimes.h"
#include "lib/compress/prune/PruneRecipe.h"
#include "lib/report/Work.h"

using namespace mlir;

namespace nnopt::compress {

std::function<std::optional<int64_t>(nn::Dim)> sizesIn(func::FuncOp main, FuncShapes &shapes,
                                                       const Dataset &data) {
  std::vector<HostTensor> sample = data.inputs(0, data.latencyBatch());
  llvm::DenseMap<const void *, int64_t> sizes;
  for (auto [i, arg] : llvm::enumerate(main.getArguments()))
    for (auto [d, dim] : llvm::enumerate(shapes.dims(arg)))
      if (!dim.isConst())
        sizes[dim.opaque()] = sample[i].shape[d];
  return [sizes = std::move(sizes)](nn::Dim dim) -> std::optional<int64_t> {
    auto it = sizes.find(dim.opaque());
    return it == sizes.end() ? 1 : it->second;
  };
}

std::vector<double> timesAfter(ModuleOp module, const std::vector<Step> &steps, const Dataset &data,
                               LayerCosts &costs) {
  OwningOpRef<ModuleOp> copy = module.clone();
  applyStructuredPruning(*copy, steps);
  auto main = copy->lookupSymbol<func::FuncOp>("main");
  FuncShapes shapes(main);
  if (failed(shapes.infer()))
    throw ToolError(1, "shapes cannot be computed");
  auto sizeOf = sizesIn(main, shapes, data);
  std::vector<const LayerCosts::Measured *> measured;
  for (Operation &op : main.getBody().front()) {
    if (!report::multiplyAccumulates(&op, shapes.ctx))
      continue;
    llvm::DenseMap<Value, std::vector<int64_t>> sizes;
    for (Value v : op.getOperands())
      for (nn::Dim dim : shapes.dims(v))
        sizes[v].push_back(dim.context().evaluate(dim, sizeOf).value_or(1));
    measured.push_back(&costs.of(&op, {}, nullptr, sizes));
  }
  costs.settle();
  std::vector<double> times;
  for (const LayerCosts::Measured *m : measured)
    times.push_back(m->milliseconds);
  return times;
}

} // namespace nnopt::compress
