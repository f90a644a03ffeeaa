//===- Affine.cpp - scaling and shifting around a linear operation --------===//
#include "passes/common/Affine.h"

#include <cstring>

using namespace mlir;

namespace nnopt {

static std::string whyNotNumbers(nn::LinearOp op, bool needsWeights, bool needsBias) {
  Type type = elementTypeOf(op->getResult(0));
  if (!type.isF32() && !type.isF64())
    return "its element type is not f32 or f64";
  if (needsWeights) {
    if (!nn::ConstantData::get(op.getWeight()))
      return "its weights are not constant";
    // A matmul of vectors, or of a weight of another type.
    if (op.getWeightOutAxis() < 0 || elementTypeOf(op.getWeight()) != type)
      return "its weights are no matrix of the result's type";
  }
  if (ShapedType::isDynamic(op.getOutChannels()))
    return "its number of output channels is not static";
  if (Value bias = op.getBias(); needsBias && bias && !isConstant(bias))
    return "its bias is not constant";
  return "";
}

/// A scale needs weights of its own: where others read the same ones, they exist twice afterwards.
/// That pays as long as reading them costs less than scaling the result.
static std::string whyNotClone(nn::LinearOp op, Value scaled) {
  Value weight = op.getWeight();
  if (weight.hasOneUse())
    return "";
  int64_t weights = cast<RankedTensorType>(weight.getType()).getNumElements(), saved = 1;
  for (int64_t d : shapeOf(scaled))
    saved *= ShapedType::isDynamic(d) ? 1 : d;
  if (weights <= saved)
    return "";
  return llvm::formatv("its weights are shared: a copy of {0} elements costs more than scaling {1}",
                       weights, saved);
}

std::string whyNotAffine(nn::LinearOp op, bool scaled) {
  if (!op.getEpilogue().empty())
    return "it has an epilogue";
  if (std::string why = whyNotNumbers(op, scaled, /*needsBias=*/true); !why.empty())
    return why;
  return scaled ? whyNotClone(op, op->getResult(0)) : "";
}

std::string whyNotAffineBefore(nn::LinearOp op, bool scaled, bool shifted) {
  if (std::string why = whyNotNumbers(op, /*needsWeights=*/true, shifted); !why.empty())
    return why;
  if (ShapedType::isDynamic(op.getInChannels()))
    return "its number of input channels is not static";
  if (shifted && isa<nn::MatMulOp>(op) && rankOf(op.getWeight()) > 2)
    return "its weights differ between matrices of a batch";
  return scaled ? whyNotClone(op, op.getActivation()) : "";
}

bool seesNoBorder(nn::LinearOp op) {
  if (auto conv = dyn_cast<nn::ConvOp>(*op))
    return llvm::all_of(conv.getPads(), [](int64_t p) { return p == 0; });
  if (auto conv = dyn_cast<nn::ConvTransposeOp>(*op))
    return llvm::all_of(shapeOf(conv.getW()).drop_front(2), [](int64_t k) { return k == 1; }) &&
           llvm::all_of(conv.getStrides(), [](int64_t s) { return s == 1; }) &&
           llvm::all_of(conv.getPads(), [](int64_t p) { return p == 0; }) &&
           llvm::all_of(conv.getOutputPadding(), [](int64_t p) { return p == 0; });
  return isa<nn::MatMulOp>(op);
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// Calls visit(element, out channel, in channel, tap) for the elements of the weight in order; a
/// tap numbers the dimensions behind both channels.
template <typename Visit> static void forEachWeight(nn::LinearOp op, Visit visit) {
  ArrayRef<int64_t> shape = shapeOf(op.getWeight());
  int64_t outAxis = op.getWeightOutAxis(), inAxis = op.getWeightInAxis();
  bool outFirst = outAxis < inAxis, alongOut = op.areGroupsAlongWeightOut();
  int64_t first = std::min(outAxis, inAxis), second = std::max(outAxis, inAxis);
  int64_t outer = 1, between = 1, taps = 1;
  for (auto [i, d] : llvm::enumerate(shape)) {
    outer *= (int64_t)i < first ? d : 1;
    between *= (int64_t)i > first && (int64_t)i < second ? d : 1;
    taps *= (int64_t)i > second ? d : 1;
  }
  // The axis that runs over all groups tells where the block of the other one begins.
  int64_t wide = alongOut ? shape[outAxis] : shape[inAxis];
  int64_t narrow = alongOut ? shape[inAxis] : shape[outAxis];
  std::vector<int64_t> begin(wide);
  for (int64_t i = 0; i < wide; ++i)
    begin[i] = i / (wide / (int64_t)op.getGroups()) * narrow;
  int64_t at = 0;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < shape[first]; ++i)
      for (int64_t b = 0; b < between; ++b)
        for (int64_t j = 0; j < shape[second]; ++j) {
          int64_t out = outFirst ? i : j, in = outFirst ? j : i;
          (alongOut ? in : out) += begin[alongOut ? out : in];
          for (int64_t tap = 0; tap < taps; ++tap, ++at)
            visit(at, out, in, tap);
        }
}

template <typename T>
static Value scaleWeights(RewriterBase &rewriter, nn::LinearOp op, ArrayRef<double> outScale,
                          ArrayRef<double> inScale, Location loc) {
  auto data = nn::ConstantData::get(op.getWeight());
  const char *from = data->bytes().data();
  std::vector<char> bytes(data->bytes().size());
  forEachWeight(op, [&](int64_t at, int64_t out, int64_t in, int64_t) {
    T value;
    std::memcpy(&value, from + at * sizeof(T), sizeof(T)); // Blobs need not be aligned.
    double scale = outScale.empty() ? 1 : outScale[out];
    value = T(value * scale * (inScale.empty() ? 1 : inScale[in]));
    std::memcpy(bytes.data() + at * sizeof(T), &value, sizeof(T));
  });
  return nn::ConstantOp::create(rewriter, loc,
                                nn::makeConstant(data->type(), bytes, "scaled_weight"));
}

/// The weights with each element multiplied by the scales of its channels (empty: 1).
static Value scaleWeights(RewriterBase &rewriter, nn::LinearOp op, ArrayRef<double> outScale,
                          ArrayRef<double> inScale, Location loc) {
  auto isOne = [](double s) { return s == 1; };
  if (llvm::all_of(outScale, isOne) && llvm::all_of(inScale, isOne))
    return op.getWeight();
  return elementTypeOf(op.getWeight()).isF64()
             ? scaleWeights<double>(rewriter, op, outScale, inScale, loc)
             : scaleWeights<float>(rewriter, op, outScale, inScale, loc);
}

template <typename T> static std::vector<char> centerWeights(nn::LinearOp op) {
  ArrayRef<char> from = nn::ConstantData::get(op.getWeight())->bytes();
  std::vector<char> bytes(from.begin(), from.end());
  // A mean for each in channel and tap (of each matrix of a batch).
  int64_t channels = op.getOutChannels();
  std::vector<double> means(bytes.size() / sizeof(T) / channels, 0);
  auto at = [&](int64_t element) {
    T value;
    std::memcpy(&value, &bytes[element * sizeof(T)], sizeof(T));
    return value;
  };
  int64_t taps = 1, inputs = op.getInChannels();
  for (auto [i, d] : llvm::enumerate(shapeOf(op.getWeight())))
    taps *= (int64_t)i > std::max(op.getWeightOutAxis(), op.getWeightInAxis()) ? d : 1;
  auto meanOf = [&](int64_t element, int64_t in, int64_t tap) -> double & {
    return means[(element / (channels * inputs * taps) * inputs + in) * taps + tap];
  };
  forEachWeight(op, [&](int64_t e, int64_t, int64_t in, int64_t tap) { meanOf(e, in, tap) += at(e) / double(channels); });
  forEachWeight(op, [&](int64_t e, int64_t, int64_t in, int64_t tap) {
    T value = T(at(e) - meanOf(e, in, tap));
    std::memcpy(&bytes[e * sizeof(T)], &value, sizeof(T));
  });
  return bytes;
}

std::vector<double> sumOfTaps(nn::LinearOp op, ArrayRef<double> shift) {
  std::vector<double> weights = *numbersOf(op.getWeight());
  int64_t taps = 1;
  for (auto [i, d] : llvm::enumerate(shapeOf(op.getWeight())))
    taps *= (int64_t)i > std::max(op.getWeightOutAxis(), op.getWeightInAxis()) ? d : 1;
  std::vector<double> sums(op.getOutChannels() * taps, 0);
  forEachWeight(op, [&](int64_t at, int64_t out, int64_t in, int64_t tap) {
    sums[out * taps + tap] += weights[at] * shift[in];
  });
  return sums;
}

//===----------------------------------------------------------------------===//
// The whole operation
//===----------------------------------------------------------------------===//

std::vector<double> biasOf(nn::LinearOp op) {
  int64_t channels = op.getOutChannels();
  if (!op.getBias())
    return std::vector<double>(channels, 0);
  std::vector<double> bias = *numbersOf(op.getBias());
  // A bias of one element stands for all channels.
  if (bias.size() == 1)
    bias.assign(channels, double(bias.front()));
  return bias;
}

static Value cloneWithNumbers(RewriterBase &rewriter, nn::LinearOp op, Value weight,
                              ArrayRef<double> bias, Location loc) {
  Value newBias;
  if (op.getBias() || llvm::any_of(bias, [](double b) { return b != 0; }))
    newBias = makeNumbersOp(rewriter, loc, elementTypeOf(op->getResult(0)), {(int64_t)bias.size()},
                            bias, "bias");
  return op.cloneWith(rewriter, loc, op.getActivation(), weight, newBias)->getResult(0);
}

Value applyAffine(RewriterBase &rewriter, nn::LinearOp op, ArrayRef<double> scale,
                  ArrayRef<double> shift, Location loc) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Value weight = scaleWeights(rewriter, op, scale, {}, loc);
  std::vector<double> bias = biasOf(op);
  for (size_t c = 0; c < bias.size(); ++c)
    bias[c] = bias[c] * (scale.empty() ? 1 : scale[c]) + (shift.empty() ? 0 : shift[c]);
  return cloneWithNumbers(rewriter, op, weight, bias, loc);
}

