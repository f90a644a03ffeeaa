//===- Normalization.cpp - normalizations written out ---------------------===//
#include "passes/raise-patterns/Match.h"

using namespace mlir;

namespace nnopt {
namespace {

/// A mean over all dimensions from `axis` on, which stay as dimensions of one.
static nn::ReduceOp matchTrailing(Value v, nn::ReduceKind kind, int64_t &axis) {
  auto reduce = v.getDefiningOp<nn::ReduceOp>();
  if (!reduce || reduce.getKind() != kind || !reduce.getKeepDims() || reduce.getDynamicAxes() ||
      !reduce.getAxes())
    return {};
  int64_t rank = rankOf(reduce.getX());
  ArrayRef<int64_t> axes = *reduce.getAxes();
  axis = rank - (int64_t)axes.size();
  for (auto [i, a] : llvm::enumerate(axes))
    if (a != axis + (int64_t)i)
      return {};
  return axes.empty() ? nn::ReduceOp() : reduce;
}

/// t where v = sqrt(t).
static Value matchSqrt(Value v) {
  if (auto sqrt = v.getDefiningOp<nn::SqrtOp>())
    return sqrt.getX();
  if (auto pow = v.getDefiningOp<nn::PowOp>(); pow && isScalar(pow.getRhs(), 0.5))
    return pow.getLhs();
  return {};
}

/// t where v = 1 / sqrt(t).
static Value matchInverseSqrt(Value v) {
  if (auto reciprocal = v.getDefiningOp<nn::ReciprocalOp>())
    return matchSqrt(reciprocal.getX());
  if (auto div = v.getDefiningOp<nn::DivOp>(); div && isScalar(div.getLhs(), 1))
    return matchSqrt(div.getRhs());
  if (auto pow = v.getDefiningOp<nn::PowOp>(); pow && isScalar(pow.getRhs(), -0.5))
    return pow.getLhs();
  return {};
}

/// d where v = d * d.
static Value matchSquare(Value v) {
  if (auto mul = v.getDefiningOp<nn::MulOp>(); mul && mul.getLhs() == mul.getRhs())
    return mul.getLhs();
  if (auto pow = v.getDefiningOp<nn::PowOp>(); pow && isScalar(pow.getRhs(), 2))
    return pow.getLhs();
  return {};
}

/// d / sqrt(mean(d^2) + epsilon) over the dimensions from `axis` on.
struct Normalized {
  Value d;
  int64_t axis;
  double epsilon;
};

/// Matches the denominator sqrt(t) of a numerator d.
static bool matchDenominator(Value t, Value d, Normalized &n) {
  auto add = t ? t.getDefiningOp<nn::AddOp>() : nn::AddOp();
  if (!add)
    return false;
  auto epsilon = scalarOf(add.getRhs());
  Value variance = add.getLhs();
  if (!epsilon) {
    epsilon = scalarOf(add.getLhs());
    variance = add.getRhs();
  }
  if (!epsilon || *epsilon < 0)
    return false;
  nn::ReduceOp mean = matchTrailing(variance, nn::ReduceKind::mean, n.axis);
  if (!mean || matchSquare(mean.getX()) != d)
    return false;
  n.d = d;
  n.epsilon = *epsilon;
  return true;
}

static std::optional<Normalized> matchNormalized(Operation *op) {
  Normalized n;
  if (isa<nn::DivOp>(op)) {
    if (matchDenominator(matchSqrt(op->getOperand(1)), op->getOperand(0), n))
      return n;
    return std::nullopt;
  }
  for (unsigned i : {0u, 1u})
    if (matchDenominator(matchInverseSqrt(op->getOperand(1 - i)), op->getOperand(i), n))
      return n;
  return std::nullopt;
}

/// layer_norm where d = x - mean(x) (Ba, Kiros and Hinton 2016, equation 3), else rms_norm (Zhang
/// and Sennrich 2019, equation 4), both with a scale of ones.
template <typename OpTy> struct RaiseNorm : RaisePattern<OpTy> {
  using RaisePattern<OpTy>::RaisePattern;
  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    Value result = op->getResult(0);
    Type type = elementTypeOf(result);
    if (!type.isF32() && !type.isF64())
      return failure();
    auto n = matchNormalized(op);
    if (!n || !this->shapes.sameDims(n->d, result))
      return failure();
    ArrayRef<int64_t> trailing = shapeOf(n->d).drop_front(n->axis);
    if (ShapedType::isDynamicShape(trailing))
      return failure();
    std::vector<double> ones(ShapedType::getNumElements(trailing), 1);
    Value scale = makeNumbersOp(rewriter, op->getLoc(), type, trailing, ones, "ones");
    auto axis = rewriter.getI64IntegerAttr(n->axis);
    auto epsilon = rewriter.getF64FloatAttr(n->epsilon);
    auto sub = n->d.template getDefiningOp<nn::SubOp>();
    int64_t meanAxis = -1;
    nn::ReduceOp mean =
        sub ? matchTrailing(sub.getRhs(), nn::ReduceKind::mean, meanAxis) : nn::ReduceOp();
    Value raised;
    if (mean && meanAxis == n->axis && mean.getX() == sub.getLhs())
      raised = nn::LayerNormOp::create(rewriter, op->getLoc(), untyped(type), sub.getLhs(), scale,
                                       Value(), axis, epsilon);
    else
      raised =
          nn::RMSNormOp::create(rewriter, op->getLoc(), untyped(type), n->d, scale, axis, epsilon);
    replaceRaised(rewriter, op, raised);
    return success();
  }
};

/// `v` as scale or shift of a normalization of x from `axis` on: exactly the trailing dimensions.
static bool isTrailingVector(Value v, Value x, int64_t axis, FuncShapes &shapes) {
  return shapes.dims(v) == shapes.dims(x).drop_front(axis) && elementTypeOf(v) == elementTypeOf(x);
}

static bool isOnes(Value v) {
  auto values = numbersOf(v);
  return values && llvm::all_of(*values, [](double d) { return d == 1; });
}

/// norm(x) * w with a scale of ones: w is the scale.
struct ScaleIntoNorm : RaisePattern<nn::MulOp> {
  using RaisePattern::RaisePattern;
  LogicalResult matchAndRewrite(nn::MulOp op, PatternRewriter &rewriter) const override {
    for (unsigned i : {0u, 1u}) {
      Value norm = op->getOperand(i), w = op->getOperand(1 - i);
      Operation *def = norm.getDefiningOp();
      if (!def || !norm.hasOneUse())
        continue;
      auto fits = [&](auto n) {
        return isTrailingVector(w, n.getX(), n.getAxis(), shapes) && isOnes(n.getScale());
      };
      Value raised;
      Location loc = fusedLoc({def, op});
      if (auto n = dyn_cast<nn::LayerNormOp>(def); n && !n.getBias() && fits(n))
        raised = nn::LayerNormOp::create(rewriter, loc, n.getType(), n.getX(), w, Value(),
                                         n.getAxisAttr(), n.getEpsilonAttr());
      else if (auto n = dyn_cast<nn::RMSNormOp>(def); n && fits(n))
        raised = nn::RMSNormOp::create(rewriter, loc, n.getType(), n.getX(), w, n.getAxisAttr(),
                                       n.getEpsilonAttr());
      if (!raised)
        continue;
      rewriter.replaceOp(op, raised);
      return success();
    }
    return failure();
  }
};

/// layer_norm(x) + b without bias: b is the bias.
struct ShiftIntoNorm : RaisePattern<nn::AddOp> {
  using RaisePattern::RaisePattern;
  LogicalResult matchAndRewrite(nn::AddOp op, PatternRewriter &rewriter) const override {
    for (unsigned i : {0u, 1u}) {
      auto n = op->getOperand(i).getDefiningOp<nn::LayerNormOp>();
      Value b = op->getOperand(1 - i);
      if (!n || n.getBias() || !n->hasOneUse() ||
          !isTrailingVector(b, n.getX(), n.getAxis(), shapes))
        continue;
      rewriter.replaceOp(op, nn::LayerNormOp::create(rewriter, fusedLoc({n, op}), n.getType(),
                                                     n.getX(), n.getScale(), b, n.getAxisAttr(),
                                                     n.getEpsilonAttr())
                                 .getResult());
      return success();
    }
    return failure();
  }
};

/// exp(x - c) / sum(exp(x - c)) along one dimension, where c does not vary along it: the maximum,
/// or 0.
struct RaiseSoftmax : RaisePattern<nn::DivOp> {
  using RaisePattern::RaisePattern;
  LogicalResult matchAndRewrite(nn::DivOp op, PatternRewriter &rewriter) const override {
    auto exp = op.getLhs().getDefiningOp<nn::ExpOp>();
    auto sum = op.getRhs().getDefiningOp<nn::ReduceOp>();
    if (!exp || !sum || sum.getX() != exp.getResult() || sum.getKind() != nn::ReduceKind::sum ||
        !sum.getKeepDims() || !sum.getAxes() || sum.getAxes()->size() != 1 ||
        !isa<FloatType>(elementTypeOf(op.getResult())))
      return failure();
    Value x = exp.getX();
    int64_t axis = sum.getAxes()->front();
    if (auto sub = x.getDefiningOp<nn::SubOp>()) {
      auto max = sub.getRhs().getDefiningOp<nn::ReduceOp>();
      if (max && max.getKind() == nn::ReduceKind::max && max.getKeepDims() &&
          max.getX() == sub.getLhs() && max.getAxes() && max.getAxes()->size() == 1 &&
          max.getAxes()->front() == axis)
        x = sub.getLhs();
    }
    Value raised = nn::SoftmaxOp::create(rewriter, fusedLoc({exp, sum, op}), op.getType(), x,
                                         rewriter.getI64IntegerAttr(axis), UnitAttr());
    replaceRaised(rewriter, op, raised);
    return success();
  }
};

} // namespace

void addNormalizationPatterns(RewritePatternSet &patterns, FuncShapes &shapes) {
  patterns
      .add<RaiseNorm<nn::DivOp>, RaiseNorm<nn::MulOp>, ScaleIntoNorm, ShiftIntoNorm, RaiseSoftmax>(
          patterns.getContext(), shapes);
}

} // namespace nnopt
