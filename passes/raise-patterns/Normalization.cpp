//===- Normalization.cpp - normalizations written out ---------------------===//
#include "passes/raise-patterns/Match.h"

#include <cmath>

using namespace mlir;

namespace nnopt {
namespace {

/// What exporters write for no upper limit, or more.
constexpr double largestF32 = 3.4e38;

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

/// factor * d / sqrt(mean(d^2) + epsilon) over the dimensions from `axis` on.
struct Normalized {
  Value d;
  int64_t axis;
  double epsilon, factor;
};

/// Matches t = mean(d^2) + epsilon or sum(d^2) + epsilon, where the latter is n (mean(d^2) + epsilon / n).
static bool matchSquares(Value t, Value d, Normalized &n) {
  std::optional<double> epsilon = 0.0;
  Value squares = t;
  if (auto add = t.getDefiningOp<nn::AddOp>()) {
    epsilon = scalarOf(add.getRhs());
    squares = add.getLhs();
    if (!epsilon) {
      epsilon = scalarOf(add.getLhs());
      squares = add.getRhs();
    }
  }
  if (!epsilon || *epsilon < 0)
    return false;
  nn::ReduceOp mean = matchTrailing(squares, nn::ReduceKind::mean, n.axis), sum;
  if (!mean) {
    sum = matchTrailing(squares, nn::ReduceKind::sum, n.axis);
    if (auto direct = matchTrailing(squares, nn::ReduceKind::sum_square, n.axis); direct && direct.getX() == d)
      sum = direct;
    else if (sum && matchSquare(sum.getX()) != d)
      sum = {};
  }
  if (mean ? matchSquare(mean.getX()) != d : !sum)
    return false;
  ArrayRef<int64_t> trailing = shapeOf(d).drop_front(n.axis);
  if (sum && ShapedType::isDynamicShape(trailing))
    return false;
  double count = sum ? ShapedType::getNumElements(trailing) : 1;
  if (count < 1)
    return false;
  n.d = d;
  n.epsilon = *epsilon / count;
  n.factor = 1 / std::sqrt(count);
  return true;
}

/// Matches the denominator sqrt(t) of a numerator d, or the norm of d itself.
static bool matchDenominator(Value v, Value d, Normalized &n) {
  if (auto expand = v.getDefiningOp<nn::ExpandOp>())
    v = expand.getX();
  if (Value t = matchSqrt(v))
    return matchSquares(t, d, n);
  nn::ReduceOp norm = matchTrailing(v, nn::ReduceKind::l2, n.axis);
  ArrayRef<int64_t> trailing = norm ? shapeOf(d).drop_front(n.axis) : ArrayRef<int64_t>();
  if (!norm || norm.getX() != d || ShapedType::isDynamicShape(trailing))
    return false;
  n.d = d;
  n.epsilon = 0;
  n.factor = 1 / std::sqrt(double(ShapedType::getNumElements(trailing)));
  return true;
}

static std::optional<Normalized> matchNormalized(Operation *op) {
  Normalized n;
  if (isa<nn::DivOp>(op)) {
    if (matchDenominator(op->getOperand(1), op->getOperand(0), n))
      return n;
    return std::nullopt;
  }
  for (unsigned i : {0u, 1u})
    if (Value t = matchInverseSqrt(op->getOperand(1 - i)); t && matchSquares(t, op->getOperand(i), n))
      return n;
  return std::nullopt;
}

/// instance normalization of x with scale 1 and shift 0.
static Value instanceNorm(RewriterBase &rewriter, Location loc, Value x, double epsilon) {
  Type type = elementTypeOf(x);
  int64_t channels = shapeOf(x)[1];
  std::vector<double> ones(channels, 1), zeros(channels, 0);
  return nn::GroupNormOp::create(rewriter, loc, untyped(type), x,
                                 makeNumbersOp(rewriter, loc, type, {channels}, ones, "ones"),
                                 makeNumbersOp(rewriter, loc, type, {channels}, zeros, "zeros"),
                                 rewriter.getI64IntegerAttr(channels), rewriter.getF64FloatAttr(epsilon), UnitAttr());
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
    auto sub = n->d.template getDefiningOp<nn::SubOp>();
    int64_t meanAxis = -1;
    nn::ReduceOp mean =
        sub ? matchTrailing(sub.getRhs(), nn::ReduceKind::mean, meanAxis) : nn::ReduceOp();
    bool isCentered = mean && meanAxis == n->axis && mean.getX() == sub.getLhs();
    if (ShapedType::isDynamicShape(trailing)) {
      // Over all positions of each channel, however many: instance normalization.
      if (!isCentered || n->axis != 2 || n->factor != 1 || ShapedType::isDynamic(shapeOf(n->d)[1]))
        return failure();
      replaceRaised(rewriter, op, instanceNorm(rewriter, op->getLoc(), sub.getLhs(), n->epsilon));
      return success();
    }
    std::vector<double> factors(ShapedType::getNumElements(trailing), n->factor);
    Value scale = makeNumbersOp(rewriter, op->getLoc(), type, trailing, factors, n->factor == 1 ? "ones" : "factor");
    auto axis = rewriter.getI64IntegerAttr(n->axis);
    auto epsilon = rewriter.getF64FloatAttr(n->epsilon);
    Value raised;
    if (isCentered)
      raised = nn::LayerNormOp::create(rewriter, op->getLoc(), untyped(type), sub.getLhs(), scale,
                                       Value(), axis, epsilon);
    else
      raised =
          nn::RMSNormOp::create(rewriter, op->getLoc(), untyped(type), n->d, scale, axis, epsilon);
    replaceRaised(rewriter, op, raised);
    return success();
  }
};

/// x / max(norm of x along one dimension, floor): lp_norm. (Without a floor rows of zeros would give NaN, not 0.)
struct RaiseLpNorm : RaisePattern<nn::DivOp> {
  using RaisePattern::RaisePattern;
  LogicalResult matchAndRewrite(nn::DivOp op, PatternRewriter &rewriter) const override {
    Value x = op.getLhs(), v = op.getRhs();
    if (!isa<FloatType>(elementTypeOf(x)) || !shapes.sameDims(x, op.getResult()))
      return failure();
    if (auto expand = v.getDefiningOp<nn::ExpandOp>())
      v = expand.getX();
    std::optional<double> floor;
    if (auto clip = v.getDefiningOp<nn::ClipOp>()) {
      auto high = scalarOf(clip.getHi());
      if (high && *high >= largestF32)
        floor = scalarOf(clip.getLo());
      v = clip.getX();
    } else if (auto max = v.getDefiningOp<nn::MaxOp>()) {
      floor = scalarOf(max.getRhs());
      v = floor ? max.getLhs() : max.getRhs();
      if (!floor)
        floor = scalarOf(max.getLhs());
    }
    if (!floor || *floor <= 0)
      return failure();
    nn::ReduceOp sum;
    int64_t p = 2;
    if (Value t = matchSqrt(v)) {
      sum = t.getDefiningOp<nn::ReduceOp>();
      bool isSquared = sum && sum.getKind() == nn::ReduceKind::sum_square && sum.getX() == x;
      if (!isSquared && (!sum || sum.getKind() != nn::ReduceKind::sum || matchSquare(sum.getX()) != x))
        return failure();
    } else {
      sum = v.getDefiningOp<nn::ReduceOp>();
      if (!sum || sum.getX() != x || (sum.getKind() != nn::ReduceKind::l2 && sum.getKind() != nn::ReduceKind::l1))
        return failure();
      p = sum.getKind() == nn::ReduceKind::l1 ? 1 : 2;
    }
    if (!sum.getKeepDims() || !sum.getAxes() || sum.getAxes()->size() != 1)
      return failure();
    replaceRaised(rewriter, op,
                  nn::LpNormOp::create(rewriter, fusedLoc({sum, op}), op.getType(), x,
                                       rewriter.getI64IntegerAttr(sum.getAxes()->front()),
                                       rewriter.getI64IntegerAttr(p), rewriter.getF64FloatAttr(*floor)));
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
      .add<RaiseNorm<nn::DivOp>, RaiseNorm<nn::MulOp>, RaiseLpNorm, ScaleIntoNorm, ShiftIntoNorm, RaiseSoftmax>(
          patterns.getContext(), shapes);
}

} // namespace nnopt
