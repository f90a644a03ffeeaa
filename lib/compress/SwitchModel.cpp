//===- SwitchModel.cpp - a model with all options at once -------------------===//

#include "lib/compress/SwitchModel.h"
#include "lib/compress/Noise.h"
#include <cstring>

using namespace mlir;

namespace nnopt::compress {

/// sum of (x - y)^2, or of x^2 without y.
static Value sumOfSquares(RewriterBase &rewriter, Location loc, Value x, Value y) {
  Type f32 = rewriter.getF32Type();
  if (y)
    x = nn::SubOp::create(rewriter, loc, untyped(f32), x, y);
  return nn::ReduceOp::create(
      rewriter, loc, untyped(f32), x, Value(),
      nn::ReduceKindAttr::get(rewriter.getContext(), nn::ReduceKind::sum_square),
      DenseI64ArrayAttr(), rewriter.getBoolAttr(false));
}

Candidate &candidateAt(std::vector<Candidate> &candidates, Site site) {
  auto before = [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); };
  auto it = llvm::lower_bound(candidates, site.op, [&](const Candidate &c, Operation *op) {
    return before(c.site.op, op);
  });
  if (it == candidates.end() || it->site.op != site.op)
    return *candidates.insert(it, Candidate{std::move(site), {}});
  Site &known = it->site;
  for (Value v : site.observed)
    if (!llvm::is_contained(known.observed, v))
      known.observed.push_back(v);
  for (Value v : site.sampled)
    if (!llvm::is_contained(known.sampled, v))
      known.sampled.push_back(v);
  for (Operation *op : site.inside)
    if (!llvm::is_contained(known.inside, op))
      known.inside.push_back(op);
  llvm::sort(known.inside, before);
  if (!known.shared)
    known.shared = site.shared;
  if (!known.regressor)
    known.regressor = site.regressor;
  known.wantsGram |= site.wantsGram;
  known.channelAxis = std::max(known.channelAxis, site.channelAxis);
  return *it;
}

