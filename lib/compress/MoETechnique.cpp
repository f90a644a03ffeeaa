//===- MoETechnique.cpp - feed-forward networks as mixtures of experts ----===//

#include "lib/compress/Experts.h"
#include "lib/compress/Technique.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <cstring>

using namespace mlir;

namespace nnopt::compress {

namespace {

/// Of what the activations add up to, the share that the kept neurons must hold at best. Dense
/// activations (GELU, SiLU) have no neurons to leave out.
constexpr double kLeastActivation = 0.9;
/// Neurons of an expert: two vectors, so that a row that computes it fills registers.
constexpr int64_t kExpertSize = 32, kSmallExpertSize = 16, kLeastExperts = 8;

std::string percent(double share) { return llvm::formatv("{0:f0}%", share * 100).str(); }

/// matmul -> activation (-> times another matmul of the same) -> matmul.
struct Network {
  LinearLayer up, down;
  std::optional<LinearLayer> gate;
  Operation *activation = nullptr, *product = nullptr;

  /// Nothing where `op` does not end such a network. Values inside have no other readers; in a model that computes
  /// several options at once, `Beside`, they may have those of other options.
  enum class Readers { None, Beside };
  static std::optional<Network> get(Operation *op, Readers readers = Readers::None);
  Value input() const { return up.activation(); }
  int64_t hidden() const { return up.outChannels(); }
  SmallVector<Operation *> inside() const {
    SmallVector<Operation *> ops{up.op(), activation};
    if (gate)
      ops.append({gate->op().getOperation(), product});
    llvm::sort(ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    return ops;
  }
  int64_t expertSize() const {
    for (int64_t size : {kExpertSize, kSmallExpertSize})
      if (hidden() % size == 0 && hidden() / size >= kLeastExperts)
        return size;
    return 0;
  }
  FeedForward weights() const;
};

std::optional<Network> Network::get(Operation *op, Readers readers) {
  auto matrix = [](Operation *def) {
    return isa_and_nonnull<nn::MatMulOp>(def) ? LinearLayer::get(def) : std::nullopt;
  };
  std::optional<LinearLayer> down = matrix(op);
  if (!down)
    return std::nullopt;
  Network network;
  network.down = *down;
  auto isOnly = [&](Operation *def) { return def && (readers == Readers::Beside || def->hasOneUse()); };
  Operation *hidden = down->activation().getDefiningOp();
  if (!isOnly(hidden))
    return std::nullopt;
  if (auto mul = dyn_cast<nn::MulOp>(hidden)) {
    network.product = mul;
    for (unsigned i : {0u, 1u})
      if (isa_and_nonnull<nn::GeluOp, nn::SiluOp, nn::ReluOp>(mul->getOperand(i).getDefiningOp())) {
        hidden = mul->getOperand(i).getDefiningOp();
        Operation *other = mul->getOperand(1 - i).getDefiningOp();
        network.gate = isOnly(other) ? matrix(other) : std::nullopt;
        break;
      }
    if (!network.gate)
      return std::nullopt;
  }
  if (!isOnly(hidden) || !isa<nn::GeluOp, nn::SiluOp, nn::ReluOp>(hidden))
    return std::nullopt;
  network.activation = hidden;
  Operation *first = hidden->getOperand(0).getDefiningOp();
  std::optional<LinearLayer> up = isOnly(first) ? matrix(first) : std::nullopt;
  if (!up || rankOf(up->activation()) < 1 || up->outChannels() != down->columns())
    return std::nullopt;
  network.up = *up;
  if (network.gate && (network.gate->activation() != up->activation() ||
                       network.gate->outChannels() != up->outChannels()))
    return std::nullopt;
  return network;
}

std::function<float(float)> activationOf(Operation *op) {
  if (auto gelu = dyn_cast<nn::GeluOp>(op)) {
    if (gelu.getTanh()) // x sigmoid(2 u) is x (1 + tanh u) / 2
      return [](float x) {
        return x / (1 + std::exp(-1.5957691216f * (x + 0.044715f * x * x * x)));
      };
    return [](float x) { return 0.5f * x * (1 + std::erf(x * 0.70710678f)); };
  }
  if (auto silu = dyn_cast<nn::SiluOp>(op)) {
    float alpha = float(silu.getAlpha().convertToDouble());
    return [alpha](float x) { return x / (1 + std::exp(-alpha * x)); };
  }
  return [](float x) { return std::max(x, 0.0f); };
}

FeedForward Network::weights() const {
  FeedForward result;
  LayerWeights first = up.weights(), second = down.weights();
  result.w1 = std::move(first.weights);
  result.bias1 = std::move(first.bias);
  result.w2 = std::move(second.weights);
  result.bias2 = std::move(second.bias);
  result.activation = activationOf(activation);
  if (gate) {
    LayerWeights third = gate->weights();
    result.w3 = std::move(third.weights);
    result.bias3 = std::move(third.bias);
  }
  return result;
}

npz::Array arrayOf(const std::vector<int64_t> &values) {
  npz::Array array{'i', 8, {int64_t(values.size())}, {}};
  array.data.resize(values.size() * 8);
  std::memcpy(array.data.data(), values.data(), array.data.size());
  return array;
}

/// The mixture in an option; nothing, with the reason, where it does not fit the network.
std::optional<Mixture> mixtureOf(const Network &network, const Option &option, std::string &why) {
  Mixture mixture;
  int64_t hidden = network.hidden(), in = network.up.columns(), out = network.down.outChannels();
  auto size = option.parameters.is_object() ? option.parameters.find("size") : option.parameters.end();
  if (size == option.parameters.end() || !size->is_number_integer() || size->get<int64_t>() < 1 ||
      hidden % size->get<int64_t>()) {
    why = "'size' must be a divisor of its " + std::to_string(hidden) + " neurons";
    return std::nullopt;
  }
  mixture.size = size->get<int64_t>();
  int64_t experts = hidden / mixture.size;
  auto order = option.tensors.find("order");
  std::vector<bool> seen(hidden);
  if (order != option.tensors.end() && order->second.kind == 'i' && order->second.width == 8 &&
      order->second.count() == hidden) {
    mixture.order.resize(hidden);
    std::memcpy(mixture.order.data(), order->second.data.data(), hidden * 8);
    for (int64_t j : mixture.order)
      if (j >= 0 && j < hidden)
        seen[j] = true;
  }
  if (llvm::is_contained(seen, false)) {
    why = "'order' must be a permutation of its " + std::to_string(hidden) + " neurons";
    return std::nullopt;
  }
  auto read = [&](const char *name, int64_t rows, int64_t columns) {
    std::optional<Matrix> m = matrixOf(option.tensors, name);
    if (!m || m->rows() != rows || m->cols() != columns)
      why = llvm::formatv("'{0}' must be {1} x {2} floats", name, rows, columns);
    return m.value_or(Matrix());
  };
  mixture.router = read("router", experts, in);
  Matrix routerBias = read("router_bias", experts, 1);
  mixture.w2 = read("weight", out, hidden);
  Matrix bias2 = read("bias", out, 1);
  if (!why.empty())
    return std::nullopt;
  mixture.routerBias = routerBias.col(0);
  mixture.bias2 = bias2.col(0);
  return mixture;
}

class MoETechnique : public Technique {
public:
  StringRef name() const override { return "dense-to-moe"; }

