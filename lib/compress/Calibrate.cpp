//===- Calibrate.cpp - statistics of values inside a model ------------------===//

#include "lib/compress/Calibrate.h"
#include "lib/compress/Noise.h"

using namespace mlir;

namespace nnopt::compress {

TappedModel::TappedModel(ModuleOp module, ArrayRef<Value> taps, const CompileSettings &settings)
    : taps(taps), settings(settings) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> copy = cast<ModuleOp>(module->clone(mapping));
  auto main = copy->lookupSymbol<func::FuncOp>("main");
  MLIRContext *ctx = module.getContext();
  firstTap = main.getNumResults();
  Operation *end = main.getBody().front().getTerminator();
  for (auto [i, v] : llvm::enumerate(taps)) {
    Value tap = mapping.lookup(v);
    auto name = NamedAttribute(StringAttr::get(ctx, "nn.name"),
                               StringAttr::get(ctx, "nnopt.tap/" + std::to_string(i)));
    if (failed(
            main.insertResult(main.getNumResults(), tap.getType(), DictionaryAttr::get(ctx, name))))
      throw ToolError(1, "calibration: the graph takes no taps");
    end->insertOperands(end->getNumOperands(), tap);
  }
  normalizeByBatch(main);
  graph = std::make_unique<CompiledGraph>(*copy, settings, /*threads=*/0);
}

std::vector<HostTensor> &TappedModel::run(const Dataset &data, int64_t first, int64_t count) {
  return graph->run(data.inputs(first, count));
}

void TappedModel::observe(const Dataset &data, const Wanted &wanted, Observations &observations,
                          llvm::function_ref<void(double)> progress) {
  llvm::DenseMap<Value, Matrix> rows;
  for (Value v : taps)
    observations[v];
  // Layers with the same rows share their moments.
  std::vector<std::pair<GramSum, std::vector<LinearLayer>>> groups;
  for (const LinearLayer &layer : wanted.layers) {
    auto it = llvm::find_if(groups,
                            [&](const auto &group) { return group.second[0].sameColumns(layer); });
    if (it == groups.end())
      groups.push_back({GramSum(), {layer}});
    else
      it->second.push_back(layer);
  }
  std::vector<GramSum> regressionSums(wanted.regressions.size());
  std::optional<RowProduct> product;
  if (!groups.empty() || !wanted.regressions.empty())
    product.emplace(groups.empty() ? wanted.regressions[0].first->getContext()
                                   : groups[0].second[0].op()->getContext(),
                    settings);
  for (int64_t first = 0; first < data.usable(); first += data.batchSize()) {
    std::vector<HostTensor> &outputs = run(data, first, data.countAt(first));
    for (auto [i, v] : llvm::enumerate(taps)) {
      const HostTensor &t = outputs[firstTap + i];
      if (t.type != OnnxFloat)
        continue;
      auto values = reinterpret_cast<const float *>(t.data());
      observations[v].add(values, t.count());
      if (auto it = wanted.channels.find(v); it != wanted.channels.end()) {
        int64_t channels = t.shape[it->second], inner = 1;
        for (size_t d = it->second + 1; d < t.shape.size(); ++d)
          inner *= t.shape[d];
        observations[v].addChannels(values, t.count() / std::max<int64_t>(channels * inner, 1), channels, inner);
      }
    }
    auto tensorOf = [&](Value v) -> const HostTensor & {
      return outputs[firstTap + (llvm::find(taps, v) - taps.begin())];
    };
    auto stepFor = [&](const HostTensor &t, int64_t most) {
      return llvm::divideCeil(t.count() / t.shape.back() * data.usable() / data.countAt(first), most);
    };
    for (Value v : wanted.rows) {
      const HostTensor &t = tensorOf(v);
      Matrix more = everyRow(t, stepFor(t, kSampledRows)), &all = rows[v];
      all.conservativeResize(all.rows() + more.rows(), more.cols());
      all.bottomRows(more.rows()) = more;
    }
    for (auto [sum, regression] : llvm::zip(regressionSums, wanted.regressions)) {
      const HostTensor &x = tensorOf(regression.second),
                       &y = tensorOf(regression.first->getResult(0));
      int64_t width = x.shape.back();
      int64_t step =
          GramSum::stepFor(width, x.count() / width * data.usable() / data.countAt(first));
      sum.add(*product, everyRow(x, step), everyRow(y, step));
    }
    for (auto &[sum, members] : groups) {
      const LinearLayer &layer = members[0];
      const HostTensor &x = tensorOf(layer.activation());
      sum.add(*product, layer.rowsOf(x, GramSum::stepFor(layer.columns(),
                                                         layer.rowCount(x.shape) * data.usable() /
                                                             data.countAt(first))));
    }
    progress(double(first + data.countAt(first)) / double(data.usable()));
  }
  for (auto &[v, matrix] : rows)
    observations.setRows(v, std::move(matrix));
  for (auto [sum, regression] : llvm::zip(regressionSums, wanted.regressions))
    observations.setGram(regression.first, std::make_shared<const Gram>(sum.take()));
  for (auto &[sum, members] : groups) {
    auto gram = std::make_shared<const Gram>(sum.take());
    for (LinearLayer &layer : members)
      observations.setGram(layer.op(), gram);
  }
}

llvm::DenseMap<Value, std::vector<int64_t>> TappedModel::shapes(const Dataset &data) {
  llvm::DenseMap<Value, std::vector<int64_t>> result;
  std::vector<HostTensor> &outputs = run(data, 0, data.latencyBatch());
  for (auto [i, v] : llvm::enumerate(taps))
    result[v] = outputs[firstTap + i].shape;
  return result;
}

Samples TappedModel::sample(const Dataset &data) {
  Samples result;
  std::vector<HostTensor> &outputs = run(data, 0, data.latencyBatch());
  for (auto [i, v] : llvm::enumerate(taps)) {
    const HostTensor &t = outputs[firstTap + i];
    auto copy = std::make_shared<HostTensor>(t.name, t.type, t.shape);
    std::copy_n(t.data(), t.bytes(), copy->data());
    result[v] = std::move(copy);
  }
  return result;
}

} // namespace nnopt::compress