OwningOpRef<ModuleOp> SwitchModel::build(ModuleOp module) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> copy = cast<ModuleOp>(module->clone(mapping));
  auto main = copy->lookupSymbol<func::FuncOp>("main");
  normalizeByBatch(main);
  MLIRContext *ctx = module.getContext();
  Builder types(ctx);
  auto addArgument = [&](Type type, const std::string &name) {
    unsigned at = main.getNumArguments();
    auto named = DictionaryAttr::get(
        ctx, NamedAttribute(StringAttr::get(ctx, "nn.name"), StringAttr::get(ctx, name)));
    if (failed(main.insertArgument(at, type, named, main.getLoc())))
      throw ToolError(1, "compression: the graph takes no switches");
    return main.getArgument(at);
  };
  // Arguments first: they exist before shapes are inferred.
  std::vector<SmallVector<Value>> switches(candidates.size());
  std::vector<SmallVector<Value>> readerSwitches(candidates.size());
  std::vector<std::pair<Value, Value>> weights(candidates.size());
  for (auto [i, state] : llvm::enumerate(sites)) {
    std::string at = std::to_string(i) + "/";
    for (int k = 0; k < state.switches; ++k)
      switches[i].push_back(addArgument(RankedTensorType::get({}, types.getI1Type()),
                                        "nnopt.switch/" + at + std::to_string(k)));
    for (int k : state.readers)
      readerSwitches[i].push_back(addArgument(RankedTensorType::get({}, types.getI1Type()),
                                              "nnopt.reader/" + at + std::to_string(k)));
    if (state.layer)
      weights[i] = {
          addArgument(state.layer->op().getWeight().getType(), "nnopt.weight/" + at),
          addArgument(RankedTensorType::get({state.layer->outChannels()}, types.getF32Type()),
                      "nnopt.bias/" + at)};
  }
  FuncShapes shapes(main);
  if (failed(shapes.infer()))
    throw ToolError(1, "compression: shapes cannot be computed");
  IRRewriter rewriter(ctx, &shapes);
  std::vector<SmallVector<Value>> sums(candidates.size());
  std::vector<Operation *> copies(candidates.size());
  std::vector<std::pair<Operation *, Value>> ends(candidates.size()); // the sum and what it takes
  // From the end of the graph on: an option that replaces several operations finds those before its
  // site as they were.
  for (size_t i = candidates.size(); i-- > 0;) {
    const Candidate &c = candidates[i];
    Operation *op = copies[i] = mapping.lookup(c.site.op->getResult(0)).getDefiningOp();
    Value original = op->getResult(0), chosen = original;
    Type element = elementTypeOf(original);
    SmallVector<Operation *> users(original.getUsers());
    std::vector<Value> results;
    for (auto [k, offer] : llvm::enumerate(c.offers))
      if (sites[i].slots[k] >= 0)
        results.push_back(offer.technique->apply(rewriter, op, offer.option));
    if (sites[i].layer) {
      rewriter.setInsertionPointAfter(op);
      auto linear = cast<nn::LinearOp>(op);
      Value x = linear.getActivation();
      for (auto [k, on] : llvm::zip(sites[i].readers, readerSwitches[i])) {
        Value other = c.offers[k].technique->activation(rewriter, op, c.offers[k].option);
        x = nn::WhereOp::create(rewriter, op->getLoc(), untyped(element), on, other, x);
      }
      copies[i] = linear.cloneWith(rewriter, op->getLoc(), x, weights[i].first, weights[i].second);
      chosen = copies[i]->getResult(0);
    }
    Operation *last = chosen.getDefiningOp();
    for (Value v : results)
      if (Operation *definition = v.getDefiningOp();
          definition && last->isBeforeInBlock(definition))
        last = definition;
    rewriter.setInsertionPointAfter(last);
    Value reference = chosen;
    if (!results.empty())
      sums[i].push_back(sumOfSquares(rewriter, op->getLoc(), reference, {}));
    for (auto [k, v] : llvm::enumerate(results)) {
      sums[i].push_back(sumOfSquares(rewriter, op->getLoc(), v, reference));
      chosen =
          nn::WhereOp::create(rewriter, op->getLoc(), untyped(element), switches[i][k], v, chosen);
    }
    for (Operation *user : users)
      rewriter.modifyOpInPlace(user, [&] { user->replaceUsesOfWith(original, chosen); });
    if (c.site.wantsGram && besideInSum(c.site.op->getResult(0)))
      ends[i] = {users[0], chosen};
  }
  Operation *end = main.getBody().front().getTerminator();
  auto addResult = [&](Value v, const std::string &name) {
    auto named = DictionaryAttr::get(
        ctx, NamedAttribute(StringAttr::get(ctx, "nn.name"), StringAttr::get(ctx, name)));
    if (failed(main.insertResult(main.getNumResults(), v.getType(), named)))
      throw ToolError(1, "compression: the graph takes no taps");
    end->insertOperands(end->getNumOperands(), v);
  };
  visibleCount = main.getNumResults();
  llvm::DenseMap<Value, int> tapped;
  int taps = 0;
  auto tap = [&](Value v) {
    auto [it, isNew] = tapped.try_emplace(v, taps);
    if (isNew)
      addResult(v, "nnopt.tap/" + std::to_string(taps++));
    return it->second;
  };
  for (auto [i, c] : llvm::enumerate(candidates)) {
    if (!c.site.wantsGram)
      continue;
    sites[i].tap = tap(cast<nn::LinearOp>(copies[i]).getActivation());
    if (auto [sum, chosen] = ends[i]; sum)
      sites[i].besideTap = tap(sum->getOperand(sum->getOperand(0) == chosen ? 1 : 0));
  }
  for (auto [i, list] : llvm::enumerate(sums))
    for (auto [k, sum] : llvm::enumerate(list))
      addResult(sum, "nnopt.sum/" + std::to_string(i) + "/" + std::to_string(k));
  return copy;
}

