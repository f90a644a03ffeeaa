//===- Parameters.cpp - maps into normalizations and recurrent cells ------===//
#include "passes/common/Parameters.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nnopt {

static bool isSingleOrDouble(Value v) { return elementTypeOf(v).isF32() || elementTypeOf(v).isF64(); }

//===----------------------------------------------------------------------===//
// Normalizations
//===----------------------------------------------------------------------===//

bool isNormalization(Operation *op) { return isa_and_nonnull<nn::LayerNormOp, nn::RMSNormOp, nn::GroupNormOp>(op); }

/// The dimension that scale and shift go along, where it is one.
static std::optional<int64_t> parameterAxis(Operation *op) {
  int64_t last = rankOf(op->getResult(0)) - 1;
  if (auto norm = dyn_cast<nn::GroupNormOp>(op))
    return norm.getChannelsLast() ? last : 1;
  int64_t axis = isa<nn::LayerNormOp>(op) ? cast<nn::LayerNormOp>(op).getAxis() : cast<nn::RMSNormOp>(op).getAxis();
  return axis == last ? std::optional(axis) : std::nullopt;
}

static Value biasOfNorm(Operation *op) {
  if (auto norm = dyn_cast<nn::LayerNormOp>(op))
    return norm.getBias();
  return isa<nn::GroupNormOp>(op) ? cast<nn::GroupNormOp>(op).getBias() : Value();
}

/// A parameter as one number for each of `size` positions.
static std::optional<std::vector<double>> parameter(Value v, int64_t size) {
  return vectorAlong(v, 0, std::max<int64_t>(1, rankOf(v)), size);
}

std::string whyNotIntoNorm(Operation *op, const ChannelMap &map) {
  auto axis = parameterAxis(op);
  if (!isSingleOrDouble(op->getResult(0)))
    return "its element type is not f32 or f64";
  if (!axis)
    return "it normalizes over more than the last dimension";
  if (map.axis != ChannelMap::kNumbers && map.axis != *axis)
    return "it maps a dimension that the parameters of the normalization do not go along";
  if (isa<nn::RMSNormOp>(op) && map.isShifted())
    return "rms_norm has no shift";
  int64_t size = shapeOf(op->getResult(0))[*axis];
  Value bias = biasOfNorm(op);
  if (ShapedType::isDynamic(size) || (map.axis != ChannelMap::kNumbers && (int64_t)map.size() != size) ||
      !parameter(op->getOperand(1), size) || (bias && !parameter(bias, size)))
    return "the parameters of the normalization are not constant";
  return "";
}

void applyIntoNorm(RewriterBase &rewriter, Operation *op, const ChannelMap &map, Location loc) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Value result = op->getResult(0), bias = biasOfNorm(op);
  Type type = elementTypeOf(result);
  int64_t size = shapeOf(result)[*parameterAxis(op)];
  auto s = map.scales(size), t = map.shifts(size);
  std::vector<double> scales = *parameter(op->getOperand(1), size);
  std::vector<double> shifts = bias ? *parameter(bias, size) : std::vector<double>(size, 0);
  for (int64_t c = 0; c < size; ++c) {
    scales[c] *= s[c];
    shifts[c] = s[c] * shifts[c] + t[c];
  }
  Value newScale = makeNumbersOp(rewriter, loc, type, {size}, scales, "scale");
  Value newBias;
  if (bias || map.isShifted())
    newBias = makeNumbersOp(rewriter, loc, type, {size}, shifts, "bias");
  Value x = op->getOperand(0);
  if (auto norm = dyn_cast<nn::LayerNormOp>(op))
    result = nn::LayerNormOp::create(rewriter, loc, result.getType(), x, newScale, newBias, norm.getAxisAttr(),
                                     norm.getEpsilonAttr());
  else if (auto norm = dyn_cast<nn::RMSNormOp>(op))
    result = nn::RMSNormOp::create(rewriter, loc, result.getType(), x, newScale, norm.getAxisAttr(),
                                   norm.getEpsilonAttr());
  else if (auto norm = cast<nn::GroupNormOp>(op))
    result = nn::GroupNormOp::create(rewriter, loc, result.getType(), x, newScale, newBias, norm.getNumGroupsAttr(),
                                     norm.getEpsilonAttr(), norm.getChannelsLastAttr());
  rewriter.replaceOp(op, result);
}

//===----------------------------------------------------------------------===//
// Recurrent cells
//===----------------------------------------------------------------------===//

bool isRecurrent(Operation *op) { return isa_and_nonnull<nn::LSTMOp, nn::GRUOp, nn::RNNOp>(op); }

static Value biasOfRecurrent(Operation *op) {
  return TypeSwitch<Operation *, Value>(op).Case<nn::LSTMOp, nn::GRUOp, nn::RNNOp>(
      [](auto cell) { return cell.getBias(); });
}

std::string whyNotIntoRecurrent(Operation *op, const ChannelMap &map) {
  Value w = op->getOperand(1), bias = biasOfRecurrent(op);
  if (!isSingleOrDouble(op->getOperand(0)) || elementTypeOf(w) != elementTypeOf(op->getOperand(0)))
    return "its element type is not f32 or f64";
  if (!isConstant(w) || !numbersOf(w))
    return "its weights are not constant";
  if (!w.hasOneUse())
    return "its weights are shared";
  if (map.axis != ChannelMap::kNumbers && (map.axis != 2 || (int64_t)map.size() != shapeOf(w)[2]))
    return "it maps a dimension that is not that of its inputs";
  if (map.isShifted() && bias && !isConstant(bias))
    return "its bias is not constant";
  return "";
}

void applyIntoRecurrent(RewriterBase &rewriter, Operation *op, const ChannelMap &map, Location loc) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Value w = op->getOperand(1), bias = biasOfRecurrent(op);
  int64_t directions = shapeOf(w)[0], rows = shapeOf(w)[1], inputs = shapeOf(w)[2];
  Type type = elementTypeOf(w);
  auto s = map.scales(inputs), t = map.shifts(inputs);
  std::vector<double> weights = *numbersOf(w);
  std::vector<double> biases = bias ? *numbersOf(bias) : std::vector<double>(directions * 2 * rows, 0);
  for (int64_t d = 0; d < directions; ++d)
    for (int64_t row = 0; row < rows; ++row) {
      double *line = &weights[(d * rows + row) * inputs];
      for (int64_t i = 0; i < inputs; ++i) {
        biases[d * 2 * rows + row] += line[i] * t[i];
        line[i] *= s[i];
      }
    }
  Value newWeights = makeNumbersOp(rewriter, loc, type, shapeOf(w), weights, "scaled_weight");
  Value newBias = map.isShifted() ? makeNumbersOp(rewriter, loc, type, {directions, 2 * rows}, biases, "bias") : bias;
  rewriter.modifyOpInPlace(op, [&] {
    op->setLoc(loc);
    op->setOperand(1, newWeights);
    TypeSwitch<Operation *>(op).Case<nn::LSTMOp, nn::GRUOp, nn::RNNOp>([&](auto cell) {
      if (newBias)
        cell.getBiasMutable().assign(newBias);
    });
  });
}

} // namespace nnopt
