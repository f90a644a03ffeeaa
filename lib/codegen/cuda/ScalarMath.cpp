//===- ScalarMath.cpp - math functions on GPUs ------------------------------===//
//
// There is no libm on a GPU (libdevice is part of NVIDIA's toolkit, which this compiler does not need).
// Functions of f32 are polynomials, or the hardware's 2^x and 1/x; f64 has roots and rounding only.
//
// Polynomials were fitted in double by Lawson's method: least squares over some thousand Chebyshev points, weights multiplied by
// the error and normalized in each of 400 rounds, which ends at the smallest maximum. Errors were then measured at some
// 400000 numbers, every operation rounded to f32, with the hardware's 2^x at either end of its error.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cuda/ScalarMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace nnopt::cuda {

/// Single instructions (or short sequences that LLVM knows) for both float types.
static bool isInstruction(Operation *op) {
  return isa<math::AbsFOp, math::AbsIOp, math::CopySignOp, math::FmaOp, math::SqrtOp, math::FloorOp, math::CeilOp,
             math::TruncOp, math::RoundEvenOp, math::CountLeadingZerosOp, math::CtPopOp>(op);
}

static bool isExpanded(Operation *op) {
  return isa<math::ExpOp, math::ExpM1Op, math::TanhOp, math::LogOp, math::Log2Op, math::Log1pOp, math::ErfOp,
             math::ErfcOp, math::SinOp, math::CosOp, math::AtanOp, math::Atan2Op, math::RsqrtOp, math::RoundOp,
             math::PowFOp, math::TanOp, math::SinhOp, math::CoshOp, math::AsinhOp, math::AcoshOp, math::AtanhOp>(op);
}

bool hasScalarMath(Operation *op) {
  if (isInstruction(op) || isa<math::IsNaNOp, math::IsInfOp, math::IsFiniteOp>(op))
    return true;
  Type type = getElementTypeOrSelf(op->getResult(0).getType());
  return type.isF32() && (isa<math::Exp2Op>(op) || isExpanded(op));
}

namespace {

/// The code of functions of scalars or vectors of f32.
struct Expansion {
  ImplicitLocOpBuilder b;
  Type type;

  Expansion(Operation *op, OpBuilder &builder) : b(op->getLoc(), builder), type(op->getResult(0).getType()) {}

  Value f(double v) {
    TypedAttr attr = b.getF32FloatAttr(float(v));
    if (auto vector = dyn_cast<VectorType>(type))
      attr = DenseElementsAttr::get(vector, Attribute(attr));
    return arith::ConstantOp::create(b, attr);
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value fma(Value x, Value y, Value z) { return math::FmaOp::create(b, x, y, z); }
  Value abs(Value x) { return math::AbsFOp::create(b, x); }
  Value exp2(Value x) { return math::Exp2Op::create(b, x); }
  /// NaN stays NaN; an instruction each.
  Value atLeast(Value x, double bound) { return arith::MaximumFOp::create(b, x, f(bound)); }
  Value atMost(Value x, double bound) { return arith::MinimumFOp::create(b, x, f(bound)); }
  /// 1 / x for x >= 1: see useInstructions.
  Value reciprocal(Value x) {
    return arith::DivFOp::create(b, f(1), x, arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::afn));
  }
  /// From the highest power down.
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value q = f(coefficients.front());
    for (double c : coefficients.drop_front())
      q = fma(q, x, f(c));
    return q;
  }
  /// `near` where |x| is below the bound, else `far` with the sign of x. NaN is far.
  Value byRange(Value x, double bound, Value near, Value far) {
    Value isNear = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, abs(x), f(bound));
    return arith::SelectOp::create(b, isNear, near, math::CopySignOp::create(b, far, x));
  }
};

template <typename Op> struct Pattern : OpRewritePattern<Op> {
  explicit Pattern(MLIRContext *ctx) : OpRewritePattern<Op>(ctx, /*benefit=*/10) {}
  static bool isF32(Op op) { return getElementTypeOrSelf(op.getType()).isF32(); }
};

bool isConstant(Value v, double wanted) {
  APFloat c(0.0f);
  return matchPattern(v, m_ConstantFloat(&c)) && c.convertToDouble() == double(float(wanted));
}

/// The operand beside the constant `wanted` of a sum or product, or null.
template <typename Op> Value beside(Value v, double wanted) {
  auto op = v.getDefiningOp<Op>();
  if (!op)
    return {};
  return isConstant(op.getRhs(), wanted) ? op.getLhs() : isConstant(op.getLhs(), wanted) ? op.getRhs() : Value();
}

