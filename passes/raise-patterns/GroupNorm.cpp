//===- GroupNorm.cpp - group normalization by instance normalization ------===//
//
// Normalization over groups of channels (Wu and He 2018, equation 7) as exporters write it: x reshaped to
// [N, groups, the rest], normalized over the rest, and reshaped back. Instance normalization (Ulyanov et al. 2016)
// is a layer_norm over all positions with a scale and shift of each channel behind it.
//
//===----------------------------------------------------------------------===//
#include "passes/raise-patterns/Match.h"

using namespace mlir;

namespace nnopt {
namespace {

/// A group_norm of x with parameters for each channel.
Value groupNorm(RewriterBase &rewriter, Location loc, Value x, ArrayRef<double> scale, ArrayRef<double> bias,
                int64_t groups, FloatAttr epsilon) {
  Type type = elementTypeOf(x);
  int64_t channels = scale.size();
  return nn::GroupNormOp::create(rewriter, loc, untyped(type), x,
                                 makeNumbersOp(rewriter, loc, type, {channels}, scale, "scale"),
                                 makeNumbersOp(rewriter, loc, type, {channels}, bias, "bias"),
                                 rewriter.getI64IntegerAttr(groups), epsilon, UnitAttr());
}

/// What is normalized over all dimensions behind the first two.
struct OverPositions {
  Operation *op = nullptr;
  Value x;
  std::vector<double> scale, bias; // for each position along dimension 1
  FloatAttr epsilon;
};

/// An instance normalization with constant parameters, or a layer_norm from dimension 2 on without any.
std::optional<OverPositions> matchOverPositions(Value v) {
  OverPositions n;
  n.op = v.getDefiningOp();
  if (!n.op || !v.hasOneUse() || rankOf(v) < 3 || ShapedType::isDynamic(shapeOf(v)[1]))
    return std::nullopt;
  int64_t channels = shapeOf(v)[1];
  if (auto norm = dyn_cast<nn::GroupNormOp>(n.op)) {
    auto scale = numbersOf(norm.getScale()), bias = numbersOf(norm.getBias());
    if (norm.getChannelsLast() || (int64_t)norm.getNumGroups() != channels || !scale || !bias)
      return std::nullopt;
    n.x = norm.getX();
    n.scale = std::move(*scale);
    n.bias = std::move(*bias);
    n.epsilon = norm.getEpsilonAttr();
    return n;
  }
  auto norm = dyn_cast<nn::LayerNormOp>(n.op);
  auto scale = norm ? numbersOf(norm.getScale()) : std::nullopt;
  if (!scale || norm.getBias() || norm.getAxis() != 2 || !llvm::all_of(*scale, [](double s) { return s == 1; }))
    return std::nullopt;
  n.x = norm.getX();
  n.scale.assign(channels, 1);
  n.bias.assign(channels, 0);
  n.epsilon = norm.getEpsilonAttr();
  return n;
}

/// reshape(norm(reshape(x))): the parameters of a group are those of all its channels.
struct RaiseGroupNorm : RaisePattern<nn::ReshapeOp> {
  using RaisePattern::RaisePattern;
  LogicalResult matchAndRewrite(nn::ReshapeOp op, PatternRewriter &rewriter) const override {
    auto norm = matchOverPositions(op.getX());
    auto before = norm ? norm->x.getDefiningOp<nn::ReshapeOp>() : nn::ReshapeOp();
    if (!before || !shapes.sameDims(before.getX(), op.getResult()))
      return failure();
    Type type = elementTypeOf(op.getResult());
    auto dims = shapes.dims(op.getResult()), grouped = shapes.dims(norm->x);
    int64_t groups = norm->scale.size();
    if ((!type.isF32() && !type.isF64()) || dims.size() < 3 || dims[0] != grouped[0] || !dims[1].isConst() ||
        groups < 1 || dims[1].value() % groups)
      return failure();
    int64_t channels = dims[1].value();
    std::vector<double> scales, biases;
    for (int64_t c = 0; c < channels; ++c) {
      scales.push_back(norm->scale[c / (channels / groups)]);
      biases.push_back(norm->bias[c / (channels / groups)]);
    }
    Value raised = groupNorm(rewriter, fusedLoc({norm->op, op}), before.getX(), scales, biases, groups, norm->epsilon);
    replaceRaised(rewriter, op, raised);
    return success();
  }
};

/// s(n + t) and so on: constants of each channel behind a group_norm join its own.
template <typename OpTy> struct AffineIntoGroupNorm : RaisePattern<OpTy> {
  using RaisePattern<OpTy>::RaisePattern;
  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    for (unsigned i : {0u, 1u}) {
      auto norm = op->getOperand(i).template getDefiningOp<nn::GroupNormOp>();
      Value constant = op->getOperand(1 - i);
      if (!norm || !norm->hasOneUse() || norm.getChannelsLast() ||
          !this->shapes.sameDims(norm.getResult(), op.getResult()))
        continue;
      auto scale = numbersOf(norm.getScale()), bias = numbersOf(norm.getBias());
      Type type = elementTypeOf(op.getResult());
      if (!scale || !bias || (!type.isF32() && !type.isF64()))
        continue;
      auto values = vectorAlong(constant, 1, rankOf(op.getResult()), scale->size());
      if (!values)
        continue;
      for (size_t c = 0; c < scale->size(); ++c) {
        if (isa<nn::MulOp>(op)) {
          (*scale)[c] *= (*values)[c];
          (*bias)[c] *= (*values)[c];
        } else {
          (*bias)[c] += (*values)[c];
        }
      }
      rewriter.replaceOp(op, groupNorm(rewriter, fusedLoc({norm, op}), norm.getX(), *scale, *bias, norm.getNumGroups(),
                                       norm.getEpsilonAttr()));
      return success();
    }
    return failure();
  }
};

/// A layer_norm over all positions, times or plus a constant of each channel: instance normalization.
template <typename OpTy> struct RaiseInstanceNorm : RaisePattern<OpTy> {
  using RaisePattern<OpTy>::RaisePattern;
  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    Type type = elementTypeOf(op.getResult());
    for (unsigned i : {0u, 1u}) {
      Value v = op->getOperand(i), constant = op->getOperand(1 - i);
      auto norm = v.template getDefiningOp<nn::LayerNormOp>() ? matchOverPositions(v) : std::nullopt;
      if (!norm || (!type.isF32() && !type.isF64()) || !this->shapes.sameDims(v, op.getResult()))
        continue;
      int64_t channels = norm->scale.size();
      auto values = vectorAlong(constant, 1, rankOf(v), channels);
      if (!values || cast<RankedTensorType>(constant.getType()).getNumElements() != channels)
        continue;
      (isa<nn::MulOp>(op) ? norm->scale : norm->bias) = *values;
      Location loc = fusedLoc({norm->op, op});
      replaceRaised(rewriter, op,
                    groupNorm(rewriter, loc, norm->x, norm->scale, norm->bias, channels, norm->epsilon));
      return success();
    }
    return failure();
  }
};

} // namespace

void addGroupNormPatterns(RewritePatternSet &patterns, FuncShapes &shapes) {
  patterns.add<RaiseGroupNorm, AffineIntoGroupNorm<nn::MulOp>, AffineIntoGroupNorm<nn::AddOp>,
               RaiseInstanceNorm<nn::MulOp>, RaiseInstanceNorm<nn::AddOp>>(patterns.getContext(), shapes);
}

} // namespace nnopt
