//===- Affine.cpp - scaling and shifting the output of a contraction ------===//
#include "passes/common/Affine.h"

#include "llvm/ADT/TypeSwitch.h"
#include <cstring>

using namespace mlir;

namespace nnopt {

bool isContraction(Operation *op) {
  return isa_and_nonnull<nn::ConvOp, nn::ConvTransposeOp, nn::MatMulOp>(op);
}

Value contractionWeight(Operation *op) {
  return TypeSwitch<Operation *, Value>(op)
      .Case<nn::ConvOp, nn::ConvTransposeOp>([](auto conv) { return conv.getW(); })
      .Case<nn::MatMulOp>([](auto matmul) { return matmul.getB(); });
}

Value contractionBias(Operation *op) {
  return TypeSwitch<Operation *, Value>(op).Case<nn::ConvOp, nn::ConvTransposeOp, nn::MatMulOp>(
      [](auto c) { return c.getBias(); });
}

Region &contractionEpilogue(Operation *op) { return op->getRegion(0); }

ValueRange contractionEpilogueArgs(Operation *op) {
  return TypeSwitch<Operation *, ValueRange>(op)
      .Case<nn::ConvOp, nn::ConvTransposeOp, nn::MatMulOp>(
          [](auto c) { return c.getEpilogueArgs(); });
}

int64_t channelAxis(Operation *op) {
  int64_t last = rankOf(op->getResult(0)) - 1;
  return TypeSwitch<Operation *, int64_t>(op)
      .Case<nn::ConvOp, nn::ConvTransposeOp>(
          [&](auto conv) { return conv.getChannelsLast() ? last : 1; })
      .Case<nn::MatMulOp>([&](auto) { return last; });
}

/// Dimension of a matmul's right operand that the columns of the result come from.
static int64_t columnAxis(nn::MatMulOp op) {
  return rankOf(op.getB()) - (op.getTransposeB() ? 2 : 1);
}

int64_t channelCount(Operation *op) {
  ArrayRef<int64_t> w = shapeOf(contractionWeight(op));
  if (isa<nn::ConvOp>(op))
    return w[0];
  if (auto conv = dyn_cast<nn::ConvTransposeOp>(op))
    return ShapedType::isDynamic(w[1]) ? w[1] : w[1] * (int64_t)conv.getGroup();
  return w.size() < 2 ? ShapedType::kDynamic : w[columnAxis(cast<nn::MatMulOp>(op))];
}

std::string whyNotAffine(Operation *op, bool scaled) {
  if (!contractionEpilogue(op).empty())
    return "it has an epilogue";
  Type type = elementTypeOf(op->getResult(0));
  if (!type.isF32() && !type.isF64())
    return "its element type is not f32 or f64";
  if (ShapedType::isDynamic(channelCount(op)))
    return "its number of output channels is not static";
  if (scaled && !nn::ConstantData::get(contractionWeight(op)))
    return "its weights are not constant";
  if (Value bias = contractionBias(op); bias && !isConstant(bias))
    return "its bias is not constant";
  return "";
}

Operation *cloneWithBias(RewriterBase &rewriter, Operation *op, Value weight, Value bias,
                         Location loc) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Operation *copy =
      TypeSwitch<Operation *, Operation *>(op)
          .Case<nn::ConvOp>([&](nn::ConvOp c) {
            return nn::ConvOp::create(rewriter, loc, c.getType(), c.getX(), weight, bias,
                                      c.getEpilogueArgs(), c.getStridesAttr(), c.getPadsAttr(),
                                      c.getDilationsAttr(), c.getGroupAttr(),
                                      c.getChannelsLastAttr());
          })
          .Case<nn::ConvTransposeOp>([&](nn::ConvTransposeOp c) {
            return nn::ConvTransposeOp::create(
                rewriter, loc, c.getType(), c.getX(), weight, bias, c.getEpilogueArgs(),
                c.getStridesAttr(), c.getPadsAttr(), c.getDilationsAttr(), c.getOutputPaddingAttr(),
                c.getGroupAttr(), c.getChannelsLastAttr());
          })
          .Case<nn::MatMulOp>([&](nn::MatMulOp m) {
            return nn::MatMulOp::create(rewriter, loc, m.getType(), m.getA(), weight, bias,
                                        m.getEpilogueArgs(), m.getTransposeAAttr(),
                                        m.getTransposeBAttr());
          });
  if (!contractionEpilogue(op).empty()) {
    IRMapping mapping;
    rewriter.cloneRegionBefore(contractionEpilogue(op), contractionEpilogue(copy),
                               contractionEpilogue(copy).begin(), mapping);
  }
  return copy;
}