/// e^x = 2^t (1 + r ln 2), where t is x log2(e) rounded and r what rounding lost: the hardware's 2^t has a
/// relative error of 2^-22.5 (PTX ISA, ex2.approx), and without r an error of t 2^-24 would come on top. That is less than it
/// seems beside 1, and where 1 is added to all exponentials (sigmoid, SiLU), they go without. What is divided by such a sum
/// is multiplied by its reciprocal.
struct ExpandExp : Pattern<math::ExpOp> {
  using Pattern::Pattern;
  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    if (!isF32(op))
      return failure();
    Expansion e(op, rewriter);
    constexpr double log2e = 1.44269502162933349609375;
    auto addsOne = [](Operation *user) { return isa<arith::AddFOp>(user) && beside<arith::AddFOp>(user->getResult(0), 1); };
    if (llvm::all_of(op->getUsers(), addsOne)) {
      for (Operation *sum : op->getUsers())
        for (Operation *user : sum->getUsers())
          if (auto div = dyn_cast<arith::DivFOp>(user); div && div.getRhs() == sum->getResult(0))
            rewriter.modifyOpInPlace(div, [&] { div.setFastmath(div.getFastmath() | arith::FastMathFlags::afn); });
      rewriter.replaceOp(op, e.exp2(e.mul(op.getOperand(), e.f(log2e))));
      return success();
    }
    // Beyond the bounds the result is 0 or infinity.
    Value x = e.atMost(e.atLeast(op.getOperand(), -104), 89), t = e.mul(x, e.f(log2e));
    Value r = e.fma(x, e.f(log2e), arith::NegFOp::create(e.b, t));
    r = e.fma(x, e.f(1.925963033500011e-8), r);
    rewriter.replaceOp(op, e.mul(e.exp2(t), e.fma(r, e.f(0.6931471805599453), e.f(1))));
    return success();
  }
};

/// Below 0.9, erf x = x + x P(x^2); from there on it is 1 - 2^Q(|x|). Both are computed. Error below 2 units in the last place.
struct ExpandErf : Pattern<math::ErfOp> {
  using Pattern::Pattern;
  LogicalResult matchAndRewrite(math::ErfOp op, PatternRewriter &rewriter) const override {
    if (!isF32(op))
      return failure();
    Expansion e(op, rewriter);
    Value x = op.getOperand();
    Value p = e.polynomial(e.mul(x, x), {-0.0006090354846883119, 0.005011961756232235, -0.026778908117934548, 0.11282140785780188,
                                         -0.37612523272725973, 0.1283791537959842});
    // Falls to -infinity behind the range that it was fitted to, which ends at 4.1.
    Value q = e.polynomial(e.abs(x), {-2.9067224600105605e-05, 0.0006111416386223736, -0.005942511647649924, 0.036044368193286956,
                                      -0.15591715009053966, -0.9139932331047074, -1.6294157278820087, 0.00022548420197232433});
    Value far = arith::SubFOp::create(e.b, e.f(1), e.exp2(q));
    rewriter.replaceOp(op, e.byRange(x, 0.9, e.fma(x, p, x), far));
    return success();
  }
};

/// x / 2 (1 + erf(x / sqrt 2)) = max(x, 0) - |x| / 2 erfc(|x| / sqrt 2), and half of that erfc is 2^(|x| P(|x|) - 1): no range where
/// digits cancel, and so one polynomial for all. It was fitted to |x| < 5.5, from where on it falls on. The relative error is 3e-7
/// of positive numbers, and below 1.5e-6 down to -4; what else there is is below 1e-9. Results that are rounded to 16 bits at
/// once have a shorter polynomial, with ten times that.
struct ExpandGelu : OpRewritePattern<math::ErfOp> {
  explicit ExpandGelu(MLIRContext *ctx) : OpRewritePattern(ctx, /*benefit=*/20) {}
  LogicalResult matchAndRewrite(math::ErfOp op, PatternRewriter &rewriter) const override {
    Value x = beside<arith::MulFOp>(op.getOperand(), 0.70710678118654752440);
    if (!x || !getElementTypeOrSelf(op.getType()).isF32() || !op->hasOneUse())
      return failure();
    auto sum = dyn_cast<arith::AddFOp>(*op->user_begin());
    if (!sum || !beside<arith::AddFOp>(sum, 1) || !sum->hasOneUse())
      return failure();
    auto product = dyn_cast<arith::MulFOp>(*sum->user_begin());
    if (!product || beside<arith::MulFOp>(product.getLhs() == sum ? product.getRhs() : product.getLhs(), 0.5) != x)
      return failure();
    rewriter.setInsertionPoint(product);
    Expansion e(product, rewriter);
    // The bound makes a number of what infinity is multiplied with 0.
    Value size = e.atMost(e.abs(x), 10);
    bool isNarrow = llvm::all_of(product->getUsers(), [](Operation *user) {
      return isa<arith::TruncFOp>(user) && getElementTypeOrSelf(user->getResult(0).getType()).getIntOrFloatBitWidth() <= 16;
    });
    Value q = isNarrow ? e.polynomial(size, {3.169641415020175e-05, -0.0007409762569736731, 0.007917063331896925, -0.05302156436956077,
                                             -0.45916779400316715, -1.151059886499521})
                       : e.polynomial(size, {-2.7319020860849793e-08, 8.003654921812997e-07, -1.0140587545869441e-05, 7.054471733479694e-05,
                                             -0.0002558086615513475, -5.6042078177564966e-05, 0.007022338573736958, -0.052495952967278305,
                                             -0.4592022559411821, -1.1511062801285656});
    Value tail = e.exp2(e.fma(size, q, e.f(-1)));
    rewriter.replaceOp(product, e.fma(arith::NegFOp::create(e.b, size), tail, e.atLeast(x, 0)));
    rewriter.eraseOp(sum);
    rewriter.eraseOp(op);
    return success();
  }
};

