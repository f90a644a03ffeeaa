//===- Activations.cpp - activations written out --------------------------===//
#include "passes/raise-patterns/Match.h"

#include <cmath>

using namespace mlir;

namespace nnopt {

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

static void collect(Value v, Product &product, bool isRoot) {
  if (auto number = scalarOf(v)) {
    product.scale *= *number;
    return;
  }
  Operation *op = v.getDefiningOp();
  // A product with other users is a factor: the others need it as it is.
  if (op && (isRoot || v.hasOneUse())) {
    if (isa<nn::MulOp>(op)) {
      product.ops.push_back(op);
      collect(op->getOperand(0), product, false);
      collect(op->getOperand(1), product, false);
      return;
    }
    auto divisor = isa<nn::DivOp>(op) ? scalarOf(op->getOperand(1)) : std::nullopt;
    if (divisor && *divisor != 0) {
      product.ops.push_back(op);
      product.scale /= *divisor;
      collect(op->getOperand(0), product, false);
      return;
    }
    if (isa<nn::NegOp>(op)) {
      product.ops.push_back(op);
      product.scale = -product.scale;
      collect(op->getOperand(0), product, false);
      return;
    }
  }
  product.factors.push_back(v);
}

Product Product::of(Value v) {
  Product product;
  collect(v, product, true);
  return product;
}

bool Product::hasScale(double expected) const {
  return std::fabs(scale - expected) <= 1e-6 * std::fabs(expected);
}

Value Product::besides(Value x) const {
  if (factors.size() != 2)
    return {};
  return factors[0] == x ? factors[1] : factors[1] == x ? factors[0] : Value();
}

double Product::powerOf(Value x) const {
  double power = 0;
  for (Value f : factors) {
    auto pow = f.getDefiningOp<nn::PowOp>();
    if (f == x)
      power += 1;
    else if (pow && pow.getLhs() == x && scalarOf(pow.getRhs()))
      power += *scalarOf(pow.getRhs());
    else
      return -1;
  }
  return power;
}

Value minusNumber(Value v, double c) {
  if (auto add = v.getDefiningOp<nn::AddOp>()) {
    if (isScalar(add.getRhs(), c))
      return add.getLhs();
    if (isScalar(add.getLhs(), c))
      return add.getRhs();
  }
  return {};
}

void replaceRaised(RewriterBase &rewriter, Operation *op, Value with) {
  passedRemark(op->getLoc(), kRaisePass, "raised")
      << remark::add("{0}", with.getDefiningOp()->getName().getStringRef().str());
  rewriter.replaceOp(op, with);
}

//===----------------------------------------------------------------------===//
// Activations: products that contain x and a function of x
//===----------------------------------------------------------------------===//

/// x where `v` = 1 + erf(x / sqrt(2)), that is 2 Phi(x).
static Value matchTwicePhi(Value v) {
  Value e = minusNumber(v, 1);
  auto erf = e ? e.getDefiningOp<nn::ErfOp>() : nn::ErfOp();
  if (!erf)
    return {};
  Product argument = Product::of(erf.getX());
  return argument.hasScale(M_SQRT1_2) && argument.factors.size() == 1 ? argument.factors[0]
                                                                      : Value();
}

/// Whether v = x + 0.044715 x^3.
static bool isCubic(Value v, Value x) {
  auto add = v.getDefiningOp<nn::AddOp>();
  if (!add)
    return false;
  Value cube = add.getLhs() == x ? add.getRhs() : add.getRhs() == x ? add.getLhs() : Value();
  if (!cube)
    return false;
  Product product = Product::of(cube);
  return product.hasScale(0.044715) && product.powerOf(x) == 3;
}

/// Whether v = 1 + 0.044715 x^2.
static bool isSquarePlusOne(Value v, Value x) {
  Value square = minusNumber(v, 1);
  if (!square)
    return false;
  Product product = Product::of(square);
  return product.hasScale(0.044715) && product.powerOf(x) == 2;
}

/// Whether v = 1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)) (Hendrycks and Gimpel 2016, section 2).
static bool isTanhPhi(Value v, Value x) {
  Value t = minusNumber(v, 1);
  auto tanh = t ? t.getDefiningOp<nn::TanhOp>() : nn::TanhOp();
  if (!tanh)
    return false;
  Product argument = Product::of(tanh.getX());
  if (!argument.hasScale(std::sqrt(2 / M_PI)))
    return false;
  if (argument.factors.size() == 1)
    return isCubic(argument.factors[0], x);
  Value rest = argument.besides(x);
  return rest && isSquarePlusOne(rest, x);
}

/// x where v = clip(x + 3, 0, 6).
static Value matchRelu6Of3(Value v) {
  auto clip = v.getDefiningOp<nn::ClipOp>();
  if (!clip || !isScalar(clip.getLo(), 0) || !isScalar(clip.getHi(), 6))
    return {};
  return minusNumber(clip.getX(), 3);
}

/// x where v = hard_sigmoid(x, 1/6, 1/2).
static Value matchHardSigmoid(Value v) {
  auto op = v.getDefiningOp<nn::HardSigmoidOp>();
  bool ok = op && std::fabs(op.getAlpha().convertToDouble() - 1. / 6) < 1e-6 &&
            std::fabs(op.getBeta().convertToDouble() - 0.5) < 1e-6;
  return ok ? op.getX() : Value();
}

static bool isFloat(Value v) { return isa<FloatType>(elementTypeOf(v)); }

/// The function that a product of x and g(x) is, for one choice of x.
static Value raiseProduct(const Product &product, Value x, Value g, RewriterBase &b,
                          Operation *op) {
  Location loc = fusedLoc(product.ops);
  Type type = untyped(elementTypeOf(x));
  auto sigmoid = g.getDefiningOp<nn::SigmoidOp>();
  if (product.scale == 1 && sigmoid) {
    // x sigmoid(alpha x): Swish; with 1.702 the sigmoid approximation of GELU.
    Product argument = sigmoid.getX() == x ? Product{1, {x}, {}} : Product::of(sigmoid.getX());
    if (argument.factors.size() == 1 && argument.factors[0] == x)
      return nn::SiluOp::create(b, loc, type, x, b.getF64FloatAttr(argument.scale));
  }
  if (product.scale == 1 && matchHardSigmoid(g) == x)
    return nn::HardSwishOp::create(b, loc, type, x);
  if (product.hasScale(1. / 6) && matchRelu6Of3(g) == x)
    return nn::HardSwishOp::create(b, loc, type, x);
  if (product.hasScale(0.5) && matchTwicePhi(g) == x)
    return nn::GeluOp::create(b, loc, type, x, UnitAttr());
  if (product.hasScale(0.5) && isTanhPhi(g, x))
    return nn::GeluOp::create(b, loc, type, x, b.getUnitAttr());
  if (auto tanh = g.getDefiningOp<nn::TanhOp>(); tanh && product.scale == 1)
    if (auto softplus = tanh.getX().getDefiningOp<nn::SoftplusOp>();
        softplus && softplus.getX() == x)
      return nn::MishOp::create(b, loc, type, x);
  return {};
}

namespace {

/// Products of two factors: see raiseProduct; of one: hard_sigmoid as clip(x + 3, 0, 6) / 6.
template <typename OpTy> struct RaiseProduct : RaisePattern<OpTy> {
  using RaisePattern<OpTy>::RaisePattern;
  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    Value result = op->getResult(0);
    if (!isFloat(result))
      return failure();
    Product product = Product::of(result);
    Value raised;
    if (product.factors.size() == 2) {
      raised = raiseProduct(product, product.factors[0], product.factors[1], rewriter, op);
      if (!raised)
        raised = raiseProduct(product, product.factors[1], product.factors[0], rewriter, op);
    } else if (product.factors.size() == 1 && product.hasScale(1. / 6)) {
      if (Value x = matchRelu6Of3(product.factors[0]))
        raised = nn::HardSigmoidOp::create(
            rewriter, fusedLoc(product.ops), untyped(elementTypeOf(x)), x,
            rewriter.getF64FloatAttr(1. / 6), rewriter.getF64FloatAttr(0.5));
    }
    if (!raised)
      return failure();
    if (!this->shapes.sameDims(raised, result))
      return rewriter.eraseOp(raised.getDefiningOp()), failure();
    replaceRaised(rewriter, op, raised);
    return success();
  }
};

/// log(1 + e^x).
struct RaiseSoftplus : RaisePattern<nn::LogOp> {
  using RaisePattern::RaisePattern;
  LogicalResult matchAndRewrite(nn::LogOp op, PatternRewriter &rewriter) const override {
    Value e = minusNumber(op.getX(), 1);
    auto exp = e ? e.getDefiningOp<nn::ExpOp>() : nn::ExpOp();
    if (!exp || !isFloat(exp.getX()) || !shapes.sameDims(exp.getX(), op.getResult()))
      return failure();
    Value raised = nn::SoftplusOp::create(rewriter, fusedLoc({exp, op.getX().getDefiningOp(), op}), op.getType(), exp.getX());
    replaceRaised(rewriter, op, raised);
    return success();
  }
};

} // namespace

void addActivationPatterns(RewritePatternSet &patterns, FuncShapes &shapes) {
  patterns.add<RaiseProduct<nn::MulOp>, RaiseProduct<nn::DivOp>, RaiseSoftplus>(patterns.getContext(), shapes);
}

} // namespace nnopt