/// Multiplies row r, of `inner` elements, by factor(r); rounds once to T.
template <typename T>
static std::vector<char> scaleRows(ArrayRef<char> bytes, int64_t inner,
                                   llvm::function_ref<double(int64_t)> factor) {
  std::vector<char> result(bytes.size());
  int64_t rows = bytes.size() / sizeof(T) / std::max<int64_t>(inner, 1);
  for (int64_t r = 0, at = 0; r < rows; ++r) {
    double s = factor(r);
    for (int64_t i = 0; i < inner; ++i, at += sizeof(T)) {
      T value;
      std::memcpy(&value, bytes.data() + at, sizeof(T)); // Blobs need not be aligned.
      value = T(value * s);
      std::memcpy(result.data() + at, &value, sizeof(T));
    }
  }
  return result;
}

/// Multiplies the weights that make output channel c by scale[c].
static Value scaleWeights(RewriterBase &rewriter, Operation *op, ArrayRef<double> scale,
                          Location loc) {
  Value weight = contractionWeight(op);
  auto type = cast<RankedTensorType>(weight.getType());
  ArrayRef<int64_t> shape = type.getShape();
  // w is [outer, channel, inner] around the axis that holds the channels (of one group).
  int64_t axis = 0;
  if (isa<nn::ConvTransposeOp>(op))
    axis = 1;
  else if (auto matmul = dyn_cast<nn::MatMulOp>(op))
    axis = columnAxis(matmul);
  int64_t inner = 1, outer = 1;
  for (auto [i, d] : llvm::enumerate(shape))
    ((int64_t)i < axis ? outer : inner) *= (int64_t)i == axis ? 1 : d;
  int64_t size = shape[axis];
  // conv_transpose: rows [g * C / group, (g + 1) * C / group) of w belong to group g, whose output
  // channels are [g * size, (g + 1) * size).
  int64_t rowsOfGroup = outer;
  if (auto conv = dyn_cast<nn::ConvTransposeOp>(op))
    rowsOfGroup = outer / (int64_t)conv.getGroup();
  auto factor = [&](int64_t row) { return scale[row / size / rowsOfGroup * size + row % size]; };
  auto data = nn::ConstantData::get(weight);
  std::vector<char> bytes = type.getElementType().isF64()
                                ? scaleRows<double>(data->bytes(), inner, factor)
                                : scaleRows<float>(data->bytes(), inner, factor);
  return nn::ConstantOp::create(rewriter, loc, nn::makeConstant(type, bytes, "scaled_weight"));
}

Value applyAffine(RewriterBase &rewriter, Operation *op, ArrayRef<double> scale,
                  ArrayRef<double> shift, Location loc) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  int64_t channels = channelCount(op);
  Value weight = contractionWeight(op);
  if (llvm::any_of(scale, [](double s) { return s != 1; }))
    weight = scaleWeights(rewriter, op, scale, loc);
  std::vector<double> bias(channels, 0);
  if (Value old = contractionBias(op)) {
    bias = *numbersOf(old);
    // A bias of one element stands for all channels.
    if (bias.size() == 1)
      bias.assign(channels, double(bias.front()));
  }
  for (int64_t c = 0; c < channels; ++c)
    bias[c] = bias[c] * (scale.empty() ? 1 : scale[c]) + (shift.empty() ? 0 : shift[c]);
  Value newBias;
  if (contractionBias(op) || llvm::any_of(bias, [](double b) { return b != 0; }))
    newBias =
        makeNumbersOp(rewriter, loc, elementTypeOf(op->getResult(0)), {channels}, bias, "bias");
  return cloneWithBias(rewriter, op, weight, newBias, loc)->getResult(0);
}

} // namespace nnopt