Value centerOutChannels(RewriterBase &rewriter, nn::LinearOp op, Location loc) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  auto type = cast<RankedTensorType>(op.getWeight().getType());
  std::vector<char> bytes = type.getElementType().isF64() ? centerWeights<double>(op) : centerWeights<float>(op);
  Value weight = nn::ConstantOp::create(rewriter, loc, nn::makeConstant(type, bytes, "centered_weight"));
  std::vector<double> bias = biasOf(op);
  double mean = 0;
  for (double b : bias)
    mean += b / bias.size();
  for (double &b : bias)
    b -= mean;
  return cloneWithNumbers(rewriter, op, weight, bias, loc);
}

Value applyAffineBefore(RewriterBase &rewriter, nn::LinearOp op, ArrayRef<double> scale,
                        ArrayRef<double> shift, Location loc) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Value weight = scaleWeights(rewriter, op, {}, scale, loc);
  if (llvm::all_of(shift, [](double t) { return t == 0; }))
    return op.cloneWith(rewriter, loc, op.getActivation(), weight, op.getBias())->getResult(0);
  std::vector<double> bias = biasOf(op), sums = sumOfTaps(op, shift);
  size_t taps = sums.size() / bias.size();
  for (size_t i = 0; i < sums.size(); ++i)
    bias[i / taps] += sums[i];
  return cloneWithNumbers(rewriter, op, weight, bias, loc);
}

} // namespace nnopt
