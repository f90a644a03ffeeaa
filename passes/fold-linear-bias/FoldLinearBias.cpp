//===- FoldLinearBias.cpp - constant scale and shift into contractions ----===//
#include "passes/Passes.h"
#include "passes/common/Affine.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FOLDLINEARBIAS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "fold-linear-bias";

/// One operation after a contraction, as y = scale * x + shift (empty: 1, 0).
struct AffineStep {
  Value x;
  Value constant;
  std::vector<double> scale, shift;
};

/// The operand that a contraction defines and the constant one, in either order.
static bool splitOperands(Operation *op, Value &x, Value &constant, bool &constantFirst) {
  if (op->getNumOperands() != 2)
    return false;
  constantFirst = isConstant(op->getOperand(0));
  x = op->getOperand(constantFirst ? 1 : 0);
  constant = op->getOperand(constantFirst ? 0 : 1);
  return isConstant(constant) && isContraction(x.getDefiningOp());
}

/// Reads `op` as an affine map of each channel of a contraction; a reason where it looks like one
/// but is not; nothing for other operations.
static std::optional<AffineStep> readStep(Operation *op, std::string &why) {
  AffineStep step;
  bool constantFirst = false;
  if (isa<nn::NegOp>(op)) {
    step.x = op->getOperand(0);
    if (!isContraction(step.x.getDefiningOp()))
      return std::nullopt;
    int64_t channels = channelCount(step.x.getDefiningOp());
    if (ShapedType::isDynamic(channels))
      return std::nullopt;
    step.scale.assign(channels, -1);
    return step;
  }
  if (!isa<nn::AddOp, nn::SubOp, nn::MulOp, nn::DivOp>(op) ||
      !splitOperands(op, step.x, step.constant, constantFirst))
    return std::nullopt;
  if (isa<nn::DivOp>(op) && constantFirst)
    return std::nullopt;
  Operation *linear = step.x.getDefiningOp();
  Type type = elementTypeOf(step.x);
  if (!type.isF32() && !type.isF64()) {
    why = "the element type is not f32 or f64";
    return std::nullopt;
  }
  auto values =
      vectorAlong(step.constant, channelAxis(linear), rankOf(step.x), channelCount(linear));
  if (!values) {
    why = "the constant does not depend on the output channel alone";
    return std::nullopt;
  }
  if (isa<nn::AddOp>(op)) {
    step.shift = *values;
  } else if (isa<nn::SubOp>(op)) {
    step.shift = *values;
    if (constantFirst)
      step.scale.assign(values->size(), -1);
    else
      for (double &v : step.shift)
        v = -v;
  } else {
    step.scale = *values;
    if (isa<nn::DivOp>(op))
      for (double &v : step.scale) {
        if (v == 0) {
          why = "division by zero";
          return std::nullopt;
        }
        v = 1 / v;
      }
  }
  return step;
}

//===----------------------------------------------------------------------===//
// Numbers that multiply an operand: W (s x) + b = (s W) x + b, and (s a) c = s (a c)
//===----------------------------------------------------------------------===//

/// The scaled operand of a contraction: `scaling` computes x times or over a number; operations
/// that only move elements may stand between.
struct ScaledOperand {
  OpOperand *operand;
  Operation *scaling;
  Value x;
  double factor;
};

static std::optional<ScaledOperand> findScaledOperand(Operation *linear, unsigned index) {
  ScaledOperand found{&linear->getOpOperand(index), nullptr, {}, 1};
  Value v = found.operand->get();
  while (v.hasOneUse() && isa_and_nonnull<nn::TransposeOp, nn::ReshapeOp, nn::FlattenOp,
                                          nn::SqueezeOp, nn::UnsqueezeOp>(v.getDefiningOp()))
    v = v.getDefiningOp()->getOperand(0);
  Operation *op = v.getDefiningOp();
  if (!v.hasOneUse() || !isa_and_nonnull<nn::MulOp, nn::DivOp>(op))
    return std::nullopt;
  for (unsigned i : {0u, 1u}) {
    auto number = scalarOf(op->getOperand(i));
    bool divides = isa<nn::DivOp>(op);
    if (!number || (divides && (i == 0 || *number == 0)))
      continue;
    found.x = op->getOperand(1 - i);
    found.factor = divides ? 1 / *number : *number;
    found.scaling = op;
    // A contraction takes the factor itself.
    if (found.x.getType() != v.getType() || isContraction(found.x.getDefiningOp()))
      return std::nullopt;
    return found;
  }
  return std::nullopt;
}