  std::string readSpec(StringRef spec) override {
    std::optional<double> share = percentOf(spec);
    if (!share || !(*share >= 0.01 && *share <= 1))
      return "expected the share of neurons that a row computes, from 1% to 100%";
    shares = {*share};
    return "";
  }

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &refused) const override {
    std::vector<Site> result;
    SiteNames names;
    for (nn::MatMulOp op : func.getBody().front().getOps<nn::MatMulOp>()) {
      std::string name = names.of(op);
      std::optional<Network> network = Network::get(op);
      if (!network)
        continue;
      if (!network->expertSize()) {
        refused.push_back({name, llvm::formatv("its hidden layer of {0} neurons does not divide "
                                               "into {1} experts or more of {2} or {3}",
                                               network->hidden(), kLeastExperts, kSmallExpertSize,
                                               kExpertSize)});
        continue;
      }
      Site site{op, name, {}, {}};
      site.inside = network->inside();
      site.sampled = {network->input()};
      result.push_back(std::move(site));
    }
    return result;
  }

  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    Network network = *Network::get(site.op);
    FeedForward weights = network.weights();
    const Matrix &x = observations.rows(network.input());
    reasons.erase(site.op);
    if (!x.rows() || !x.allFinite())
      return {};
    if (!product)
      product = std::make_unique<RowProduct>(site.op->getContext(), CompileSettings());
    Product times = [&](const Matrix &a, const Matrix &b) { return (*product)(a, b); };
    Matrix h = hiddenLayer(weights, x, times);
    std::vector<Option> result;
    std::optional<Mixture> grouped;
    for (double share : shares) {
      double kept = activationKept(h, weights.w2, share);
      if (kept < kLeastActivation) {
        reasons.try_emplace(site.op,
                            llvm::formatv("its activations are dense: the largest {0} hold {1:f1} % "
                                          "of what the second product adds up (at least {2:f0} % "
                                          "are needed)",
                                          percent(share), kept * 100, kLeastActivation * 100));
        continue;
      }
      if (!grouped)
        grouped = groupNeurons(weights, x, h, network.expertSize(), times);
      Mixture mixture = *grouped;
      route(mixture, weights, x, h, share, times);
      Option option{percent(share), "", {}, {}};
      option.parameters = {{"size", mixture.size},
                           {"experts", int64_t(mixture.order.size()) / mixture.size},
                           {"shared", mixture.shared},
                           {"activation_kept", kept}};
      option.tensors["order"] = arrayOf(mixture.order);
      option.tensors["router"] = compress::arrayOf(mixture.router);
      option.tensors["router_bias"] = compress::arrayOf(mixture.routerBias);
      option.tensors["weight"] = compress::arrayOf(mixture.w2);
      option.tensors["bias"] = compress::arrayOf(mixture.bias2);
      result.push_back(std::move(option));
    }
    return result;
  }

