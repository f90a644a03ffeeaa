//===- WeightOnly.cpp - weights alone in fewer bits -------------------------===//

#include "lib/compress/WeightOnly.h"
#include "lib/compress/LeastSquares.h"
#include "lib/compress/NarrowTable.h"
#include "lib/compress/WidenedConstants.h"
#include "passes/factorize-low-rank/Factorize.h"
#include "passes/quantize/Quantize.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace nnopt::compress {

/// Thin matrices are for what rounding loses; they are not read where they are as large as the weights.
constexpr int64_t kMostRank = 1024;

bool WeightOnly::isOption(StringRef name) {
  return llvm::is_contained({"w8", "w4", "w8a8", "w4a8", "bf16", "f16"}, name);
}

/// What the moments of rows get on the diagonal, of its mean: those of few samples are singular.
constexpr double kThinDamping = 1e-4;

/// Of w8, w4 and these with activations of 8 bits.
static int bitsOf(StringRef option) { return option.starts_with("w4") ? 4 : 8; }
static bool namesByteRows(StringRef option) { return option.ends_with("a8"); }

bool WeightOnly::configure(StringRef spec, std::string &wrong) {
  auto [name, rest] = spec.split(',');
  if (!isOption(name))
    return false;
  only = name.str();
  SmallVector<StringRef> more;
  rest.split(more, ',', -1, /*KeepEmpty=*/false);
  for (StringRef one : more) {
    auto [key, value] = one.split('=');
    if (bitsOf(name) == 4 && key == "group") {
      if (!llvm::to_integer(value, group) || group < kGroupUnit || group % kGroupUnit || group > 1 << 20)
        wrong = "'" + value.str() + "': groups are multiples of 8, like 32, 64 and 128";
    } else if (name == "w4" && key == "rank") {
      if (!llvm::to_integer(value, rank) || rank < 1 || rank > kMostRank)
        wrong = "'" + value.str() + "': ranks are from 1 to " + std::to_string(kMostRank);
    } else {
      wrong = "'" + one.str() + "': only w4 and w4a8 have more to say: w4,group=64 and w4,rank=16";
    }
  }
  return true;
}

std::string WeightOnly::whyNot(Operation *op) {
  if (auto gather = dyn_cast<nn::GatherOp>(op))
    return NarrowTable::whyNot(gather);
  std::string why;
  if (!LinearLayer::get(op, &why))
    return why;
  if (!isa<nn::MatMulOp>(op))
    return "convolutions read their weights as floats";
  if (cast<nn::LinearOp>(op).getOutChannels() < 2)
    return "a product with one column reads its weights as floats";
  if (llvm::any_of(nn::ConstantData::get(cast<nn::LinearOp>(op).getWeight())->asFloats(), [](float w) { return !std::isfinite(w); }))
    return "a weight is infinite or NaN";
  return "";
}

//===----------------------------------------------------------------------===//
// Integers of an option
//===----------------------------------------------------------------------===//

template <typename T> static npz::Array bytesOf(const RoundedWeights::Codes &codes) {
  npz::Array array{std::is_signed_v<T> ? 'i' : 'u', 1, {codes.rows(), codes.cols()}, {}};
  for (int16_t code : codes.reshaped<Eigen::RowMajor>())
    array.data.push_back(char(T(code)));
  return array;
}

static void setTensors(Option &option, const RoundedWeights &rounded) {
  bool symmetric = !rounded.zeros.size();
  option.tensors["codes"] = symmetric ? bytesOf<int8_t>(rounded.codes) : bytesOf<uint8_t>(rounded.codes);
  option.tensors["scales"] = arrayOf(rounded.scales);
  if (!symmetric)
    option.tensors["zeros"] = bytesOf<uint8_t>(rounded.zeros);
}

/// Reads 4-bit integers of `symmetric` or unsigned weights; nothing where an array is not what it should be.
static std::optional<RoundedWeights::Codes> codesOf(const Option &option, const char *name, bool symmetric) {
  auto it = option.tensors.find(name);
  if (it == option.tensors.end() || it->second.kind != (symmetric ? 'i' : 'u') || it->second.width != 1 || it->second.shape.size() != 2)
    return std::nullopt;
  RoundedWeights::Codes codes(it->second.shape[0], it->second.shape[1]);
  for (int64_t i = 0; i < codes.size(); ++i) {
    char byte = it->second.data[i];
    codes.data()[i] = symmetric ? int8_t(byte) : uint8_t(byte);
  }
  int low = symmetric ? -8 : 0;
  if (codes.size() == 0 || codes.minCoeff() < low || codes.maxCoeff() > low + 15)
    return std::nullopt;
  return codes;
}

