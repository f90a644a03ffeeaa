//===- GroupNorm.cpp - group normalization by instance normalization ------===//
//
// Normalization over groups of channels (Wu and He 2018, equation 7) as exporters write it: x reshaped to
// [N, groups, the rest], normalized for each of its channels, and reshaped back.
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

/// reshape(instance_norm(reshape(x))): the parameters of a group are those of all its channels.
struct RaiseGroupNorm : RaisePattern<nn::ReshapeOp> {
  using RaisePattern::RaisePattern;
  LogicalResult matchAndRewrite(nn::ReshapeOp op, PatternRewriter &rewriter) const override {
    auto norm = op.getX().getDefiningOp<nn::GroupNormOp>();
    auto before = norm ? norm.getX().getDefiningOp<nn::ReshapeOp>() : nn::ReshapeOp();
    if (!before || !norm->hasOneUse() || norm.getChannelsLast() || !shapes.sameDims(before.getX(), op.getResult()))
      return failure();
    Type type = elementTypeOf(op.getResult());
    auto dims = shapes.dims(op.getResult()), grouped = shapes.dims(norm.getX());
    int64_t groups = norm.getNumGroups();
    if ((!type.isF32() && !type.isF64()) || dims.size() < 3 || grouped.size() < 3 || dims[0] != grouped[0] ||
        !dims[1].isConst() || !grouped[1].isConst(groups) || groups < 1 || dims[1].value() % groups)
      return failure();
    auto scale = numbersOf(norm.getScale()), bias = numbersOf(norm.getBias());
    if (!scale || !bias)
      return failure();
    int64_t channels = dims[1].value();
    std::vector<double> scales, biases;
    for (int64_t c = 0; c < channels; ++c) {
      scales.push_back((*scale)[c / (channels / groups)]);
      biases.push_back((*bias)[c / (channels / groups)]);
    }
    Value raised = groupNorm(rewriter, fusedLoc({norm, op}), before.getX(), scales, biases, groups, norm.getEpsilonAttr());
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

} // namespace

void addGroupNormPatterns(RewritePatternSet &patterns, FuncShapes &shapes) {
  patterns.add<RaiseGroupNorm, AffineIntoGroupNorm<nn::MulOp>, AffineIntoGroupNorm<nn::AddOp>>(patterns.getContext(),
                                                                                             shapes);
}

} // namespace nnopt