  std::string whyNothing(const Site &site, const Observations &observations) const override {
    auto it = reasons.find(site.op);
    return it == reasons.end() ? Technique::whyNothing(site, observations) : it->second;
  }

  std::string check(Operation *op, const Option &option) const override {
    std::optional<Network> network = Network::get(op);
    if (!network)
      return "it does not end a feed-forward network";
    std::string why;
    mixtureOf(*network, option, why);
    return why;
  }

  Value apply(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    Network network = *Network::get(op, Network::Readers::Beside);
    std::string why;
    Mixture mixture = *mixtureOf(network, option, why);
    FeedForward weights = network.weights();
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(op);
    SmallVector<Operation *> ops = network.inside();
    ops.push_back(op);
    Location loc = fusedLoc(ops);
    Type f32 = rewriter.getF32Type();
    int64_t hidden = network.hidden(), size = mixture.size, experts = hidden / size;
    auto constant = [&](ArrayRef<int64_t> shape, const auto &values, StringRef what) -> Value {
      ArrayRef<float> floats(values.data(), size_t(values.size()));
      return nn::ConstantOp::create(rewriter, loc,
                                    nn::makeFloats(rewriter.getContext(), shape, floats, what));
    };
    // Neurons in the order of experts: rows of the first matrices.
    auto layer = [&](const Matrix &w, const Vector &bias, Value &weight, Value &biases) {
      Matrix ordered(w.rows(), w.cols());
      Vector orderedBias(bias.size());
      for (int64_t j = 0; j < hidden; ++j) {
        ordered.row(j) = w.row(mixture.order[j]);
        orderedBias[j] = bias[mixture.order[j]];
      }
      weight = constant({experts, size, w.cols()}, ordered, "expert_weight");
      biases = constant({experts, size}, orderedBias, "expert_bias");
    };
    Value w1, bias1, w3, bias3;
    layer(weights.w1, weights.bias1, w1, bias1);
    if (network.gate)
      layer(weights.w3, weights.bias3, w3, bias3);
    int64_t out = network.down.outChannels();
    std::vector<float> second(size_t(out * hidden));
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t o = 0; o < out; ++o)
        std::copy_n(mixture.w2.row(o).data() + e * size, size,
                    second.begin() + (e * out + o) * size);
    Value w2 = constant({experts, out, size}, second, "expert_weight");
    Value bias2 = constant({out}, mixture.bias2, "bias");

    Value x = network.input();
    Value router = constant({experts, mixture.router.cols()}, mixture.router, "router");
    Value score = nn::MatMulOp::create(rewriter, loc, untyped(f32), x, router,
                                       constant({experts}, mixture.routerBias, "router_bias"),
                                       Value(), Value(), ValueRange(), UnitAttr(),
                                       rewriter.getUnitAttr())
                      .getResult();
    Value zero = makeNumbersOp(rewriter, loc, f32, {}, {0}, "zero");
    Value chosen = nn::GreaterOp::create(rewriter, loc, untyped(rewriter.getI1Type()), score, zero);
    Value one = makeNumbersOp(rewriter, loc, f32, {}, {1}, "one");
    score = nn::WhereOp::create(rewriter, loc, untyped(f32), chosen, one, zero);
    auto moe = nn::MoEOp::create(rewriter, loc, untyped(f32), x, w1, bias1, w3, bias3, w2, bias2, score);
    SmallVector<Type> types(network.gate ? 2 : 1, f32);
    SmallVector<Location> locs(types.size(), loc);
    Block *block = rewriter.createBlock(&moe.getActivation(), {}, types, locs);
    Value unit = cast<nn::Elementwise>(network.activation)
                     .buildScalar(rewriter, loc, ValueRange(block->getArgument(0)));
    if (network.gate)
      unit = arith::MulFOp::create(rewriter, loc, unit, block->getArgument(1));
    nn::YieldOp::create(rewriter, loc, unit);
    return moe.getResult();
  }

private:
  std::vector<double> shares{0.25, 0.5, 0.75};
  mutable std::unique_ptr<RowProduct> product;
  mutable llvm::DenseMap<Operation *, std::string> reasons;
};

} // namespace

std::unique_ptr<Technique> createMoETechnique() { return std::make_unique<MoETechnique>(); }

} // namespace nnopt::compress
