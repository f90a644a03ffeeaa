//===- LinearStep.cpp - reading steps of linear forms ---------------------===//
#include "passes/common/LinearForm.h"

using namespace mlir;

namespace nnopt {

/// Dimensions 1 and 2.. of a value; channels must be static.
static int64_t channelsOf(Value v, int64_t axis) {
  return axis < rankOf(v) ? shapeOf(v)[axis] : ShapedType::kDynamic;
}

template <typename Windowed> static void readWindows(LinearGeometry &g, Windowed op) {
  unsigned rank = op.getStrides().size();
  g.strides.assign(op.getStrides().begin(), op.getStrides().end());
  g.dilations.assign(op.getDilations().begin(), op.getDilations().end());
  g.padsBegin.assign(op.getPads().begin(), op.getPads().begin() + rank);
  g.padsEnd.assign(op.getPads().begin() + rank, op.getPads().end());
}

static std::string readLinear(nn::LinearOp op, LinearStep &step) {
  if (!op.getEpilogue().empty())
    return "it has an epilogue";
  if (!nn::ConstantData::get(op.getWeight()))
    return "its weights are not constant";
  if (op.getBias() && !isConstant(op.getBias()))
    return "its bias is not constant";
  LinearGeometry &g = step.geometry;
  g.in = op.getInChannels();
  g.out = op.getOutChannels();
  g.groups = op.getGroups();
  if (auto matmul = dyn_cast<nn::MatMulOp>(*op)) {
    if (rankOf(matmul.getB()) != 2 || rankOf(matmul.getA()) < 2 || matmul.getTransposeA())
      return "it is not a product of rows and a matrix";
  } else if (auto conv = dyn_cast<nn::ConvOp>(*op)) {
    if (conv.getChannelsLast())
      return "its channels are last already";
    ArrayRef<int64_t> kernel = shapeOf(conv.getW()).drop_front(2);
    g.kernel.assign(kernel.begin(), kernel.end());
    readWindows(g, conv);
    if (llvm::any_of(conv.getPads(), [](int64_t p) { return p < 0; }))
      return "its pads are negative";
  } else {
    return "it is a transposed convolution";
  }
  step.kind = LinearStep::Linear;
  step.x = op.getActivation();
  step.cost = g.cost();
  return "";
}

static std::string readAvgPool(nn::AvgPoolOp op, LinearStep &step) {
  bool isPadded = llvm::any_of(op.getPads(), [](int64_t p) { return p != 0; });
  if (op.getChannelsLast())
    return "its channels are last already";
  if (op.getCeilMode())
    return "its windows may go over the end (ceil_mode)";
  if (isPadded && !op.getCountIncludePad())
    return "it divides by fewer elements at the border (count_include_pad is not set)";
  int64_t channels = channelsOf(op.getX(), 1);
  if (ShapedType::isDynamic(channels))
    return "its number of channels is not static";
  step.kind = LinearStep::AvgPool;
  step.x = op.getX();
  step.geometry = LinearGeometry::identity(channels, op.getKernel().size());
  step.geometry.kernel.assign(op.getKernel().begin(), op.getKernel().end());
  readWindows(step.geometry, op);
  step.cost = step.geometry.cost();
  return "";
}

/// What a constant of shape [1, C, ...] that is added behind a padding puts into the border of each
/// channel; nothing where it is not zero inside. (The Diverse Branch Block pads with what batch
/// normalization gives for zeros; exporters make it by such an addition.)
static std::optional<std::vector<double>> borderValues(Value constant, const LinearStep &pad,
                                                       ArrayRef<int64_t> result) {
  ArrayRef<int64_t> shape = shapeOf(constant);
  if (shape.size() != result.size() || shape[0] != 1 || shape.drop_front() != result.drop_front() ||
      ShapedType::isDynamicShape(shape))
    return std::nullopt;
  auto values = numbersOf(constant);
  if (!values)
    return std::nullopt;
  int64_t channels = shape[1], spatial = shape.size() - 2;
  int64_t positions = values->size() / channels;
  std::vector<double> border(channels);
  std::vector<bool> isKnown(channels, false);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t p = 0; p < positions; ++p) {
      bool inside = true;
      for (int64_t axis = spatial - 1, rest = p; axis >= 0; --axis) {
        int64_t size = shape[axis + 2], at = rest % size;
        inside &= at >= pad.padsBegin[axis] && at < size - pad.padsEnd[axis];
        rest /= size;
      }
      double value = (*values)[c * positions + p];
      if (inside ? value != 0 : isKnown[c] && value != border[c])
        return std::nullopt;
      if (!inside) {
        border[c] = value;
        isKnown[c] = true;
      }
    }
  return border;
}

