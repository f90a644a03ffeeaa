//===- ChannelFold.cpp - channel maps into linear operations --------------===//
#include "passes/common/ChannelFold.h"

#include "passes/common/Affine.h"
#include "passes/common/ChannelViews.h"
#include "passes/common/Parameters.h"

using namespace mlir;

namespace nnopt {

//===----------------------------------------------------------------------===//
// Into producers
//===----------------------------------------------------------------------===//

/// Adds to the plan how `v`, which only the mapped path reads, is computed as map(v) instead.
std::string ChannelFolder::planBack(Value v, const ChannelMap &map, Plan &plan) {
  if (map.isIdentity())
    return "";
  Operation *op = v.getDefiningOp();
  if (!op)
    return "its operand is not the result of a convolution or matrix product";
  if (auto linear = dyn_cast<nn::LinearOp>(op)) {
    if (map.axis != ChannelMap::kNumbers && map.axis != linear.getOutChannelAxis())
      return "it maps a dimension that is not the output channel of the contraction";
    if (std::string why = whyNotAffine(linear, map.isScaled()); !why.empty())
      return "of the contraction before it: " + why;
    if (map.axis != ChannelMap::kNumbers && linear.getOutChannels() != (int64_t)map.size())
      return "its parameters do not match the number of channels";
    plan.linears.push_back({linear, map});
    return "";
  }
  if (isNormalization(op)) {
    if (std::string why = whyNotIntoNorm(op, map); !why.empty())
      return "of the normalization before it: " + why;
    plan.norms.push_back({op, map});
    return "";
  }
  ViewMaps maps = mapBefore(cast<OpResult>(v), map, shapes);
  if (!maps.passes)
    return maps.why;
  if (maps.padValue)
    plan.pads.push_back({cast<nn::PadOp>(op), *maps.padValue});
  for (auto &[operand, before] : maps.operands) {
    Value x = operand->get();
    if (isConstant(x) && numbersOf(x)) {
      plan.constants.push_back({operand, before});
      continue;
    }
    if (!before.isIdentity() && !x.hasOneUse())
      return isa_and_nonnull<nn::LinearOp>(x.getDefiningOp())
                 ? "the contraction before it has other users"
                 : "the value before " + op->getName().getStringRef().str() + " has other users";
    if (std::string why = planBack(x, before, plan); !why.empty())
      return why;
  }
  return "";
}

/// map(constant), computed.
static Value mapConstant(RewriterBase &rewriter, Value constant, const ChannelMap &map,
                         Location loc) {
  std::vector<double> values = *numbersOf(constant);
  ArrayRef<int64_t> shape = shapeOf(constant);
  int64_t inner = 1;
  for (int64_t i = map.axis + 1; map.axis >= 0 && i < (int64_t)shape.size(); ++i)
    inner *= shape[i];
  for (size_t i = 0; i < values.size(); ++i) {
    size_t c = map.axis < 0 ? 0 : i / inner % map.size();
    values[i] = map.scale[c] * values[i] + map.shift[c];
  }
  return makeNumbersOp(rewriter, loc, elementTypeOf(constant), shape, values, "mapped");
}

void ChannelFolder::applyShared(Plan &plan) {
  for (auto &[operand, map] : plan.constants) {
    rewriter.setInsertionPoint(operand->getOwner());
    Value mapped = mapConstant(rewriter, operand->get(), map, operand->getOwner()->getLoc());
    rewriter.modifyOpInPlace(operand->getOwner(), [&, o = operand] { o->set(mapped); });
  }
  for (auto &[pad, value] : plan.pads) {
    rewriter.setInsertionPoint(pad);
    Value number =
        makeNumbersOp(rewriter, pad.getLoc(), elementTypeOf(pad.getX()), {}, {value}, "pad_value");
    rewriter.modifyOpInPlace(pad, [&, p = pad] {
      auto op = p;
      op.getValueMutable().assign(number);
    });
  }
}

std::string ChannelFolder::foldBack(AffineChain &chain) {
  DenseSet<Operation *> members(chain.ops.begin(), chain.ops.end());
  Operation *producer = chain.x.getDefiningOp();
  if (llvm::any_of(chain.x.getUsers(), [&](Operation *user) { return !members.contains(user); }))
    return isa_and_nonnull<nn::LinearOp>(producer)
               ? "the contraction before it has other users"
               : "its operand is not the result of a convolution or matrix product";
  Plan plan;
  if (std::string why = planBack(chain.x, chain.map, plan); !why.empty())
    return why;
  Location chainLoc = fusedLoc(chain.ops);
  rewriter.replaceAllUsesWith(chain.y, chain.x);
  for (Operation *op : llvm::reverse(chain.ops))
    rewriter.eraseOp(op);
  applyBack(plan, chainLoc);
  return "";
}

void ChannelFolder::applyBack(Plan &plan, Location mapLoc) {
  applyShared(plan);
  for (auto &[linear, map] : plan.linears) {
    Location loc = FusedLoc::get(rewriter.getContext(), {linear.getLoc(), mapLoc});
    int64_t channels = linear.getOutChannels();
    Value folded = applyAffine(rewriter, linear, map.scales(channels), map.shifts(channels), loc);
    rewriter.replaceOp(linear, folded);
    passedRemark(loc, pass, "folded") << remark::metric("Channels", channels);
  }
  for (auto &[norm, map] : plan.norms) {
    Location loc = FusedLoc::get(rewriter.getContext(), {norm->getLoc(), mapLoc});
    applyIntoNorm(rewriter, norm, map, loc);
    passedRemark(loc, pass, "folded") << remark::metric("Channels", (int64_t)map.size());
  }
}

std::string ChannelFolder::foldInto(Value v, const ChannelMap &map, Location loc) {
  Plan plan;
  if (std::string why = planBack(v, map, plan); !why.empty())
    return why;
  applyBack(plan, loc);
  return "";
}

//===----------------------------------------------------------------------===//
// Into consumers
//===----------------------------------------------------------------------===//

std::string ChannelFolder::planForward(Value v, const ChannelMap &map, Plan &plan,
                                       const AffineChain &chain) {
  if (map.isIdentity())
    return "";
  if (v.use_empty())
    return "nothing reads it";
  for (OpOperand &use : v.getUses())
    if (std::string why = planForwardInto(use, map, plan, chain); !why.empty())
      return why;
  return "";
}

std::string ChannelFolder::planForwardInto(OpOperand &use, const ChannelMap &map, Plan &plan,
                                           const AffineChain &chain) {
  Operation *op = use.getOwner();
  std::string name = op->getName().getStringRef().str();
  if (op->getBlock() != chain.ops.front()->getBlock() || op->hasTrait<OpTrait::IsTerminator>())
    return "its result leaves here too";
  if (isRecurrent(op) && use.getOperandNumber() == 0) {
    if (std::string why = whyNotIntoRecurrent(op, map); !why.empty())
      return "of " + name + " behind it: " + why;
    plan.recurrents.push_back({op, map});
    return "";
  }
  auto linear = dyn_cast<nn::LinearOp>(op);
  if (!linear) {
    ViewMaps maps = mapAfter(use, map, shapes);
    if (!maps.passes)
      return "behind it, " + name + ": " + maps.why;
    if (maps.padValue)
      plan.pads.push_back({cast<nn::PadOp>(op), *maps.padValue});
    // A concatenation of the value with itself maps its parts one after the other.
    for (auto &[result, after] : maps.results)
      if (std::string why = planForward(result, after, plan, chain); !why.empty())
        return why;
    return "";
  }
  if (&use != &linear.getActivationMutable())
    return name + " reads it as something else than its activation";
  if (map.axis != ChannelMap::kNumbers && map.axis != linear.getInChannelAxis())
    return "it maps a dimension that is not the input channel of " + name;
  if (std::string why = whyNotAffineBefore(linear, map.isScaled(), map.isShifted()); !why.empty())
    return "of " + name + " behind it: " + why;
  if (map.axis != ChannelMap::kNumbers && linear.getInChannels() != (int64_t)map.size())
    return "its parameters do not match the input channels of " + name;
  if (map.isShifted() && !seesNoBorder(linear)) {
    auto conv = dyn_cast<nn::ConvOp>(op);
    std::string why = conv ? whyNotCorrect(conv, chain) : "its windows overlap unevenly";
    if (!why.empty())
      return "padding of " + name + " behind it holds 0, which the shift would change: " + why;
    plan.borders.push_back(conv);
  }
  for (auto &planned : plan.linears)
    if (planned.first == linear)
      return name + " reads it twice";
  plan.linears.push_back({linear, map});
  return "";
}

/// What a zero-padded convolution gives for a constant activation t depends on the position: at the
/// border, taps that fall into the padding add nothing. The correction is that image, a constant
/// that is added to the result. It costs reading it once, where the map costs reading and writing
/// the activation; padding the activation with -t / s instead costs as much as the map, always.
std::string ChannelFolder::whyNotCorrect(nn::ConvOp conv, const AffineChain &chain) {
  auto type = conv.getType();
  if (!type.hasStaticShape() || type.getDimSize(0) != 1 ||
      !cast<RankedTensorType>(chain.x.getType()).hasStaticShape())
    return "a correction of the border needs one image of fixed size";
  if (!conv.getEpilogue().empty())
    return "it has an epilogue";
  Operation *producer = chain.x.getDefiningOp();
  if (chain.x.hasOneUse() && producer && (isa<nn::LinearOp>(producer) || isElementwise(producer)))
    return "it costs nothing where its operand is computed";
  int64_t bytes = type.getNumElements() * nn::elementBytes(type.getElementType());
  int64_t read = cast<RankedTensorType>(chain.x.getType()).getNumElements();
  if (bytes > maxBorderBytes)
    return llvm::formatv("a correction of the border has {0} bytes", bytes);
  if (type.getNumElements() > 2 * read)
    return "a correction of the border costs more";
  return "";
}

/// sum over taps of T[m][tap], where the tap is inside of the activation, at every position: what
/// the constant activation `shift` adds.
Value ChannelFolder::correctBorder(nn::ConvOp conv, const ChannelMap &map, Location loc) {
  nn::LinearOp linear(conv);
  std::vector<double> sums = sumOfTaps(linear, map.shifts(linear.getInChannels()));
  std::vector<double> bias = biasOf(linear);
  ArrayRef<int64_t> kernel = shapeOf(conv.getW()).drop_front(2), result = conv.getType().getShape();
  int64_t spatial = kernel.size(), channels = bias.size(), taps = sums.size() / channels;
  bool last = conv.getChannelsLast();
  ArrayRef<int64_t> in = shapeOf(conv.getX()).slice(last ? 1 : 2, spatial);
  ArrayRef<int64_t> out = result.slice(last ? 1 : 2, spatial);
  int64_t positions = 1;
  for (int64_t d : out)
    positions *= d;
  std::vector<double> image(positions * channels);
  std::vector<int64_t> inside;
  for (int64_t p = 0; p < positions; ++p) {
    inside.clear();
    for (int64_t tap = 0; tap < taps; ++tap) {
      bool isInside = true;
      for (int64_t axis = spatial - 1, restP = p, restT = tap; axis >= 0; --axis) {
        int64_t at = restP % out[axis] * conv.getStrides()[axis] +
                     restT % kernel[axis] * conv.getDilations()[axis] - conv.getPads()[axis];
        isInside &= at >= 0 && at < in[axis];
        restP /= out[axis];
        restT /= kernel[axis];
      }
      if (isInside)
        inside.push_back(tap);
    }
    for (int64_t m = 0; m < channels; ++m) {
      double value = bias[m];
      for (int64_t tap : inside)
        value += sums[m * taps + tap];
      image[last ? p * channels + m : m * positions + p] = value;
    }
  }
  return makeNumbersOp(rewriter, loc, elementTypeOf(conv.getX()), result, image, "border");
}

std::string ChannelFolder::foldForward(AffineChain &chain) {
  Plan plan;
  if (std::string why = planForward(chain.y, chain.map, plan, chain); !why.empty())
    return why;
  // A multiplication and an addition become one addition; one of them alone would stay one.
  if (!plan.borders.empty() && chain.ops.size() == 1 && !chain.hasBatchNorm)
    return "a correction of the border costs as much";
  Location chainLoc = fusedLoc(chain.ops);
  rewriter.replaceAllUsesWith(chain.y, chain.x);
  for (Operation *op : llvm::reverse(chain.ops))
    rewriter.eraseOp(op);
  applyShared(plan);
  for (auto &[linear, map] : plan.linears) {
    Location loc = FusedLoc::get(rewriter.getContext(), {chainLoc, linear.getLoc()});
    int64_t channels = linear.getInChannels();
    rewriter.setInsertionPoint(linear);
    auto conv = dyn_cast<nn::ConvOp>(*linear);
    if (conv && llvm::is_contained(plan.borders, conv)) {
      Value image = correctBorder(conv, map, loc);
      Value folded = applyAffineBefore(rewriter, linear, map.scales(channels), {}, loc);
      auto plain = cast<nn::ConvOp>(folded.getDefiningOp());
      rewriter.modifyOpInPlace(plain, [&] { plain.getBiasMutable().clear(); });
      Value sum = nn::AddOp::create(rewriter, loc, conv.getType(), folded, image);
      rewriter.replaceOp(linear, sum);
    } else {
      Value folded =
          applyAffineBefore(rewriter, linear, map.scales(channels), map.shifts(channels), loc);
      rewriter.replaceOp(linear, folded);
    }
    passedRemark(loc, pass, "folded-forward") << remark::metric("Channels", channels);
  }
  for (auto &[cell, map] : plan.recurrents) {
    Location loc = FusedLoc::get(rewriter.getContext(), {chainLoc, cell->getLoc()});
    applyIntoRecurrent(rewriter, cell, map, loc);
    passedRemark(loc, pass, "folded-forward") << remark::metric("Channels", (int64_t)map.size());
  }
  return "";
}

} // namespace nnopt
