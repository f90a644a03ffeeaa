//===- Int8Weights.cpp - weights of int8 layers that are solved -------------===//

#include "lib/compress/Int8Weights.h"
#include "lib/compress/LeastSquares.h"
#include "lib/compress/WeightRounding.h"
#include "passes/quantize/Quantize.h"

using namespace mlir;

namespace nnopt::compress::int8weights {

namespace {

/// Layers of more columns, or with fewer rows for each, keep their weights and get another bias alone: solving takes the third power
/// of the columns, and sums of many products average errors by themselves.
constexpr int64_t kMostColumns = 1536, kLeastRowsPerColumn = 2;

std::vector<double> channelScalesOf(const Option &option) {
  return option.parameters.value("channel_scales", std::vector<double>());
}

quantize::ActivationParameters parametersOf(const Option &option) {
  return {option.parameters["scale"].get<float>(), option.parameters["zero_point"].get<int>()};
}

/// From this share of zeros on, weights that are zero stay zero: kernels may skip them.
constexpr double kSparse = 0.25;

/// Which weights may change.
std::optional<Mask> patternOf(const Matrix &weights) {
  Mask kept = weights.array() != 0;
  if (double(kept.count()) > (1 - kSparse) * double(kept.size()))
    return std::nullopt;
  return kept;
}

/// What each column of a group is multiplied with so that it meets the divided activation.
Vector factorsOf(const LinearLayer &layer, const Option &option, int64_t group) {
  std::vector<double> scales = channelScalesOf(option);
  Vector factors = Vector::Ones(layer.columns());
  if (!scales.empty())
    for (int64_t c = 0; c < layer.columns(); ++c)
      factors[c] = float(scales[group * layer.inChannels() + c / layer.kernel()]);
  return factors;
}

/// Calls `body` with each group: its number, its first out channel and how many it has.
void forGroups(const LinearLayer &layer, llvm::function_ref<void(int64_t, int64_t, int64_t)> body) {
  int64_t channels = layer.outChannels() / layer.groups();
  for (int64_t g = 0; g < layer.groups(); ++g)
    body(g, g * channels, channels);
}

void setArrays(Option &option, const RoundedWeights::Codes &codes, const Matrix &scales, const Vector &bias) {
  npz::Array array{'i', 1, {codes.rows(), codes.cols()}, {}};
  for (int16_t code : codes.reshaped<Eigen::RowMajor>())
    array.data.push_back(char(int8_t(code)));
  option.tensors["codes"] = std::move(array);
  option.tensors["scales"] = arrayOf(scales);
  option.tensors["bias"] = arrayOf(bias);
}

RoundedWeights::Codes codesOf(const LinearLayer &layer, const Option &option) {
  return Eigen::Map<const Eigen::Matrix<int8_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
             reinterpret_cast<const int8_t *>(option.tensors.at("codes").data.data()), layer.outChannels(), layer.columns())
      .cast<int16_t>();
}

LinearLayer layerOf(Operation *op) { return *LinearLayer::get(op, nullptr, Groups::Taken); }

} // namespace

bool areIn(const Option &option) { return option.name == "int8" && option.tensors.count("codes"); }

std::optional<Option> rounded(Operation *op, const Option &option) {
  std::optional<LinearLayer> layer = LinearLayer::get(op, nullptr, Groups::Taken);
  if (!layer)
    return std::nullopt;
  Option result = option;
  if (areIn(option))
    return result;
  LayerWeights original = layer->weights();
  Matrix w = original.weights;
  forGroups(*layer, [&](int64_t g, int64_t first, int64_t channels) {
    auto rows = w.middleRows(first, channels);
    rows = (rows * factorsOf(*layer, option, g).asDiagonal()).eval();
  });
  RoundedWeights codes = roundToNearest(w, {8, layer->columns(), true}, {});
  setArrays(result, codes.codes, codes.scales, original.bias);
  return result;
}