/// Padding of positions by a number, or by a number for each channel (see borderValues).
static std::string readPad(nn::PadOp op, LinearStep &step) {
  auto pads = nn::ConstantData::get(op.getPads());
  int64_t rank = rankOf(op.getX()), channels = channelsOf(op.getX(), 1);
  if (op.getMode() != nn::PadMode::constant || !pads || op.getAxes() || rank < 3 ||
      pads->size() != 2 * rank || ShapedType::isDynamic(channels))
    return "its padding is not constant";
  std::optional<double> value = op.getValue() ? scalarOf(op.getValue()) : 0.0;
  if (!value)
    return "its padding is not constant";
  for (int64_t i = 0; i < rank; ++i) {
    int64_t begin = pads->asInt(i), end = pads->asInt(rank + i);
    if (begin < 0 || end < 0 || (i < 2 && (begin || end)))
      return "it pads channels or removes positions";
    if (i < 2)
      continue;
    step.padsBegin.push_back(begin);
    step.padsEnd.push_back(end);
  }
  step.kind = LinearStep::Pad;
  step.x = op.getX();
  step.padValues.assign(channels, *value);
  return "";
}

std::optional<LinearStep> readLinearStep(Value v, std::string &why) {
  Operation *op = v.getDefiningOp();
  if (!op) {
    why = "it is an argument";
    return std::nullopt;
  }
  Type type = elementTypeOf(v);
  if (!type.isF32() && !type.isF64()) {
    why = "the element type is not f32 or f64";
    return std::nullopt;
  }
  LinearStep step;
  step.ops = {op};
  if (auto linear = dyn_cast<nn::LinearOp>(op)) {
    why = readLinear(linear, step);
  } else if (auto pool = dyn_cast<nn::AvgPoolOp>(op)) {
    why = readAvgPool(pool, step);
  } else if (auto pad = dyn_cast<nn::PadOp>(op)) {
    why = readPad(pad, step);
  } else if (AffineChain chain = readAffine(v, why); !chain.ops.empty()) {
    why.clear();
    step.kind = LinearStep::Affine;
    step.ops = chain.ops;
    step.x = chain.x;
    step.map = chain.map;
    int64_t channels = channelsOf(v, chain.map.axis < 0 ? 1 : chain.map.axis);
    step.cost = ShapedType::isDynamic(channels) ? 0 : double(channels);
  } else if (isa<nn::AddOp>(op)) {
    unsigned constant = isConstant(op->getOperand(0)) ? 0 : 1;
    auto pad = op->getOperand(1 - constant).getDefiningOp<nn::PadOp>();
    std::optional<std::vector<double>> border;
    if (pad && pad->hasOneUse() && isConstant(op->getOperand(constant)) &&
        pad->getBlock() == op->getBlock() && readPad(pad, step).empty())
      border = borderValues(op->getOperand(constant), step, shapeOf(v));
    why = border ? "" : "nn.add is no affine map of its channels";
    if (border) {
      step.ops = {pad, op};
      for (size_t c = 0; c < border->size(); ++c)
        step.padValues[c] += (*border)[c];
    }
  } else {
    why = (op->getName().getStringRef() + " is not linear").str();
  }
  if (why.empty() &&
      (ShapedType::isDynamic(step.geometry.in) || ShapedType::isDynamic(step.geometry.out)))
    why = "its number of channels is not static";
  return why.empty() ? std::optional<LinearStep>(step) : std::nullopt;
}

} // namespace nnopt