/// Two thin matrices beside the integers: their product is the nearest of `rank` to `missing` for rows with moments `h`. As they are
/// stored.
static void setThin(Option &option, int64_t rank, const Matrix &missing, const Matrix &h) {
  using Eigen::MatrixXd;
  MatrixXd moments = lowrank::damped(h.cast<double>(), kThinDamping);
  lowrank::Factors factors = lowrank::RankBasis(missing.cast<double>(), moments).factors(rank);
  for (auto [name, stage] : {std::pair("first", &factors.stages[0]), {"second", &factors.stages[1]}}) {
    std::vector<float> halves = roundedToHalves(ArrayRef<float>(stage->data(), size_t(stage->size())), "f16");
    std::copy(halves.begin(), halves.end(), stage->data());
    option.tensors[name] = arrayOf(*stage);
  }
}

static bool isThin(const Option &option) { return option.parameters.is_object() && option.parameters.contains("rank"); }

/// The thin matrices of an option, [rank, columns] and [out channels, rank]; nothing where they are not of this layer.
static std::optional<std::pair<Matrix, Matrix>> thinOf(const LinearLayer &layer, const Option &option) {
  std::optional<Matrix> first = matrixOf(option.tensors, "first"), second = matrixOf(option.tensors, "second");
  if (!first || !second || first->rows() < 1 || first->rows() != second->cols() || first->cols() != layer.columns() ||
      second->rows() != layer.outChannels() || !first->allFinite() || !second->allFinite())
    return std::nullopt;
  return std::pair(std::move(*first), std::move(*second));
}

static bool isSymmetric(const Option &option) { return option.variant != "asymmetric"; }
static bool is16Bit(StringRef option) { return option == "bf16" || option == "f16"; }

/// The integers of a w8 or w4 option; nothing, with the reason, where it is not of this layer.
static std::optional<RoundedWeights> roundedOf(const LinearLayer &layer, const Option &option, std::string &why) {
  if (bitsOf(option.name) == 8)
    return roundToNearest(layer.weights().weights, {8, layer.columns(), true}, {});
  bool symmetric = isSymmetric(option);
  auto codes = codesOf(option, "codes", symmetric);
  std::optional<Matrix> scales = matrixOf(option.tensors, "scales");
  auto zeros = symmetric ? std::optional(RoundedWeights::Codes()) : codesOf(option, "zeros", false);
  why = "4-bit weights need arrays 'codes' of 4-bit integers, 'scales' and, when asymmetric, 'zeros'";
  if (!codes || !scales || !zeros)
    return std::nullopt;
  why = "the arrays of the weights are of another layer: their shapes do not fit";
  int64_t groups = scales->cols();
  if (codes->rows() != layer.outChannels() || codes->cols() != layer.columns() || scales->rows() != codes->rows() || groups < 1 ||
      codes->cols() % groups || (groups > 1 && codes->cols() / groups % kGroupUnit) ||
      (!symmetric && (zeros->rows() != scales->rows() || zeros->cols() != groups)))
    return std::nullopt;
  why = "a scale is not positive and finite";
  if (!(scales->array() > 0).all() || !scales->allFinite())
    return std::nullopt;
  why.clear();
  return RoundedWeights{std::move(*codes), std::move(*scales), std::move(*zeros)};
}

//===----------------------------------------------------------------------===//
// The technique's part
//===----------------------------------------------------------------------===//

std::vector<Option> WeightOnly::options(Operation *op, const Gram *gram) const {
  if (auto gather = dyn_cast<nn::GatherOp>(op))
    return NarrowTable(gather).options(StringRef(only).take_front(namesByteRows(only) ? 2 : StringRef::npos), group);
  std::vector<Option> result;
  LinearLayer layer = *LinearLayer::get(op);
  auto wanted = [&](StringRef name) { return only.empty() || only == name; };
  for (const char *name : {"bf16", "f16", "w8", "w8a8"})
    if (wanted(name))
      result.push_back({name, "", nlohmann::json::object(), {}});
  if (!wanted("w4") && !wanted("w4a8"))
    return result;
  Vector importance = gram ? Vector(gram->h.diagonal()) : Vector();
  Matrix w = layer.weights().weights;
  int64_t size = groupFor(layer.columns(), group);
  for (bool symmetric : {true, false}) {
    Option option{"", symmetric ? "symmetric" : "asymmetric", {{"group", size}}, {}};
    RoundedWeights rounded = roundToNearest(w, {4, size, symmetric}, importance);
    setTensors(option, rounded);
    if (int64_t most = std::min({rank, layer.columns(), layer.outChannels()}); most && gram) {
      option.parameters["rank"] = most;
      setThin(option, most, w - rounded.values(), gram->h);
    }
    for (const char *name : {"w4", "w4a8"})
      if (wanted(name)) {
        option.name = name;
        result.push_back(option);
      }
  }
  return result;
}

