//===- WeightOnly.cpp - weights alone in fewer bits -------------------------===//

#include "lib/compress/WeightOnly.h"
#include "lib/compress/LeastSquares.h"
#include "lib/compress/WeightRounding.h"
#include "llvm/ADT/StringExtras.h"
#include <cstring>

using namespace mlir;

namespace nnopt::compress {

/// Groups are whole words of eight 4-bit weights (dialects/nn/NarrowWeights.h).
constexpr int64_t kGroupUnit = 8;

bool WeightOnly::isOption(StringRef name) { return name == "w8" || name == "w4" || name == "bf16" || name == "f16"; }

bool WeightOnly::configure(StringRef spec, std::string &wrong) {
  auto [name, rest] = spec.split(',');
  if (!isOption(name))
    return false;
  only = name.str();
  if (rest.empty())
    return true;
  auto [key, value] = rest.split('=');
  if (name != "w4" || key != "group")
    wrong = "'" + rest.str() + "': only w4 has more to say: w4,group=64";
  else if (!llvm::to_integer(value, group) || group < kGroupUnit || group % kGroupUnit || group > 1 << 20)
    wrong = "'" + value.str() + "': groups are multiples of 8, like 32, 64 and 128";
  return true;
}

std::string WeightOnly::whyNot(Operation *op) {
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

static bool isSymmetric(const Option &option) { return option.variant != "asymmetric"; }

/// The integers of a w8 or w4 option; nothing, with the reason, where it is not of this layer.
static std::optional<RoundedWeights> roundedOf(const LinearLayer &layer, const Option &option, std::string &why) {
  if (option.name == "w8")
    return roundToNearest(layer.weights().weights, {8, layer.columns(), true}, {});
  bool symmetric = isSymmetric(option);
  auto codes = codesOf(option, "codes", symmetric);
  std::optional<Matrix> scales = matrixOf(option.tensors, "scales");
  auto zeros = symmetric ? std::optional(RoundedWeights::Codes()) : codesOf(option, "zeros", false);
  why = "w4 needs arrays 'codes' of 4-bit integers, 'scales' and, when asymmetric, 'zeros'";
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

/// The largest group of at most `wanted` columns that divides them; all columns where there is none.
static int64_t groupFor(int64_t columns, int64_t wanted) {
  for (int64_t group = wanted / kGroupUnit * kGroupUnit; group >= kGroupUnit; group -= kGroupUnit)
    if (columns % group == 0)
      return group;
  return columns;
}

//===----------------------------------------------------------------------===//
// The technique's part
//===----------------------------------------------------------------------===//

std::vector<Option> WeightOnly::options(Operation *op, const Gram *gram) const {
  std::vector<Option> result;
  LinearLayer layer = *LinearLayer::get(op);
  auto wanted = [&](StringRef name) { return only.empty() || only == name; };
  for (const char *name : {"bf16", "f16", "w8"})
    if (wanted(name))
      result.push_back({name, "", nlohmann::json::object(), {}});
  if (!wanted("w4"))
    return result;
  Vector importance = gram ? Vector(gram->h.diagonal()) : Vector();
  Matrix w = layer.weights().weights;
  int64_t size = groupFor(layer.columns(), group);
  for (bool symmetric : {true, false}) {
    Option option{"w4", symmetric ? "symmetric" : "asymmetric", {{"group", size}}, {}};
    setTensors(option, roundToNearest(w, {4, size, symmetric}, importance));
    result.push_back(std::move(option));
  }
  return result;
}

std::string WeightOnly::check(Operation *op, const Option &option) {
  std::string why = whyNot(op);
  if (why.empty() && (option.name == "w8" || option.name == "w4"))
    (void)roundedOf(*LinearLayer::get(op), option, why);
  return why;
}

/// The weights as a 16-bit float type, in the order in which the operation holds them.
static ElementsAttr narrowed(const LinearLayer &layer, const llvm::fltSemantics &semantics, FloatType type, Matrix *values) {
  Matrix w = layer.weights().weights;
  std::vector<float> ordered = layer.inOrder(w);
  std::vector<char> bytes;
  bytes.reserve(ordered.size() * 2);
  auto narrow = [&](float v) {
    llvm::APFloat f(v);
    bool loses;
    f.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &loses);
    return f;
  };
  if (values)
    *values = w.unaryExpr([&](float v) {
      llvm::APFloat f = narrow(v);
      bool loses;
      f.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &loses);
      return f.convertToFloat();
    });
  for (float v : ordered) {
    uint64_t bits = narrow(v).bitcastToAPInt().getZExtValue();
    bytes.push_back(char(bits & 255));
    bytes.push_back(char(bits >> 8));
  }
  return nn::makeConstant(RankedTensorType::get(shapeOf(layer.op().getWeight()), type), bytes, "narrow_weight");
}

static ElementsAttr narrowed(const LinearLayer &layer, StringRef name, Matrix *values = nullptr) {
  MLIRContext *ctx = layer.op()->getContext();
  return name == "bf16" ? narrowed(layer, llvm::APFloat::BFloat(), BFloat16Type::get(ctx), values)
                        : narrowed(layer, llvm::APFloat::IEEEhalf(), Float16Type::get(ctx), values);
}

LayerWeights WeightOnly::weights(Operation *op, const Option &option) {
  LinearLayer layer = *LinearLayer::get(op);
  LayerWeights result = layer.weights();
  std::string why;
  if (option.name == "w8" || option.name == "w4")
    result.weights = roundedOf(layer, option, why)->values();
  else
    narrowed(layer, option.name, &result.weights);
  return result;
}

/// Integers [out, columns] as a constant in the order of the weights, blocks of columns being a dimension of their own:
/// [out, blocks, size] or [blocks, size, out]; and what broadcasts along such a block with size 1.
static Value codesConstant(RewriterBase &rewriter, Location loc, const RoundedWeights::Codes &codes, int64_t blocks, bool outLast,
                           Type type, StringRef name) {
  int64_t out = codes.rows(), columns = codes.cols(), size = columns / blocks;
  std::vector<char> bytes(out * columns);
  for (int64_t r = 0; r < out; ++r)
    for (int64_t c = 0; c < columns; ++c)
      bytes[outLast ? c * out + r : r * columns + c] = char(codes(r, c));
  SmallVector<int64_t> shape = outLast ? SmallVector<int64_t>{blocks, size, out} : SmallVector<int64_t>{out, blocks, size};
  if (blocks == 1)
    shape.erase(shape.begin() + (outLast ? 0 : 1));
  return nn::ConstantOp::create(rewriter, loc, nn::makeConstant(RankedTensorType::get(shape, type), bytes, name));
}

static Value scalesConstant(RewriterBase &rewriter, Location loc, const Matrix &scales, bool outLast) {
  int64_t out = scales.rows(), blocks = scales.cols();
  Matrix ordered = outLast ? Matrix(scales.transpose()) : scales;
  SmallVector<int64_t> shape = outLast ? SmallVector<int64_t>{blocks, 1, out} : SmallVector<int64_t>{out, blocks, 1};
  if (blocks == 1)
    shape = outLast ? SmallVector<int64_t>{out} : SmallVector<int64_t>{out, 1};
  ArrayRef<float> values(ordered.data(), size_t(ordered.size()));
  return nn::ConstantOp::create(rewriter, loc, nn::makeFloats(rewriter.getContext(), shape, values, "weight_scale"));
}

Value WeightOnly::apply(RewriterBase &rewriter, Operation *operation, const Option &option) {
  LinearLayer layer = *LinearLayer::get(operation);
  nn::LinearOp op = layer.op();
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Location loc = op.getLoc();
  Type f32 = rewriter.getF32Type();
  Value w;
  if (option.name != "w8" && option.name != "w4") {
    Value constant = nn::ConstantOp::create(rewriter, loc, narrowed(layer, option.name));
    w = nn::CastOp::create(rewriter, loc, untyped(f32), constant, f32, /*saturate=*/true);
    return op.cloneWith(rewriter, loc, op.getActivation(), w, op.getBias())->getResult(0);
  }
  std::string why;
  RoundedWeights rounded = *roundedOf(layer, option, why);
  bool outLast = op.getWeightOutAxis() == 1, symmetric = !rounded.zeros.size();
  int64_t blocks = rounded.scales.cols();
  auto sign = symmetric ? IntegerType::Signless : IntegerType::Unsigned;
  Type type = IntegerType::get(rewriter.getContext(), option.name == "w8" ? 8 : 4, sign);
  Value codes = codesConstant(rewriter, loc, rounded.codes, blocks, outLast, type, "quantized_weight");
  Value scale = scalesConstant(rewriter, loc, rounded.scales, outLast), zero;
  if (!symmetric) {
    // One for each block: blocks of one element.
    zero = codesConstant(rewriter, loc, rounded.zeros, blocks, outLast, type, "zero_point");
    if (blocks == 1 && outLast)
      zero = nn::SqueezeOp::create(rewriter, loc, untyped(type), zero, rewriter.getDenseI64ArrayAttr({0}));
  }
  w = nn::DequantizeOp::create(rewriter, loc, untyped(f32), codes, scale, zero, TypeAttr::get(f32));
  if (blocks > 1) {
    Value shape = makeIntsOp(rewriter, loc, shapeOf(op.getWeight()));
    w = nn::ReshapeOp::create(rewriter, loc, untyped(f32), w, shape, /*allow_zero=*/false);
  }
  return op.cloneWith(rewriter, loc, op.getActivation(), w, op.getBias())->getResult(0);
}

bool WeightOnly::refit(Operation *op, Option &option, const Gram &gram) {
  if (option.name != "w4" || !gram.compares())
    return false;
  LinearLayer layer = *LinearLayer::get(op);
  // The weights that give the float model's outputs from what the layer reads now, then their rounding.
  Matrix target = LeastSquares(gram, layer.weights(), dampingFor(gram), /*moveBias=*/false).solve();
  if (!target.allFinite())
    return false;
  setTensors(option, roundWithFeedback(target, {4, option.parameters["group"].get<int64_t>(), isSymmetric(option)}, gram.h));
  return true;
}

std::string WeightOnly::costKey(const Option &option) {
  return option.name + " " + option.variant + " " + option.parameters.dump();
}

} // namespace nnopt::compress
