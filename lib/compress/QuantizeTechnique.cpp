//===- QuantizeTechnique.cpp - fewer bits as options of each layer ----------===//

#include "dialects/nn/Precision.h"
#include "lib/compress/ChannelScales.h"
#include "lib/compress/Int8Weights.h"
#include "lib/compress/NarrowTable.h"
#include "lib/compress/Technique.h"
#include "lib/compress/WeightOnly.h"
#include "passes/common/Affine.h"
#include "passes/common/Movement.h"
#include "passes/narrow-to-bf16/NarrowToBf16.h"
#include "passes/quantize/Quantize.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace nnopt::compress {

namespace {

/// The relative error of outputs that int8 may bring on the calibration data unless "error=" or a budget says otherwise. Models
/// that were trained are far below it, unless some layers are spoilt.
constexpr double kInt8Error = 0.1;
/// A linear operation on bf16 operands.
constexpr StringLiteral kBf16Option = "bf16-products";

class QuantizeTechnique : public Technique {
public:
  StringRef name() const override { return "quantize"; }
  void setTarget(const cpu::Target &target) override { multipliesBf16 = target.bf16; }
  std::string readSpec(StringRef spec) override {
    std::string wrong;
    offersWeightOnly = weightOnly.configure(spec, wrong);
    offersInt8 = spec == "int8";
    return offersInt8 || offersWeightOnly ? wrong : "expected int8, int8,error=3%, w8, w4, w4,group=64, w4,rank=16, w8a8, w4a8, bf16 or f16";
  }

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &refused) const override {
    std::vector<Site> result;
    SiteNames names;
    for (Operation &op : func.getBody().front()) {
      if (auto linear = dyn_cast<nn::LinearOp>(op)) {
        std::string name = names.of(&op), why = quantize::whyNot(linear);
        std::string whyNotWeights = offersWeightOnly ? WeightOnly::whyNot(linear) : "it was not asked for";
        if ((!offersInt8 || !why.empty()) && !whyNotWeights.empty())
          refused.push_back({name, offersInt8 ? why : whyNotWeights});
        else
          result.push_back({&op, name, {linear.getActivation()}, linear.getActivation(), /*wantsGram=*/whyNotWeights.empty(),
                            offersInt8 && why.empty() ? linear.getInChannelAxis() : -1});
      } else if (auto sum = dyn_cast<nn::AddOp>(op); sum && offersInt8) {
        if (OpOperand *addend = quantize::addendInMemory(sum))
          result.push_back({&op, names.of(&op), {addend->get()}, addend->get()});
      } else if (auto attention = dyn_cast<nn::AttentionOp>(op); attention && offersInt8) {
        if (elementTypeOf(attention.getQ()).isF32())
          result.push_back({&op, names.of(&op), {}, Value()});
      } else if (auto gather = dyn_cast<nn::GatherOp>(op); gather && offersWeightOnly && NarrowTable::isTable(gather)) {
        std::string name = names.of(&op), why = WeightOnly::whyNot(gather);
        if (why.empty())
          result.push_back({&op, name, {}, Value()});
        else
          refused.push_back({name, why});
      }
    }
    return result;
  }

  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    if (isa<nn::AttentionOp>(site.op))
      return {{"bf16", "", nlohmann::json::object(), {}}};
    if (isa<nn::GatherOp>(site.op))
      return weightOnly.options(site.op, nullptr);
    const TensorStatistics &s = observations.of(site.observed[0]);
    if (!s.count() || s.notFinite())
      return {};
    std::vector<Option> result;
    if (site.wantsGram)
      result = weightOnly.options(site.op, observations.gram(site.op));
    auto linear = dyn_cast<nn::LinearOp>(site.op);
    if (offersInt8 && offersWeightOnly && multipliesBf16 && linear && whyNotBf16(linear).empty())
      result.push_back(bf16Products());
    if (!offersInt8 || (linear && !quantize::whyNot(linear).empty()))
      return result;
    auto add = [&](StringRef variant, double lo, double hi) {
      quantize::ActivationParameters p = quantize::parametersOf(lo, hi);
      // Ranges of values without tails are all the same.
      bool isKnown = llvm::any_of(result, [&](const Option &o) {
        return o.name == "int8" && o.parameters["scale"] == p.scale && o.parameters["zero_point"] == p.zeroPoint;
      });
      if (isKnown && variant != "channels")
        return;
      result.push_back(
          {"int8", variant.str(), {{"scale", p.scale}, {"zero_point", p.zeroPoint}}, {}});
      if (isa<nn::AddOp>(site.op))
        result.back().parameters["operand"] = site.op->getOperand(0) == site.observed[0] ? 0 : 1;
    };
    double lo, hi;
    add("max", s.min(), s.max());
    if (observations.ofNoise)
      return result;
    s.percentileRange(0.9999, lo, hi);
    add("percentile", lo, hi);
    s.leastErrorRange(256, lo, hi);
    add("mse", lo, hi);
    s.leastDivergenceRange(256, lo, hi);
    add("entropy", lo, hi);
    if (auto it = scalesOf.find(site.observed[0]); linear && it != scalesOf.end()) {
      s.rangeOver(it->second, lo, hi);
      add("channels", lo, hi);
      result.back().parameters["channel_scales"] = it->second;
    }
    return result;
  }

  /// Layers that read one value get one set of channel scales, so that it is quantized once.
  void plan(ArrayRef<Site> sites, const Observations &observations) override {
    llvm::MapVector<Value, std::vector<LinearLayer>> readers;
    llvm::DenseSet<Value> whole; // values that have one scale
    for (const Site &site : sites) {
      std::optional<LinearLayer> layer = LinearLayer::get(site.op, nullptr, Groups::Taken);
      if (layer && site.channelAxis >= 0 && whyNotAffineBefore(layer->op(), /*scaled=*/true, /*shifted=*/false).empty())
        readers[site.shared].push_back(*layer);
      else if (site.shared)
        whole.insert(site.shared);
    }
    for (auto &[v, layers] : readers) {
      const TensorStatistics &s = observations.of(v);
      // Quantizations by one scale move ahead of movement, which is then of bytes.
      bool isMoved = v.getDefiningOp() && !movedOperands(v.getDefiningOp()).empty();
      if (!whole.contains(v) && !isMoved && s.count() && !s.notFinite())
        if (std::vector<double> scales = channelScales(layers, s); !scales.empty())
          scalesOf[v] = std::move(scales);
    }
  }

  std::optional<double> defaultError() const override { return offersInt8 ? std::optional(kInt8Error) : std::nullopt; }
  std::optional<Option> fallback(const Site &site, bool bf16) const override {
    auto linear = dyn_cast<nn::LinearOp>(site.op);
    if (!bf16 || !offersInt8 || !linear || !whyNotBf16(linear).empty())
      return std::nullopt;
    return bf16Products();
  }

  std::string check(Operation *op, const Option &option) const override {
    if (auto attention = dyn_cast<nn::AttentionOp>(op)) {
      if (option.name != "bf16")
        return "there is no option '" + option.name + "'";
      return elementTypeOf(attention.getQ()).isF32() ? "" : "it is not of 32-bit floats";
    }
    auto linear = dyn_cast<nn::LinearOp>(op);
    auto sum = dyn_cast<nn::AddOp>(op);
    auto gather = dyn_cast<nn::GatherOp>(op);
    if (!linear && !sum && !gather)
      return "it is no convolution, matrix product, sum, attention or lookup";
    if (isWeightOnly(op, option))
      return WeightOnly::check(op, option);
    if (option.name == kBf16Option)
      return linear ? whyNotBf16(linear) : "only convolutions and matrix products have bf16 operands";
    if (option.name != "int8" || gather)
      return "there is no option '" + option.name + "'";
    const nlohmann::json &p = option.parameters;
    auto scale = p.is_object() ? p.find("scale") : p.end(),
         zero = p.is_object() ? p.find("zero_point") : p.end();
    if (scale == p.end() || zero == p.end() || !scale->is_number() || !zero->is_number_integer() ||
        !(scale->get<float>() > 0) || std::isinf(scale->get<float>()) || zero->get<int64_t>() < 0 ||
        zero->get<int64_t>() > 255)
      return "int8 needs a positive 'scale' and a 'zero_point' from 0 to 255";
    if (linear) {
      std::string why = quantize::whyNot(linear);
      if (why.empty() && p.contains("channel_scales"))
        why = checkChannelScales(linear, p["channel_scales"]);
      return why.empty() && int8weights::areIn(option) ? int8weights::check(op, option) : why;
    }
    auto operand = p.find("operand");
    if (operand == p.end() || !operand->is_number_integer() || (*operand != 0 && *operand != 1))
      return "int8 of a sum needs an 'operand', 0 or 1";
    return elementTypeOf(sum.getResult()).isF32() ? "" : "it is not of 32-bit floats";
  }

  std::string costKey(const Option &option) const override {
    return WeightOnly::isOption(option.name) ? WeightOnly::costKey(option) : Technique::costKey(option);
  }

  std::optional<LayerWeights> weights(Operation *op, const Option &option) const override {
    if (int8weights::areIn(option))
      return int8weights::weights(op, option);
    if (!isWeightOnly(op, option) || !isa<nn::LinearOp>(op))
      return std::nullopt;
    return WeightOnly::weights(op, option);
  }

  bool changesActivation(Operation *op, const Option &option) const override {
    return int8weights::areIn(option) || (isWeightOnly(op, option) && WeightOnly::hasByteRows(option));
  }
  Value activation(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    return int8weights::areIn(option) ? int8weights::activation(rewriter, op, option) : WeightOnly::activation(rewriter, op, option);
  }

  std::optional<Option> solvable(Operation *op, const Option &option) const override {
    return isa<nn::LinearOp>(op) && option.name == "int8" ? int8weights::rounded(op, option) : std::nullopt;
  }
  bool refit(Operation *op, Option &option, const Gram &gram) const override {
    if (int8weights::areIn(option))
      return int8weights::refit(op, option, gram);
    return isa<nn::LinearOp>(op) && isWeightOnly(op, option) && WeightOnly::refit(op, option, gram);
  }

  Value apply(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    if (isa<nn::AttentionOp>(op) || option.name == kBf16Option) {
      OpBuilder::InsertionGuard guard(rewriter);
      rewriter.setInsertionPoint(op);
      Operation *copy = rewriter.clone(*op);
      copy->setAttr(nn::kBf16Products, rewriter.getUnitAttr());
      return copy->getResult(0);
    }
    if (isWeightOnly(op, option))
      return WeightOnly::apply(rewriter, op, option);
    if (int8weights::areIn(option))
      return int8weights::apply(rewriter, op, option);
    quantize::ActivationParameters p{option.parameters["scale"].get<float>(),
                                     option.parameters["zero_point"].get<int>()};
    if (auto sum = dyn_cast<nn::AddOp>(op))
      return quantize::withQuantizedAddend(rewriter, sum, option.parameters["operand"].get<unsigned>(), p).getResult();
    return quantize::withQuantizedOperands(rewriter, cast<nn::LinearOp>(op), p,
                                           option.parameters.value("channel_scales", std::vector<double>()))
        ->getResult(0);
  }

  // The layer before ends in the quantization of its result.
  bool isMeetingPoint(Operation *op) const override { return isa<nn::QuantizeOp, nn::MulOp>(op); }

  void finish(func::FuncOp func, RewriterBase &rewriter) const override {
    quantize::quantizeAheadOfMovement(func, rewriter);
  }

private:
  static Option bf16Products() { return {kBf16Option.str(), "", nlohmann::json::object(), {}}; }

  static bool isWeightOnly(Operation *op, const Option &option) {
    return isa<nn::LinearOp, nn::GatherOp>(op) && WeightOnly::isOption(option.name);
  }

  static std::string checkChannelScales(nn::LinearOp op, const nlohmann::json &scales) {
    bool fits = scales.is_array() && int64_t(scales.size()) == op.getInChannels() &&
                llvm::all_of(scales, [](const nlohmann::json &s) { return s.is_number() && s.get<double>() > 0 && std::isfinite(s.get<double>()); });
    return fits ? whyNotAffineBefore(op, /*scaled=*/true, /*shifted=*/false)
                : "'channel_scales' are a positive number for each of its " + std::to_string(op.getInChannels()) + " in channels";
  }

  WeightOnly weightOnly;
  llvm::DenseMap<Value, std::vector<double>> scalesOf; // of channels of activations
  bool offersInt8 = true, offersWeightOnly = true;
  bool multipliesBf16 = false; // whether the target has instructions for that
};

} // namespace

std::unique_ptr<Technique> createQuantizeTechnique() {
  return std::make_unique<QuantizeTechnique>();
}

} // namespace nnopt::compress
