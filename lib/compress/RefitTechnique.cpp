//===- RefitTechnique.cpp - layers that make up for other layers ------------===//
//
// No way to make a layer cheaper: a layer that keeps all of its weights gets those with which it
// comes closest to what it gives in the float model, from what it reads now.
//
//===----------------------------------------------------------------------===//

#include "lib/compress/LeastSquares.h"
#include "lib/compress/Technique.h"
#include "lib/compress/WeightTensors.h"

using namespace mlir;

namespace nnopt::compress {

namespace {

class RefitTechnique : public Technique {
public:
  StringRef name() const override { return "refit"; }
  bool onlyRepairs() const override { return true; }

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &) const override {
    std::vector<Site> result;
    SiteNames names;
    for (nn::LinearOp op : func.getBody().front().getOps<nn::LinearOp>()) {
      std::string name = names.of(op);
      if (!LinearLayer::get(op, nullptr, Groups::Taken))
        continue;
      Site site{op, name, {op.getActivation()}, Value()};
      site.wantsGram = true;
      result.push_back(site);
    }
    return result;
  }

  std::vector<Option> options(const Site &site, const Observations &) const override {
    Option option{"least-squares", "", nlohmann::json::object(), {}};
    setWeights(option, layerOf(site.op).weights());
    return {option};
  }

  std::string check(Operation *op, const Option &option) const override {
    std::string why;
    std::optional<LinearLayer> layer = LinearLayer::get(op, &why, Groups::Taken);
    if (!layer)
      return why;
    if (option.name != "least-squares")
      return "there is no option '" + option.name + "'";
    return checkWeights(option, *layer);
  }

  Value apply(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    return layerOf(op).withWeights(rewriter, *weights(op, option));
  }

  std::optional<LayerWeights> weights(Operation *, const Option &option) const override {
    return weightsOf(option);
  }

  bool refit(Operation *op, Option &option, const Gram &gram) const override {
    LinearLayer layer = layerOf(op);
    std::optional<LayerWeights> solved = solveLayer(layer, gram, /*moveBias=*/bool(layer.op().getBias()));
    if (!solved)
      return false;
    setWeights(option, *solved);
    return true;
  }

private:
  static LinearLayer layerOf(Operation *op) {
    return *LinearLayer::get(op, nullptr, Groups::Taken);
  }
};

} // namespace

std::unique_ptr<Technique> createRefitTechnique() { return std::make_unique<RefitTechnique>(); }

} // namespace nnopt::compress