SwitchModel::SwitchModel(ModuleOp module, const std::vector<Candidate> &candidates,
                         const CompileSettings &settings)
    : candidates(candidates), sites(candidates.size()) {
  for (auto [i, c] : llvm::enumerate(candidates)) {
    SiteState &state = sites[i];
    for (auto [k, offer] : llvm::enumerate(c.offers)) {
      std::optional<LayerWeights> weights = offer.technique->weights(c.site.op, offer.option);
      state.slots.push_back(weights ? -1 : state.switches++);
      if (weights && offer.technique->changesActivation(c.site.op, offer.option))
        state.readers.push_back(int(k));
      if (weights)
        state.known.emplace(int(k), std::move(*weights));
      if (weights && !state.layer) {
        state.layer = LinearLayer::get(c.site.op, nullptr, Groups::Taken);
        state.original = state.layer->weights();
        state.weightShape = shapeOf(state.layer->op().getWeight()).vec();
      }
    }
  }
  OwningOpRef<ModuleOp> built = build(module);
  graph = std::make_unique<CompiledGraph>(*built, settings, /*threads=*/0);
}

const LayerWeights &SwitchModel::weights(size_t site, int offer) {
  std::map<int, LayerWeights> &known = sites[site].known;
  auto it = known.find(offer);
  if (it == known.end()) {
    const Offer &o = candidates[site].offers[offer];
    it = known.emplace(offer, *o.technique->weights(candidates[site].site.op, o.option)).first;
  }
  return it->second;
}

void SwitchModel::appendWeights(std::vector<HostTensor> &inputs, size_t site, int offer) {
  SiteState &state = sites[site];
  const LayerWeights &w = offer >= 0 && changesWeights(site, offer) ? weights(site, offer) : state.original;
  std::vector<float> ordered = state.layer->inOrder(w.weights);
  inputs.emplace_back("", OnnxFloat, state.weightShape);
  std::memcpy(inputs.back().data(), ordered.data(), inputs.back().bytes());
  inputs.emplace_back("", OnnxFloat, std::vector<int64_t>{w.bias.size()});
  std::memcpy(inputs.back().data(), w.bias.data(), inputs.back().bytes());
}

std::vector<HostTensor> *SwitchModel::run(const Dataset &data, int64_t first, int64_t count,
                                          const Choice &choice) {
  std::vector<HostTensor> inputs = data.inputs(first, count);
  for (size_t i = 0; i < sites.size(); ++i) {
    for (int k = 0; k < sites[i].switches; ++k) {
      inputs.emplace_back("", OnnxBool, std::vector<int64_t>{});
      *inputs.back().data() = choice[i] >= 0 && sites[i].slots[choice[i]] == k;
    }
    for (int k : sites[i].readers) {
      inputs.emplace_back("", OnnxBool, std::vector<int64_t>{});
      *inputs.back().data() = choice[i] == k;
    }
    if (sites[i].layer)
      appendWeights(inputs, i, choice[i]);
  }
  std::vector<HostTensor> &outputs = graph->run(std::move(inputs));
  visible.clear();
  taps.clear();
  errors.clear();
  size_t sums = 0;
  for (const SiteState &state : sites)
    sums += state.switches ? state.switches + 1 : 0;
  for (auto [i, output] : llvm::enumerate(outputs)) {
    if (i < visibleCount)
      visible.push_back(std::move(output));
    else if (i < outputs.size() - sums)
      taps.push_back(std::move(output));
    else
      errors.push_back(output.at(0));
  }
  return &visible;
}

const HostTensor &SwitchModel::activation(size_t site) const { return taps[sites[site].tap]; }

const HostTensor *SwitchModel::beside(size_t site) const {
  return sites[site].besideTap < 0 ? nullptr : &taps[sites[site].besideTap];
}

double SwitchModel::siteError(size_t site, int offer) const {
  size_t at = 0;
  for (size_t i = 0; i < site; ++i)
    at += sites[i].switches ? sites[i].switches + 1 : 0;
  return errors[at + (offer < 0 ? 0 : 1 + sites[site].slots[offer])];
}

} // namespace nnopt::compress