/// Moves the factors of a contraction's operands into its constant weights, or behind it where the
/// elementwise operation can join its epilogue.
static int64_t pullScales(Operation *linear, IRRewriter &rewriter) {
  Type type = elementTypeOf(linear->getResult(0));
  if ((!type.isF32() && !type.isF64()) || !contractionEpilogue(linear).empty())
    return 0;
  double factor = 1;
  SmallVector<Operation *> scalings;
  bool weightsAreConstant = isConstant(contractionWeight(linear));
  for (unsigned index : {0u, 1u}) {
    if (index == 1 && !isa<nn::MatMulOp>(linear))
      break;
    // A bias would be scaled with the result.
    if (!weightsAreConstant && contractionBias(linear))
      break;
    auto scaled = findScaledOperand(linear, index);
    if (!scaled)
      continue;
    factor *= scaled->factor;
    scalings.push_back(scaled->scaling);
    rewriter.replaceAllUsesWith(scaled->scaling->getResult(0), scaled->x);
  }
  if (scalings.empty())
    return 0;
  SmallVector<Operation *> all = scalings;
  all.push_back(linear);
  Location loc = fusedLoc(all);
  rewriter.setInsertionPoint(linear);
  if (weightsAreConstant) {
    Value w = contractionWeight(linear);
    std::vector<double> values = *numbersOf(w);
    for (double &v : values)
      v *= factor;
    Value scaledWeights = makeNumbersOp(rewriter, loc, type, shapeOf(w), values, "scaled_weight");
    rewriter.replaceOp(
        linear, cloneWithBias(rewriter, linear, scaledWeights, contractionBias(linear), loc));
  } else {
    rewriter.setInsertionPointAfter(linear);
    Value number = makeNumbersOp(rewriter, loc, type, {}, {factor}, "scale");
    auto mul =
        nn::MulOp::create(rewriter, loc, linear->getResultTypes()[0], linear->getResult(0), number);
    rewriter.replaceAllUsesExcept(linear->getResult(0), mul, mul);
  }
  for (Operation *op : scalings)
    rewriter.eraseOp(op);
  passedRemark(loc, kPass, "pulled") << remark::add("a factor of an operand");
  return scalings.size();
}

struct FoldLinearBiasPass : impl::FoldLinearBiasBase<FoldLinearBiasPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<Operation *> linears, ops;
    getOperation().walk([&](Operation *op) {
      if (isContraction(op))
        linears.push_back(op);
    });
    for (Operation *linear : linears)
      numPulled += pullScales(linear, rewriter);
    getOperation().walk([&](Operation *op) {
      if (isa<nn::AddOp, nn::SubOp, nn::MulOp, nn::DivOp, nn::NegOp>(op))
        ops.push_back(op);
    });
    // In order, so that a chain folds from the contraction on.
    for (Operation *op : ops) {
      std::string why;
      std::optional<AffineStep> step = readStep(op, why);
      if (step) {
        Operation *linear = step->x.getDefiningOp();
        if (!step->x.hasOneUse())
          why = "the contraction before it has other users";
        else
          why = whyNotAffine(linear, !step->scale.empty());
      }
      if (!why.empty())
        missedRemark(op->getLoc(), kPass, "not-folded") << remark::reason("{0}", why);
      if (!step || !why.empty())
        continue;
      Operation *linear = step->x.getDefiningOp();
      Location loc = fusedLoc({linear, op});
      Value folded = applyAffine(rewriter, linear, step->scale, step->shift, loc);
      rewriter.replaceOp(op, folded);
      rewriter.eraseOp(linear);
      passedRemark(loc, kPass, "folded") << remark::add("into weights and bias");
      ++numFolded;
    }
  }
};

} // namespace
} // namespace nnopt
