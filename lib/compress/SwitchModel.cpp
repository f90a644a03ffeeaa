//===- SwitchModel.cpp - a model with all options at once -------------------===//

#include "lib/compress/SwitchModel.h"
#include "lib/compress/GraphCuts.h"
#include "lib/compress/Noise.h"
#include "llvm/ADT/BitVector.h"
#include <cstring>

using namespace mlir;

namespace nnopt::compress {

/// An offer that no choice has.
constexpr int kOfNothing = -2;

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

/// nn.if: `x` when `condition` holds, else `y`.
static Value eitherOf(RewriterBase &rewriter, Location loc, Value condition, Value x, Value y) {
  // Finished before it is inserted, because then it is typed.
  OpBuilder detached(rewriter.getContext());
  auto op = nn::IfOp::create(detached, loc, untyped(elementTypeOf(x)), condition);
  for (auto [region, value] : {std::pair(&op.getThenBranch(), x), {&op.getElseBranch(), y}}) {
    detached.createBlock(region);
    nn::YieldOp::create(detached, loc, value);
  }
  rewriter.insert(op);
  return op.getResult(0);
}

/// The branch in the block of `op` in which all users of its results are; null: there is none.
static Region *branchOfUsers(Operation *op) {
  Region *region = nullptr;
  for (Operation *user : op->getUsers()) {
    if (user->getBlock() == op->getBlock())
      return nullptr;
    Region *inner = user->getParentRegion();
    while (inner->getParentOp()->getBlock() != op->getBlock())
      inner = inner->getParentRegion();
    if ((region && region != inner) || !isa<nn::IfOp>(inner->getParentOp()))
      return nullptr;
    region = inner;
  }
  return region;
}

/// Moves what only one branch reads into that branch.
static void sinkIntoBranches(Block &block) {
  // From the end on: users are where they belong when what they read is looked at.
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (!isa<nn::ConstantOp>(op))
      while (Region *branch = branchOfUsers(&op))
        op.moveBefore(&branch->front(), branch->front().begin());
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

static DictionaryAttr named(MLIRContext *ctx, const std::string &name) {
  return DictionaryAttr::get(ctx, NamedAttribute(StringAttr::get(ctx, "nn.name"), StringAttr::get(ctx, name)));
}

void SwitchModel::build(ModuleOp module, const CompileSettings &settings) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> copy = cast<ModuleOp>(module->clone(mapping));
  auto main = copy->lookupSymbol<func::FuncOp>("main");
  normalizeByBatch(main);
  MLIRContext *ctx = module.getContext();
  Builder types(ctx);
  ownArguments = main.getNumArguments();
  auto addArgument = [&](Type type, Told what) {
    static const char *const names[] = {"switch", "reader", "weights", "bias"};
    std::string name = std::string("nnopt.") + names[what.what] + "/" + std::to_string(what.site) + "/" + std::to_string(what.number);
    unsigned at = main.getNumArguments();
    if (failed(main.insertArgument(at, type, named(ctx, name), main.getLoc())))
      throw ToolError(1, "compression: the graph takes no switches");
    told.push_back(what);
    return main.getArgument(at);
  };
  // Arguments first: they exist before shapes are inferred.
  std::vector<SmallVector<Value>> switches(candidates.size());
  std::vector<SmallVector<Value>> readerSwitches(candidates.size());
  std::vector<std::pair<Value, Value>> weights(candidates.size());
  for (auto [i, state] : llvm::enumerate(sites)) {
    Type flag = RankedTensorType::get({}, types.getI1Type());
    for (int k = 0; k < state.switches; ++k)
      switches[i].push_back(addArgument(flag, {Told::Switch, i, k}));
    for (int k : state.readers)
      readerSwitches[i].push_back(addArgument(flag, {Told::Reader, i, k}));
    if (state.layer)
      weights[i] = {addArgument(state.layer->op().getWeight().getType(), {Told::Weights, i, 0}),
                    addArgument(RankedTensorType::get({state.layer->outChannels()}, types.getF32Type()), {Told::Bias, i, 0})};
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
    const bool all = computes == Computes::All;
    if (all && !results.empty())
      sums[i].push_back(sumOfSquares(rewriter, op->getLoc(), reference, {}));
    for (auto [k, v] : llvm::enumerate(results)) {
      if (all)
        sums[i].push_back(sumOfSquares(rewriter, op->getLoc(), v, reference));
      chosen = all ? nn::WhereOp::create(rewriter, op->getLoc(), untyped(element), switches[i][k], v, chosen)
                   : eitherOf(rewriter, op->getLoc(), switches[i][k], v, chosen);
    }
    for (Operation *user : users)
      rewriter.modifyOpInPlace(user, [&] { user->replaceUsesOfWith(original, chosen); });
    if (c.site.wantsGram && besideInSum(c.site.op->getResult(0)))
      ends[i] = {users[0], chosen};
  }
  Operation *end = main.getBody().front().getTerminator();
  visibleCount = main.getNumResults();
  // Returns the number of a result behind the visible ones.
  auto addResult = [&](Value v, size_t site, const std::string &name) {
    if (failed(main.insertResult(main.getNumResults(), v.getType(), named(ctx, name))))
      throw ToolError(1, "compression: the graph takes no taps");
    end->insertOperands(end->getNumOperands(), v);
    tapSites.push_back(site);
    return int(tapSites.size()) - 1;
  };
  llvm::DenseMap<Value, int> tapped;
  auto tap = [&](Value v, size_t site) {
    auto [it, isNew] = tapped.try_emplace(v, 0);
    if (isNew)
      it->second = addResult(v, site, "nnopt.tap/" + std::to_string(tapSites.size()));
    return it->second;
  };
  for (auto [i, c] : llvm::enumerate(candidates)) {
    if (!c.site.wantsGram)
      continue;
    sites[i].tap = tap(cast<nn::LinearOp>(copies[i]).getActivation(), i);
    if (auto [sum, chosen] = ends[i]; sum)
      sites[i].besideTap = tap(sum->getOperand(sum->getOperand(0) == chosen ? 1 : 0), i);
  }
  for (auto [i, list] : llvm::enumerate(sums))
    for (auto [k, sum] : llvm::enumerate(list)) {
      int at = addResult(sum, i, "nnopt.sum/" + std::to_string(i) + "/" + std::to_string(k));
      if (k == 0)
        sites[i].errors = at;
    }
  sinkIntoBranches(main.getBody().front());
  compileParts(main, shapes, settings);
}

void SwitchModel::compileParts(func::FuncOp main, FuncShapes &shapes, const CompileSettings &settings) {
  MLIRContext *ctx = main.getContext();
  Operation *end = main.getBody().front().getTerminator();
  GraphCuts places(main, visibleCount);
  // From the first to the last operation that belongs to each site.
  std::vector<std::pair<int64_t, int64_t>> spans(sites.size(), {INT64_MAX, -1});
  auto include = [&](size_t site, int64_t place) {
    spans[site] = {std::min(spans[site].first, place), std::max(spans[site].second, place)};
  };
  for (auto [t, what] : llvm::enumerate(told))
    for (Operation *user : main.getArgument(ownArguments + t).getUsers())
      include(what.site, places.placeOf(user));
  for (auto [t, site] : llvm::enumerate(tapSites))
    if (Operation *op = end->getOperand(visibleCount + t).getDefiningOp();
        op && spans[site].first <= places.placeOf(op))
      include(site, places.placeOf(op));
  std::vector<GraphCuts::Cut> cuts = places.between(spans);

  auto partAt = [&](int64_t place) {
    return size_t(llvm::count_if(cuts, [&](const GraphCuts::Cut &cut) { return places.placeOf(cut.before) < place; }));
  };
  for (auto [state, span] : llvm::zip(sites, spans))
    state.part = partAt(span.first);
  for (size_t p = 0; p <= cuts.size(); ++p) {
    Part part;
    IRMapping mapping;
    OwningOpRef<ModuleOp> module = cast<ModuleOp>(main->getParentOfType<ModuleOp>()->clone(mapping));
    auto func = module->lookupSymbol<func::FuncOp>("main");
    SmallVector<Value> results;
    llvm::BitVector goneResults(func.getNumResults());
    for (unsigned r = 0; r < goneResults.size(); ++r) {
      goneResults[r] = r < visibleCount ? p < cuts.size() : sites[tapSites[r - visibleCount]].part != p;
      if (!goneResults[r])
        part.results.push_back(r);
    }
    Operation *finish = func.getBody().front().getTerminator();
    for (unsigned r : part.results)
      results.push_back(finish->getOperand(r));
    LogicalResult fits = func.eraseResults(goneResults);
    if (p < cuts.size()) {
      results.push_back(mapping.lookup(cuts[p].passing));
      if (succeeded(fits))
        fits = func.insertResult(func.getNumResults(), results.back().getType(), named(ctx, "nnopt.state"));
    }
    finish->setOperands(results);
    unsigned whole = func.getNumArguments();
    if (p > 0) {
      Value passing = cuts[p - 1].passing;
      NamedAttrList attrs(named(ctx, "nnopt.state"));
      SmallVector<Attribute> dims; // equal ones stay equal, whatever they are
      for (nn::Dim dim : shapes.dims(passing))
        dims.push_back(StringAttr::get(ctx, dim.isConst() ? "" : dim.str()));
      attrs.append("nn.dims", ArrayAttr::get(ctx, dims));
      if (succeeded(fits))
        fits = func.insertArgument(whole, passing.getType(), attrs.getDictionary(ctx), main.getLoc());
      mapping.lookup(passing).replaceAllUsesWith(func.getArgument(whole));
    }
    IRRewriter rewriter(ctx);
    eraseDeadOps(func, rewriter);
    llvm::BitVector goneArguments(func.getNumArguments());
    for (unsigned a = 0; a < whole; ++a) {
      goneArguments[a] = func.getArgument(a).use_empty();
      if (!goneArguments[a])
        part.arguments.push_back(a);
    }
    if (failed(fits) || failed(func.eraseArguments(goneArguments)))
      throw ToolError(1, "compression: the graph cannot be cut");
    part.graph = std::make_unique<CompiledGraph>(*module, settings, /*threads=*/0);
    part.offers.assign(part.arguments.size(), kOfNothing);
    parts.push_back(std::move(part));
  }
}

SwitchModel::SwitchModel(ModuleOp module, const std::vector<Candidate> &candidates,
                         const CompileSettings &settings, Computes computes)
    : candidates(candidates), computes(computes), sites(candidates.size()) {
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
  build(module, settings);
}

void SwitchModel::weightsChanged(size_t site, int offer) {
  sites[site].known.erase(offer);
  for (Part &part : parts)
    for (auto [a, told] : llvm::zip(part.arguments, part.offers))
      if (told == offer && a >= ownArguments && this->told[a - ownArguments].site == site)
        told = kOfNothing;
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

HostTensor SwitchModel::toldValue(const Told &what, const Choice &choice) {
  SiteState &state = sites[what.site];
  const int offer = choice[what.site];
  if (what.what == Told::Switch || what.what == Told::Reader) {
    HostTensor flag("", OnnxBool, std::vector<int64_t>{});
    *flag.data() = offer >= 0 && (what.what == Told::Switch ? state.slots[offer] : offer) == what.number;
    return flag;
  }
  const LayerWeights &w = offer >= 0 && changesWeights(what.site, offer) ? weights(what.site, offer) : state.original;
  if (what.what == Told::Bias) {
    HostTensor bias("", OnnxFloat, std::vector<int64_t>{w.bias.size()});
    std::memcpy(bias.data(), w.bias.data(), bias.bytes());
    return bias;
  }
  HostTensor ordered("", OnnxFloat, state.weightShape);
  std::memcpy(ordered.data(), state.layer->inOrder(w.weights).data(), ordered.bytes());
  return ordered;
}

static HostTensor copyOf(const HostTensor &tensor) {
  HostTensor copy("", tensor.type, tensor.shape, HostTensor::Begins::Anything);
  std::memcpy(copy.data(), tensor.data(), copy.bytes());
  return copy;
}

HostTensor SwitchModel::runParts(size_t begin, size_t end, const Dataset &data, int64_t first, int64_t count,
                                 const Choice &choice, const HostTensor *state) {
  visible.resize(visibleCount);
  taps.resize(tapSites.size());
  std::vector<HostTensor> own; // read when a part asks for them: most do not
  HostTensor passing;
  if (state)
    passing = copyOf(*state);
  for (size_t p = begin; p < end; ++p) {
    Part &part = parts[p];
    std::vector<HostTensor> inputs;
    for (auto [i, a] : llvm::enumerate(part.arguments)) {
      if (a < ownArguments) {
        if (own.empty())
          own = data.inputs(first, count);
        inputs.push_back(copyOf(own[a]));
        continue;
      }
      const Told &what = told[a - ownArguments];
      int &offer = part.offers[i];
      inputs.push_back(offer == choice[what.site] ? std::move(part.graph->inputs()[i]) : toldValue(what, choice));
      offer = choice[what.site];
    }
    if (p > 0)
      inputs.push_back(std::move(passing));
    std::vector<HostTensor> &outputs = part.graph->run(std::move(inputs));
    for (auto [r, output] : llvm::zip(part.results, outputs))
      (r < visibleCount ? visible[r] : taps[r - visibleCount]) = std::move(output);
    if (p + 1 < parts.size())
      passing = std::move(outputs.back());
  }
  return passing;
}

std::vector<HostTensor> *SwitchModel::run(const Dataset &data, int64_t first, int64_t count, const Choice &choice) {
  runParts(0, parts.size(), data, first, count, choice, nullptr);
  return &visible;
}

const HostTensor &SwitchModel::activation(size_t site) const { return taps[sites[site].tap]; }

const HostTensor *SwitchModel::beside(size_t site) const {
  return sites[site].besideTap < 0 ? nullptr : &taps[sites[site].besideTap];
}

double SwitchModel::siteError(size_t site, int offer) const {
  return taps[sites[site].errors + (offer < 0 ? 0 : 1 + sites[site].slots[offer])].at(0);
}

} // namespace nnopt::compress