std::string check(Operation *op, const Option &option) {
  std::string why;
  std::optional<LinearLayer> layer = LinearLayer::get(op, &why, Groups::Taken);
  if (!layer)
    return why;
  auto codes = option.tensors.find("codes");
  std::optional<Matrix> scales = matrixOf(option.tensors, "scales"), bias = matrixOf(option.tensors, "bias");
  if (codes == option.tensors.end() || codes->second.kind != 'i' || codes->second.width != 1 || !scales || !bias)
    return "int8 with weights needs arrays 'codes' of 8-bit integers, 'scales' and 'bias'";
  if (codes->second.shape != std::vector<int64_t>{layer->outChannels(), layer->columns()} || scales->size() != layer->outChannels() ||
      bias->size() != layer->outChannels())
    return "the arrays of the weights are of another layer: their shapes do not fit";
  if (!(scales->array() > 0).all() || !scales->allFinite() || !bias->allFinite())
    return "a scale is not positive and finite, or a bias not finite";
  return "";
}

LayerWeights weights(Operation *op, const Option &option) {
  LinearLayer layer = layerOf(op);
  LayerWeights result{codesOf(layer, option).cast<float>(), matrixOf(option.tensors, "bias")->reshaped()};
  Vector scales = matrixOf(option.tensors, "scales")->reshaped();
  result.weights = (scales.asDiagonal() * result.weights).eval();
  forGroups(layer, [&](int64_t g, int64_t first, int64_t channels) {
    auto rows = result.weights.middleRows(first, channels);
    rows = (rows * factorsOf(layer, option, g).cwiseInverse().asDiagonal()).eval();
  });
  return result;
}

Value activation(RewriterBase &rewriter, Operation *op, const Option &option) {
  return quantize::throughChannelIntegers(rewriter, cast<nn::LinearOp>(op), parametersOf(option), channelScalesOf(option));
}

bool refit(Operation *op, Option &option, const Gram &gram) {
  LinearLayer layer = layerOf(op);
  LayerWeights original = layer.weights(), changed = weights(op, option);
  RoundedWeights::Codes codes = codesOf(layer, option);
  Matrix scales = *matrixOf(option.tensors, "scales");
  bool finite = true;
  forGroups(layer, [&](int64_t g, int64_t first, int64_t channels) {
    const Gram &moments = layer.groups() == 1 ? gram : gram.groups[g];
    finite = finite && moments.compares();
    if (!finite)
      return;
    LayerWeights part{original.weights.middleRows(first, channels), original.bias.segment(first, channels)};
    auto bias = changed.bias.segment(first, channels);
    const bool movesBias = bool(layer.op().getBias());
    if (layer.columns() > kMostColumns || moments.rows < kLeastRowsPerColumn * layer.columns()) {
      if (movesBias)
        bias = part.bias + part.weights * moments.denseMean - changed.weights.middleRows(first, channels) * moments.mean;
      if (movesBias && moments.missing.size())
        bias += moments.missingMean;
      return;
    }
    LeastSquares problem(moments, part, dampingFor(moments), movesBias);
    Vector factors = factorsOf(layer, option, g), inverse = factors.cwiseInverse();
    Matrix h = inverse.asDiagonal() * problem.hessian().cast<float>() * inverse.asDiagonal();
    std::optional<Mask> pattern = patternOf(part.weights);
    Matrix target = (pattern ? problem.solve(*pattern) : problem.solve()) * factors.asDiagonal();
    finite = target.allFinite();
    if (!finite)
      return;
    const RoundingGrid grid{8, layer.columns(), true};
    RoundedWeights r = pattern ? roundToNearest(target, grid, {}) : roundWithFeedback(target, grid, h);
    codes.middleRows(first, channels) = r.codes;
    scales.middleRows(first, channels) = r.scales;
    bias = problem.bias(r.values() * inverse.asDiagonal());
  });
  finite = finite && changed.bias.allFinite();
  if (finite)
    setArrays(option, codes, scales, changed.bias);
  return finite;
}

Value apply(RewriterBase &rewriter, Operation *op, const Option &option) {
  LinearLayer layer = layerOf(op);
  quantize::ByteWeights weights;
  for (float code : layer.inOrder(codesOf(layer, option).cast<float>()))
    weights.codes.push_back(char(int8_t(code)));
  Matrix scales = *matrixOf(option.tensors, "scales"), bias = *matrixOf(option.tensors, "bias");
  weights.scales.assign(scales.data(), scales.data() + scales.size());
  weights.bias.assign(bias.data(), bias.data() + bias.size());
  return quantize::withByteWeights(rewriter, layer.op(), parametersOf(option), channelScalesOf(option), weights)->getResult(0);
}

} // namespace nnopt::compress::int8weights
