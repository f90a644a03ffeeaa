//===- PruneSparseTechnique.cpp - layers of which most weights are zero -----===//

#include "lib/compress/LayerShares.h"
#include "lib/compress/LeastSquares.h"
#include "lib/compress/SparseMask.h"
#include "lib/compress/Technique.h"
#include "lib/compress/WeightTensors.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace nnopt::compress {

namespace {

/// What budgets choose among.
constexpr const char *kPatterns[] = {"50%", "70%", "80%", "90%", "80%,block=f32", "2:4"};

bool isLayer(Operation *op) { return LinearLayer::get(op, nullptr, Groups::Taken).has_value(); }

/// Whether values of the model's inputs come to `v` without a layer between. Tables that integers
/// look up (embeddings) are something else.
bool comesFromInputs(Value v) {
  llvm::SetVector<Value> seen;
  seen.insert(v);
  for (size_t i = 0; i < seen.size(); ++i) {
    Value at = seen[i];
    Operation *op = at.getDefiningOp();
    if (!op && isa<FloatType>(elementTypeOf(at)))
      return true;
    if (op && !isLayer(op))
      seen.insert(op->operand_begin(), op->operand_end());
  }
  return false;
}

/// Whether no layer reads a value or what is computed from it.
bool goesToOutputsOnly(Value v) {
  llvm::SetVector<Value> seen;
  seen.insert(v);
  for (size_t i = 0; i < seen.size(); ++i)
    for (Operation *user : seen[i].getUsers()) {
      if (isLayer(user))
        return false;
      seen.insert(user->result_begin(), user->result_end());
    }
  return true;
}

/// A convolution over one position: the gate of squeeze-excitation.
bool isGate(Operation *op) {
  auto conv = dyn_cast<nn::ConvOp>(op);
  if (!conv)
    return false;
  ArrayRef<int64_t> shape = shapeOf(conv->getResult(0));
  ArrayRef<int64_t> spatial =
      conv.getChannelsLast() ? shape.drop_front(1).drop_back(1) : shape.drop_front(2);
  return llvm::all_of(spatial, [](int64_t size) { return size == 1; });
}

class PruneSparseTechnique : public Technique {
public:
  StringRef name() const override { return "prune-sparse"; }

  void setTarget(const cpu::Target &target) override { lanes = target.lanes(4); }

  std::string readSpec(StringRef spec) override {
    only = SparsePattern::parse(spec.str());
    if (!only)
      return "expected sparse:SHARE% (0 to 100) for a share of zeros over all layers, "
             "sparse:SHARE%,block=ROWSxCOLUMNS for blocks of weights, block=f32 or block=int8 for those that the "
             "target's vectors hold, or sparse:N:M";
    only = only->withLanes(lanes);
    return "";
  }

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &refused) const override {
    std::vector<Site> result;
    SiteNames names;
    for (nn::LinearOp op : func.getBody().front().getOps<nn::LinearOp>()) {
      std::string name = names.of(op), why;
      if (!LinearLayer::get(op, &why)) {
        refused.push_back({name, why});
      } else if (comesFromInputs(op.getActivation())) {
        refused.push_back(
            {name, "it is a first layer: it has few weights, on which all others rely"});
      } else if (goesToOutputsOnly(op->getResult(0))) {
        refused.push_back({name, "it is a last layer: nothing after it makes up for its errors"});
      } else if (isGate(op)) {
        refused.push_back(
            {name, "it reads one position (squeeze-excitation): it costs next to nothing"});
      } else {
        Site site{op, name, {op.getActivation()}, Value()};
        site.wantsGram = true;
        result.push_back(site);
      }
    }
    return result;
  }

  void plan(ArrayRef<Site> sites, const Observations &observations) override {
    shares.clear();
    if (!only || only->of)
      return;
    std::vector<LayerImportance> layers;
    for (const Site &site : sites)
      layers.push_back(
          importanceOf(LinearLayer::get(site.op)->weights().weights, *observations.gram(site.op)));
    for (auto &[variant, zeros] : sharePlans(layers, only->share))
      for (auto [i, site] : llvm::enumerate(sites))
        shares[site.op].push_back({variant, double(zeros[i]) / double(layers[i].size())});
  }

  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    const Gram &gram = *observations.gram(site.op);
    if (gram.rows == 0 || !gram.h.allFinite())
      return {};
    std::vector<Option> result;
    auto add = [&](SparsePattern pattern, const std::string &variant) {
      std::string name = only ? only->text() : pattern.text();
      Option option{name, variant, {{"pattern", name}, {"zeros", pattern.zeros()}}, {}};
      if (refit(site.op, option, gram))
        result.push_back(option);
    };
    if (!only) {
      for (const char *text : kPatterns)
        add(SparsePattern::parse(text)->withLanes(lanes), "");
      return result;
    }
    if (only->of)
      add(*only, "");
    auto planned = shares.find(site.op);
    if (planned == shares.end())
      return result;
    for (auto &[variant, share] : planned->second) {
      SparsePattern pattern = *only;
      pattern.share = share;
      add(pattern, variant);
    }
    return result;
  }

  bool variantsAreGlobal() const override { return only && !only->of; }

  std::string check(Operation *op, const Option &option) const override {
    std::string why;
    std::optional<LinearLayer> layer = LinearLayer::get(op, &why);
    if (!layer)
      return why;
    if (!patternOf(option))
      return "it needs a 'pattern' and a share of 'zeros' from 0 to 1";
    return checkWeights(option, *layer);
  }

  Value apply(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    return LinearLayer::get(op)->withWeights(rewriter, *weights(op, option));
  }

  std::optional<LayerWeights> weights(Operation *, const Option &option) const override {
    return weightsOf(option);
  }

  /// The weights that give what the float model gives, from what the layer reads now; the pattern
  /// that comes nearest to them; and what is kept solved once more.
  bool refit(Operation *op, Option &option, const Gram &gram) const override {
    LinearLayer layer = *LinearLayer::get(op);
    LeastSquares problem(gram, layer.weights(), dampingFor(gram), bool(layer.op().getBias()));
    SparsePattern pattern = *patternOf(option);
    pattern.columnStride = layer.kernel();
    Mask mask = admmMask(problem.solve(), problem.hessian().cast<float>(), pattern);
    LayerWeights solved;
    solved.weights = problem.solve(mask);
    solved.bias = problem.bias(solved.weights);
    if (!solved.weights.allFinite() || !solved.bias.allFinite())
      return false;
    option.parameters["error"] = problem.error(solved.weights);
    setWeights(option, solved);
    return true;
  }

private:
  static std::optional<SparsePattern> patternOf(const Option &option) {
    const nlohmann::json &p = option.parameters;
    if (!p.is_object() || !p.contains("pattern") || !p["pattern"].is_string() ||
        !p.contains("zeros") || !p["zeros"].is_number())
      return std::nullopt;
    std::optional<SparsePattern> pattern = SparsePattern::parse(p["pattern"].get<std::string>());
    double zeros = p["zeros"].get<double>();
    if (!pattern || !(zeros >= 0 && zeros <= 1))
      return std::nullopt;
    // Text has rounded shares.
    if (!pattern->of)
      pattern->share = zeros;
    return pattern;
  }

  int64_t lanes = 16; // of 32 bits in a vector of the target
  std::optional<SparsePattern> only;
  /// Of each layer, the share of zeros in each plan for the model.
  llvm::DenseMap<Operation *, std::vector<std::pair<std::string, double>>> shares;
};

} // namespace

std::unique_ptr<Technique> createPruneSparseTechnique() {
  return std::make_unique<PruneSparseTechnique>();
}

} // namespace nnopt::compress
