//===- Calibrate.cpp - statistics of values inside a model ------------------===//

#include "lib/compress/Calibrate.h"

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
  graph = std::make_unique<CompiledGraph>(*copy, settings, /*threads=*/0);
}

std::vector<HostTensor> &TappedModel::run(const Dataset &data, int64_t first, int64_t count) {
  return graph->run(data.inputs(first, count));
}

/// Appends every `step`-th row.
static void appendRows(Matrix &rows, const HostTensor &t, int64_t step) {
  int64_t width = t.shape.back(), count = t.count() / std::max<int64_t>(1, width);
  Eigen::Map<const Matrix> all(reinterpret_cast<const float *>(t.data()), count, width);
  int64_t first = rows.rows(), added = llvm::divideCeil(count, step);
  rows.conservativeResize(first + added, width);
  for (int64_t i = 0; i < added; ++i)
    rows.row(first + i) = all.row(i * step);
}

void TappedModel::observe(const Dataset &data, ArrayRef<LinearLayer> layers,
                          Observations &observations, llvm::function_ref<void(double)> progress,
                          ArrayRef<Value> sampled) {
  llvm::DenseMap<Value, Matrix> rows;
  for (Value v : taps)
    observations[v];
  // Layers with the same rows share their moments.
  std::vector<std::pair<GramSum, std::vector<LinearLayer>>> groups;
  for (const LinearLayer &layer : layers) {
    auto it = llvm::find_if(groups,
                            [&](const auto &group) { return group.second[0].sameColumns(layer); });
    if (it == groups.end())
      groups.push_back({GramSum(), {layer}});
    else
      it->second.push_back(layer);
  }
  std::optional<RowProduct> product;
  if (!groups.empty())
    product.emplace(layers[0].op()->getContext(), settings);
  for (int64_t first = 0; first < data.usable(); first += data.batchSize()) {
    std::vector<HostTensor> &outputs = run(data, first, data.countAt(first));
    for (auto [i, v] : llvm::enumerate(taps)) {
      const HostTensor &t = outputs[firstTap + i];
      if (t.type == OnnxFloat)
        observations[v].add(reinterpret_cast<const float *>(t.data()), t.count());
    }
    for (Value v : sampled) {
      const HostTensor &t = outputs[firstTap + (llvm::find(taps, v) - taps.begin())];
      int64_t expected = t.count() / t.shape.back() * data.usable() / data.countAt(first);
      appendRows(rows[v], t, llvm::divideCeil(expected, kSampledRows));
    }
    for (auto &[sum, members] : groups) {
      const LinearLayer &layer = members[0];
      const HostTensor &x =
          outputs[firstTap + (llvm::find(taps, layer.activation()) - taps.begin())];
      sum.add(*product, layer.rowsOf(x, GramSum::stepFor(layer.columns(),
                                                         layer.rowCount(x.shape) * data.usable() /
                                                             data.countAt(first))));
    }
    progress(double(first + data.countAt(first)) / double(data.usable()));
  }
  for (auto &[v, matrix] : rows)
    observations.setRows(v, std::move(matrix));
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
