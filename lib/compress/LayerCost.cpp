//===- LayerCost.cpp - what a layer costs on this machine -------------------===//

#include "lib/compress/LayerCost.h"
#include "lib/driver/Isolate.h"

using namespace mlir;

namespace nnopt::compress {

/// The bytes to read before a layer begins. A model that is little larger than the second-level cache finds its weights in what is left
/// of the last run; one of these bytes and more finds as little of them as a larger one.
static size_t bytesBetween(const std::string &targetName, int64_t modelBytes) {
  constexpr int64_t kMost = 32 << 20;
  cpu::Target target;
  std::string error;
  if (!cpu::Target::get(targetName, target, error) || modelBytes <= 4 * target.l2Bytes)
    return 0;
  return std::min<int64_t>(int64_t(llvm::PowerOf2Ceil(uint64_t(modelBytes))), kMost);
}

LayerCosts::LayerCosts(CompileSettings settings, Cache cache, const Samples *samples, int64_t modelBytes)
    : settings(std::move(settings)), cache(std::move(cache)), samples(samples),
      between(bytesBetween(this->settings.target, modelBytes)) {}

/// The operations in graph order.
static SmallVector<Operation *> together(Operation *op, ArrayRef<Operation *> inside) {
  SmallVector<Operation *> ops(inside);
  ops.push_back(op);
  return ops;
}

SmallVector<Value> LayerCosts::inputsOf(Operation *op, ArrayRef<Operation *> inside) {
  return nnopt::inputsOf(together(op, inside));
}

/// What the cost of a layer depends on.
static std::string keyOf(ArrayRef<Operation *> ops, const Offer *offer, ArrayRef<std::vector<int64_t>> shapes) {
  std::string key;
  llvm::raw_string_ostream os(key);
  for (Operation *op : ops) {
    os << op->getName() << " " << op->getAttrDictionary();
    for (Value v : op->getOperands())
      os << " " << v.getType() << (isConstant(v) ? " constant" : "");
  }
  for (const std::vector<int64_t> &shape : shapes)
    os << " " << shapeText(shape);
  if (offer)
    os << " " << offer->technique->costKey(offer->option);
  return key;
}

/// Layers are measured in that many rounds, and are as many at a time in memory at most.
constexpr int kRounds = 4;

void LayerCosts::measureRound() {
  for (Pending &p : pending) {
    double ms = p.graph->measure(std::move(p.graph->inputs()), between ? 3 : 10, between);
    p.measured->milliseconds = std::min(p.measured->milliseconds, ms);
    ++p.rounds;
  }
  for (; !pending.empty() && pending.front().rounds == kRounds; pending.pop_front())
    cache.store("layer", pending.front().cacheKey, {pending.front().measured->milliseconds, pending.front().measured->weightBytes});
}

void LayerCosts::settle() {
  while (!pending.empty())
    measureRound();
}

const LayerCosts::Measured &LayerCosts::of(Operation *op, ArrayRef<Operation *> inside, const Offer *offer,
                                           const llvm::DenseMap<Value, std::vector<int64_t>> &shapesOf) {
  SmallVector<Operation *> ops = together(op, inside);
  SmallVector<Value> reads = inputsOf(op, inside);
  SmallVector<std::vector<int64_t>> shapes;
  for (Value v : reads)
    shapes.push_back(shapesOf.lookup(v));
  std::string key = keyOf(ops, offer, shapes);
  if (auto it = known.find(key); it != known.end())
    return it->second;
  std::string cacheKey = settings.key() + " between " + std::to_string(between) + " " + key;
  if (auto found = cache.find("layer", cacheKey); found && found->is_array() && found->size() == 2)
    return known[key] = {(*found)[0].get<double>(), (*found)[1].get<int64_t>()};

  // A function of the operation alone. Sizes are static, as in the run that is being timed.
  Isolated alone(ops, [&](Value v) { return shapesOf.lookup(v); });
  FuncShapes inferred(alone.main);
  if (failed(inferred.infer()))
    throw ToolError(1, "compression: shapes of a layer cannot be computed");
  IRRewriter rewriter(op->getContext(), &inferred);
  Value result = alone.last->getResult(0);
  if (offer) {
    const Technique *technique = offer->technique;
    result = technique->apply(rewriter, alone.last, offer->option);
    rewriter.eraseOp(alone.last);
    // What the layers around it would deliver is an argument.
    SmallVector<Operation *> meets;
    alone.main.walk([&](Operation *inner) {
      if (technique->isMeetingPoint(inner))
        meets.push_back(inner);
    });
    for (Operation *inner : meets) {
      auto type = cast<RankedTensorType>(inner->getResult(0).getType());
      Value delivered = alone.addArgument(type.getElementType(), type.getShape());
      inner->getResult(0).replaceAllUsesWith(delivered);
      inner->erase();
    }
  }
  alone.addResult(result);
  auto graph = std::make_unique<CompiledGraph>(*alone.module, settings, /*threads=*/1);
  std::vector<HostTensor> inputs;
  for (size_t i = 0; i < nnopt_model_input_count(graph->model()); ++i) {
    const nnopt_tensor_info *info = nnopt_model_input(graph->model(), i);
    inputs.emplace_back(info->name, info->onnx_type,
                        std::vector<int64_t>(info->dims, info->dims + info->rank));
    if (samples && i < reads.size())
      std::copy_n(samples->lookup(reads[i])->data(), inputs[i].bytes(), inputs[i].data());
  }
  Measured &measured = known[key] = {INFINITY, graph->weightBytes()};
  graph->run(std::move(inputs)); // which rounds take again
  pending.push_back({std::move(graph), &measured, std::move(cacheKey)});
  measureRound();
  return measured;
}

} // namespace nnopt::compress
