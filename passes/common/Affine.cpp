//===- Affine.cpp - scaling and shifting the output of a contraction ------===//
#include "passes/common/Affine.h"

#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;

namespace nnopt {

bool isContraction(Operation *op) { return isa_and_nonnull<nn::ConvOp, nn::ConvTransposeOp, nn::MatMulOp>(op); }

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
  return TypeSwitch<Operation *, ValueRange>(op).Case<nn::ConvOp, nn::ConvTransposeOp, nn::MatMulOp>(
      [](auto c) { return c.getEpilogueArgs(); });
}

int64_t channelAxis(Operation *op) {
  int64_t last = rankOf(op->getResult(0)) - 1;
  return TypeSwitch<Operation *, int64_t>(op)
      .Case<nn::ConvOp, nn::ConvTransposeOp>([&](auto conv) { return conv.getChannelsLast() ? last : 1; })
      .Case<nn::MatMulOp>([&](auto) { return last; });
}

/// Dimension of a matmul's right operand that the columns of the result come from.
static int64_t columnAxis(nn::MatMulOp op) { return rankOf(op.getB()) - (op.getTransposeB() ? 2 : 1); }

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
  if (scaled && !numbersOf(contractionWeight(op)))
    return "its weights are not constant";
  if (Value bias = contractionBias(op); bias && !isConstant(bias))
    return "its bias is not constant";
  return "";
}

Operation *cloneWithBias(RewriterBase &rewriter, Operation *op, Value weight, Value bias, Location loc) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Operation *copy = TypeSwitch<Operation *, Operation *>(op)
      .Case<nn::ConvOp>([&](nn::ConvOp c) {
        return nn::ConvOp::create(rewriter, loc, c.getType(), c.getX(), weight, bias, c.getEpilogueArgs(),
                                  c.getStridesAttr(), c.getPadsAttr(), c.getDilationsAttr(), c.getGroupAttr(),
                                  c.getChannelsLastAttr());
      })
      .Case<nn::ConvTransposeOp>([&](nn::ConvTransposeOp c) {
        return nn::ConvTransposeOp::create(rewriter, loc, c.getType(), c.getX(), weight, bias, c.getEpilogueArgs(),
                                           c.getStridesAttr(), c.getPadsAttr(), c.getDilationsAttr(),
                                           c.getOutputPaddingAttr(), c.getGroupAttr(), c.getChannelsLastAttr());
      })
      .Case<nn::MatMulOp>([&](nn::MatMulOp m) {
        return nn::MatMulOp::create(rewriter, loc, m.getType(), m.getA(), weight, bias, m.getEpilogueArgs(),
                                    m.getTransposeAAttr(), m.getTransposeBAttr());
      });
  if (!contractionEpilogue(op).empty()) {
    IRMapping mapping;
    rewriter.cloneRegionBefore(contractionEpilogue(op), contractionEpilogue(copy), contractionEpilogue(copy).begin(),
                               mapping);
  }
  return copy;
}

/// Multiplies the weights that make output channel c by scale[c].
static Value scaleWeights(RewriterBase &rewriter, Operation *op, ArrayRef<double> scale, Location loc) {
  Value weight = contractionWeight(op);
  std::vector<double> w = *numbersOf(weight);
  ArrayRef<int64_t> shape = shapeOf(weight);
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
  bool grouped = isa<nn::ConvTransposeOp>(op);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t c = 0; c < size; ++c) {
      double s = scale[grouped ? o / rowsOfGroup * size + c : c];
      double *row = w.data() + (o * size + c) * inner;
      for (int64_t i = 0; i < inner; ++i)
        row[i] *= s;
    }
  return makeNumbersOp(rewriter, loc, elementTypeOf(weight), shape, w, "scaled_weight");
}

Value applyAffine(RewriterBase &rewriter, Operation *op, ArrayRef<double> scale, ArrayRef<double> shift, Location loc) {
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
    newBias = makeNumbersOp(rewriter, loc, elementTypeOf(op->getResult(0)), {channels}, bias, "bias");
  return cloneWithBias(rewriter, op, weight, newBias, loc)->getResult(0);
}

} // namespace nnopt