std::string WeightOnly::check(Operation *op, const Option &option) {
  std::string why = whyNot(op);
  if (auto gather = dyn_cast<nn::GatherOp>(op))
    return why.empty() ? NarrowTable(gather).check(option) : why;
  if (why.empty() && !is16Bit(option.name))
    (void)roundedOf(*LinearLayer::get(op), option, why);
  if (why.empty() && isThin(option) && (option.name != "w4" || !thinOf(*LinearLayer::get(op), option)))
    why = "w4 with a rank needs arrays 'first' [rank, columns] and 'second' [out channels, rank] of this layer";
  return why;
}

LayerWeights WeightOnly::weights(Operation *op, const Option &option) {
  LinearLayer layer = *LinearLayer::get(op);
  LayerWeights result = layer.weights();
  std::string why;
  if (!is16Bit(option.name)) {
    result.weights = roundedOf(layer, option, why)->values();
    if (isThin(option)) {
      auto [first, second] = *thinOf(layer, option);
      result.weights += second * first;
    }
    return result;
  }
  ArrayRef<float> values(result.weights.data(), size_t(result.weights.size()));
  std::vector<float> rounded = roundedToHalves(values, option.name);
  std::copy(rounded.begin(), rounded.end(), result.weights.data());
  return result;
}

Value WeightOnly::apply(RewriterBase &rewriter, Operation *operation, const Option &option) {
  if (auto gather = dyn_cast<nn::GatherOp>(operation))
    return NarrowTable(gather).apply(rewriter, option);
  LinearLayer layer = *LinearLayer::get(operation);
  nn::LinearOp op = layer.op();
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  ArrayRef<int64_t> shape = shapeOf(op.getWeight());
  Value w;
  if (is16Bit(option.name)) {
    w = widenedHalves(rewriter, op.getLoc(), layer.inOrder(layer.weights().weights), shape, option.name);
  } else {
    std::string why;
    w = widenedIntegers(rewriter, op.getLoc(), *roundedOf(layer, option, why), bitsOf(option.name), shape,
                        op.getWeightOutAxis() == 1);
  }
  Value x = hasByteRows(option) ? activation(rewriter, op, option) : op.getActivation();
  Value result = op.cloneWith(rewriter, op.getLoc(), x, w, op.getBias())->getResult(0);
  if (!isThin(option))
    return result;
  auto [first, second] = *thinOf(layer, option);
  Type f32 = untyped(rewriter.getF32Type());
  for (const Matrix &stage : {first, second}) {
    // Row after row, with the channels of the result last.
    Matrix turned = stage.transpose();
    Value thin = widenedHalves(rewriter, op.getLoc(), ArrayRef<float>(turned.data(), size_t(turned.size())),
                               {turned.rows(), turned.cols()}, "f16");
    x = nn::MatMulOp::create(rewriter, op.getLoc(), f32, x, thin, Value(), Value(), Value(), ValueRange(), false, false).getResult();
  }
  return nn::AddOp::create(rewriter, op.getLoc(), f32, result, x);
}

bool WeightOnly::hasByteRows(const Option &option) { return namesByteRows(option.name); }

Value WeightOnly::activation(RewriterBase &rewriter, Operation *op, const Option &option) {
  return quantize::throughByteRows(rewriter, op->getLoc(), cast<nn::LinearOp>(op).getActivation());
}

bool WeightOnly::refit(Operation *op, Option &option, const Gram &gram) {
  if (bitsOf(option.name) != 4 || !gram.compares())
    return false;
  LinearLayer layer = *LinearLayer::get(op);
  // The weights that give the float model's outputs from what the layer reads now, then their rounding.
  Matrix target = LeastSquares(gram, layer.weights(), dampingFor(gram), /*moveBias=*/false).solve();
  if (!target.allFinite())
    return false;
  RoundedWeights rounded = roundWithFeedback(target, {4, option.parameters["group"].get<int64_t>(), isSymmetric(option)}, gram.h);
  setTensors(option, rounded);
  if (isThin(option))
    setThin(option, option.parameters["rank"].get<int64_t>(), target - rounded.values(), gram.h);
  return true;
}

std::string WeightOnly::costKey(const Option &option) {
  return option.name + " " + option.variant + " " + option.parameters.dump();
}

} // namespace nnopt::compress