/// Below 0.65, tanh x = x + x^3 P(x^2); from there on it is 1 - 2 / (1 + e^2|x|). Both are computed, with a relative error below
/// 2e-7. 1 + tanh x is 2 / (1 + e^-2x).
struct ExpandTanh : Pattern<math::TanhOp> {
  using Pattern::Pattern;
  LogicalResult matchAndRewrite(math::TanhOp op, PatternRewriter &rewriter) const override {
    if (!isF32(op))
      return failure();
    Expansion e(op, rewriter);
    Value x = op.getOperand();
    constexpr double twoLog2e = 2.8853900817779268;
    if (op->hasOneUse())
      if (auto sum = dyn_cast<arith::AddFOp>(*op->user_begin()); sum && beside<arith::AddFOp>(sum, 1)) {
        Value whole = e.mul(e.f(2), e.reciprocal(e.add(e.exp2(e.mul(x, e.f(-twoLog2e))), e.f(1))));
        rewriter.replaceOp(sum, whole);
        rewriter.eraseOp(op);
        return success();
      }
    Value t = e.mul(x, x);
    Value p = e.polynomial(t, {-0.005515160858810384, 0.020469417083993278, -0.053688022222933285, 0.13330830334649493,
                               -0.33333259847685415});
    Value r = e.reciprocal(e.add(e.exp2(e.mul(e.abs(x), e.f(twoLog2e))), e.f(1)));
    rewriter.replaceOp(op, e.byRange(x, 0.65, e.fma(e.mul(x, t), p, x), e.fma(e.f(-2), r, e.f(1))));
    return success();
  }
};

/// log(1 + y) of y = e^-|x|, which is in [0, 1] (softplus, Mish), is y + y P(y), with a relative error of 1.3e-7. Before other expansions
/// hide where y comes from.
void expandSoftplus(math::Log1pOp op) {
  auto exp = op.getOperand().getDefiningOp<math::ExpOp>();
  auto negative = exp ? exp.getOperand().getDefiningOp<arith::NegFOp>() : nullptr;
  if (!negative || !negative.getOperand().getDefiningOp<math::AbsFOp>() || !getElementTypeOrSelf(op.getType()).isF32())
    return;
  OpBuilder builder(op);
  Expansion e(op, builder);
  Value y = exp;
  Value p = e.polynomial(y, {0.005232674982869055, -0.029505160511869927, 0.07822582144322832, -0.13663234299502444, 0.1910600101428671,
                             -0.24842980592177627, 0.33319096566421685, -0.4999949312451239, -3.012348659403585e-08});
  op.replaceAllUsesWith(e.fma(y, p, y));
  op.erase();
}

} // namespace

void useInstructions(ModuleOp kernels) {
  auto call = [](OpBuilder &b, Location loc, StringRef name, Value x) {
    return LLVM::CallIntrinsicOp::create(b, loc, x.getType(), b.getStringAttr(name), x).getResult(0);
  };
  kernels.walk([&](Operation *op) {
    if (!op->getNumResults() || !op->getResult(0).getType().isF32())
      return;
    OpBuilder b(op);
    Location loc = op->getLoc();
    if (auto exp2 = dyn_cast<math::Exp2Op>(op)) {
      exp2.replaceAllUsesWith(call(b, loc, "llvm.nvvm.ex2.approx.ftz.f32", exp2.getOperand()));
      exp2.erase();
    } else if (auto div = dyn_cast<arith::DivFOp>(op); div && bitEnumContainsAll(div.getFastmath(), arith::FastMathFlags::afn)) {
      Value inverse = call(b, loc, "llvm.nvvm.rcp.approx.ftz.f", div.getRhs());
      div.replaceAllUsesWith(isConstant(div.getLhs(), 1) ? inverse : Value(arith::MulFOp::create(b, loc, div.getLhs(), inverse)));
      div.erase();
    }
  });
}

LogicalResult expandScalarMath(ModuleOp kernels) {
  RewritePatternSet patterns(kernels.getContext());
  patterns.add<ExpandExp, ExpandErf, ExpandGelu, ExpandTanh>(kernels.getContext());
  math::populateExpansionPatterns(patterns, {"tan", "sinh", "cosh", "asinh", "acosh", "atanh", "powf", "round", "rsqrt"});
  populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) { return name != "math.exp2"; });
  kernels.walk([](math::Log1pOp op) { expandSoftplus(op); });
  SmallVector<Operation *> ops;
  kernels.walk([&](Operation *op) {
    if (isa<math::MathDialect>(op->getDialect()) && isExpanded(op))
      ops.push_back(op);
  });
  GreedyRewriteConfig config;
  config.setStrictness(GreedyRewriteStrictness::ExistingAndNewOps);
  return applyOpPatternsGreedily(ops, std::move(patterns), config);
}

} // namespace nnopt::cuda
