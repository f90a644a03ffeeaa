//===- QuantizeTechnique.cpp - 8-bit operands as an option of each layer ----===//

#include "lib/compress/Technique.h"
#include "passes/quantize/Quantize.h"

using namespace mlir;

namespace nnopt::compress {

namespace {

class QuantizeTechnique : public Technique {
public:
  StringRef name() const override { return "quantize"; }
  std::string configure(StringRef spec) override { return spec == "int8" ? "" : "expected int8"; }

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &refused) const override {
    std::vector<Site> result;
    SiteNames names;
    for (nn::LinearOp op : func.getBody().front().getOps<nn::LinearOp>()) {
      std::string name = names.of(op);
      if (std::string why = quantize::whyNot(op); !why.empty()) {
        refused.push_back({name, why});
        continue;
      }
      result.push_back(
          {op, name, {op.getActivation()}, op.getActivation(), /*wantsGram=*/false, {}});
    }
    return result;
  }

  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    const TensorStatistics &s = observations.of(site.observed[0]);
    if (!s.count() || s.notFinite())
      return {};
    std::vector<Option> result;
    auto add = [&](StringRef variant, double lo, double hi) {
      quantize::ActivationParameters p = quantize::parametersOf(lo, hi);
      result.push_back(
          {"int8", variant.str(), {{"scale", p.scale}, {"zero_point", p.zeroPoint}}, {}});
    };
    double low = s.min(), high = s.max(), lo, hi;
    add("max", low, high);
    s.percentileRange(0.9999, lo, hi);
    add("percentile", lo, hi);
    // Shrinking the range trades clipped values for a finer grid; the histogram tells the sum of
    // both errors.
    double best = INFINITY, bestShare = 1;
    for (int i = 0; i < 80; ++i) {
      double share = 1 - i / 100.0, error = s.quantizationError(std::min(low, 0.0) * share,
                                                                std::max(high, 0.0) * share, 256);
      if (error < best) {
        best = error;
        bestShare = share;
      }
    }
    add("mse", low * bestShare, high * bestShare);
    return result;
  }

  std::string check(Operation *op, const Option &option) const override {
    auto linear = dyn_cast<nn::LinearOp>(op);
    if (!linear)
      return "it is no convolution or matrix product";
    if (option.name != "int8")
      return "there is no option '" + option.name + "'";
    const nlohmann::json &p = option.parameters;
    auto scale = p.is_object() ? p.find("scale") : p.end(),
         zero = p.is_object() ? p.find("zero_point") : p.end();
    if (scale == p.end() || zero == p.end() || !scale->is_number() || !zero->is_number_integer() ||
        !(scale->get<float>() > 0) || std::isinf(scale->get<float>()) || zero->get<int64_t>() < 0 ||
        zero->get<int64_t>() > 255)
      return "int8 needs a positive 'scale' and a 'zero_point' from 0 to 255";
    return quantize::whyNot(linear);
  }

  Value apply(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    quantize::ActivationParameters p{option.parameters["scale"].get<float>(),
                                     option.parameters["zero_point"].get<int>()};
    return quantize::withQuantizedOperands(rewriter, cast<nn::LinearOp>(op), p)->getResult(0);
  }

  // The layer before ends in the quantization of its result.
  bool isMeetingPoint(Operation *op) const override { return isa<nn::QuantizeOp>(op); }

  void finish(func::FuncOp func, RewriterBase &rewriter) const override {
    quantize::quantizeAheadOfMovement(func, rewriter);
  }
};

} // namespace

std::unique_ptr<Technique> createQuantizeTechnique() {
  return std::make_unique<QuantizeTechnique>();
}

} // namespace nnopt::compress
