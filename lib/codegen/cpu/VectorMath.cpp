//===- VectorMath.cpp - math functions on vectors ---------------------------===//

#include "lib/codegen/cpu/VectorMath.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// What the expansions of exponential functions share: the type, constants, polynomials and powers of two.
struct Expansion {
  const Target &target;
  ImplicitLocOpBuilder b;
  VectorType type, ints; // of f32, and of as many i32

  Expansion(const Target &target, Operation *op, PatternRewriter &rewriter, VectorType type)
      : target(target), b(op->getLoc(), rewriter), type(type),
        ints(VectorType::get(type.getShape(), rewriter.getI32Type())) {}

  Value f(double v) { return arith::ConstantOp::create(b, DenseElementsAttr::get(type, float(v))); }
  Value i(int32_t v) { return arith::ConstantOp::create(b, DenseElementsAttr::get(ints, v)); }
  Value isBelow(Value x, double bound) {
    return arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, f(bound));
  }
  /// The larger (smaller) of x and a bound; NaN stays NaN. One instruction on x86.
  Value atLeast(Value x, double bound) { return arith::SelectOp::create(b, isBelow(x, bound), f(bound), x); }
  Value atMost(Value x, double bound) {
    Value above = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, f(bound));
    return arith::SelectOp::create(b, above, f(bound), x);
  }
  Value polynomial(Value r, ArrayRef<double> coefficients) {
    Value q = f(coefficients.front());
    for (double c : coefficients.drop_front())
      q = vector::FMAOp::create(b, q, r, f(c));
    return q;
  }

  bool hasWide() const {
    int64_t lanes = type.getNumElements();
    return target.avx512 && (lanes == 16 || lanes == 8 || lanes == 4);
  }
  /// An AVX-512 instruction `name` in its masked form, all lanes on.
  Value wide(StringRef name, SmallVector<Value> args, Value passThrough) {
    int64_t lanes = type.getNumElements();
    // Masks have at least 8 bits.
    Type maskType = b.getIntegerType(std::max<int64_t>(8, lanes));
    args.append({passThrough, arith::ConstantOp::create(b, b.getIntegerAttr(maskType, -1))});
    if (lanes == 16) // rounding: as the current mode says
      args.push_back(arith::ConstantOp::create(b, b.getI32IntegerAttr(4)));
    std::string full = ("llvm.x86.avx512.mask." + name + ".ps." + Twine(lanes * 32)).str();
    return LLVM::CallIntrinsicOp::create(b, type, b.getStringAttr(full), args).getResults();
  }

  /// v * 2^floor(k) for k in [-126, 130]; with AVX-512 for any k.
  Value scale(Value v, Value k) {
    if (hasWide())
      return wide("scalef", {v, k}, v);
    // Two factors, as one power of two may be out of range while the product is not.
    Value exponent = arith::FPToSIOp::create(b, ints, k);
    Value half = arith::ShRSIOp::create(b, exponent, i(1));
    Value rest = arith::SubIOp::create(b, exponent, half);
    for (Value part : {half, rest}) {
      Value bits = arith::ShLIOp::create(b, arith::AddIOp::create(b, part, i(127)), i(23));
      v = arith::MulFOp::create(b, v, arith::BitcastOp::create(b, type, bits));
    }
    return v;
  }
  /// v, and 0 where x is below the bound: what would be denormal there. Masked softmax rows are full of such
  /// elements, and each would cost some CPUs a microcode assist of over 100 cycles.
  Value zeroBelow(Value x, double bound, Value v) {
    return arith::SelectOp::create(b, isBelow(x, bound), f(0), v);
  }
};

template <typename Op> struct VectorPattern : OpRewritePattern<Op> {
  VectorPattern(MLIRContext *ctx, const Target &target)
      : OpRewritePattern<Op>(ctx, /*benefit=*/10), target(target) {}
  const Target &target;

  static VectorType matchType(Op op) {
    auto type = dyn_cast<VectorType>(op.getType());
    return type && type.getRank() == 1 && type.getElementType().isF32() ? type : nullptr;
  }
};

/// Whether 1 is added to all that an exponential is used for: in sigmoid and SiLU.
static bool isLogistic(math::ExpOp op) {
  return llvm::all_of(op->getUsers(), [&](Operation *user) {
    auto add = dyn_cast<arith::AddFOp>(user);
    if (!add)
      return false;
    Value other = add.getLhs() == op.getResult() ? add.getRhs() : add.getLhs();
    return matchPattern(other, m_OneFloat());
  });
}

/// e^x = 2^k e^r with k = round(x / ln 2), r = x - k ln 2 in [-ln 2 / 2, ln 2 / 2]. e^r is
/// 1 + r + r^2 q(r), with q fitted to the smallest relative error (3.1e-9) over that range.
struct ExpandExp : VectorPattern<math::ExpOp> {
  using VectorPattern::VectorPattern;

  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    VectorType type = matchType(op);
    if (!type)
      return failure();
    Expansion e(target, op, rewriter, type);
    // Beside 1 the error of the product (2^-24 |x|, as in softmax) is less than it seems, and this is a quarter cheaper.
    if (isLogistic(op)) {
      Value scaled = arith::MulFOp::create(e.b, op.getOperand(), e.f(1.4426950408889634));
      rewriter.replaceOpWithNewOp<math::Exp2Op>(op, scaled);
      return success();
    }
    constexpr double low = -87.33654; // ln(2^-126)
    // Above the upper bound the result rounds to infinity.
    Value x = e.atMost(op.getOperand(), 90);
    if (!e.hasWide())
      x = e.atLeast(x, low);
    Value k = math::RoundEvenOp::create(e.b, arith::MulFOp::create(e.b, x, e.f(1.4426950408889634)));
    // ln 2 in two parts, the first with so few digits that its product with k is exact.
    Value r = vector::FMAOp::create(e.b, k, e.f(-0.693359375), x);
    r = vector::FMAOp::create(e.b, k, e.f(2.12194440e-4), r);
    Value q = e.polynomial(
        r, {0.0013814583653584123, 0.008368724025785923, 0.04166838899254799, 0.1666652113199234, 0.4999999403953552, 1.0, 1.0});
    rewriter.replaceOp(op, e.zeroBelow(op.getOperand(), low, e.scale(q, k)));
    return success();
  }
};

/// 2^x = 2^k 2^r with k = floor(x), r in [0, 1). 2^r is a polynomial of the smallest relative error (7.5e-8).
/// The reduction is exact, so that this is the cheapest exponential: softmax multiplies its shifted scores by
/// log2 e (where the error of the product, 2^-24 |x|, only meets results that are small beside the sum).
struct ExpandExp2 : VectorPattern<math::Exp2Op> {
  using VectorPattern::VectorPattern;

  LogicalResult matchAndRewrite(math::Exp2Op op, PatternRewriter &rewriter) const override {
    VectorType type = matchType(op);
    if (!type)
      return failure();
    Expansion e(target, op, rewriter, type);
    Value x = op.getOperand(), k = x, r;
    if (e.hasWide()) {
      // x - floor(x), and 0 for infinities; scalef does the floor of its exponent by itself.
      Value floor = arith::ConstantOp::create(e.b, e.b.getI32IntegerAttr(9));
      r = e.wide("reduce", {x, floor}, x);
    } else {
      x = e.atLeast(e.atMost(x, 129), -126);
      k = math::FloorOp::create(e.b, x);
      r = arith::SubFOp::create(e.b, x, k);
    }
    Value q = e.polynomial(r, {0.0018775766831946586, 0.008989340141546868, 0.05582631793489208, 0.24015361712230454,
                               0.693153073182401, 0.99999992506455});
    rewriter.replaceOp(op, e.zeroBelow(op.getOperand(), -126, e.scale(q, k)));
    return success();
  }
};

/// erf(x) = x P(x^2) / Q(x^2) for |x| <= 3.92, fitted to the smallest relative error (1.9e-8, 3.4e-7 with the rounding
/// of its evaluation). At the bound it evaluates to 1, as everything beyond. No pieces, whose coefficients would have
/// to be selected: this stands in epilogues, where registers are full of sums.
struct ExpandErf : VectorPattern<math::ErfOp> {
  using VectorPattern::VectorPattern;

  LogicalResult matchAndRewrite(math::ErfOp op, PatternRewriter &rewriter) const override {
    VectorType type = matchType(op);
    if (!type)
      return failure();
    Expansion e(target, op, rewriter, type);
    constexpr double bound = 3.9199998;
    Value x = e.atLeast(e.atMost(op.getOperand(), bound), -bound), t = arith::MulFOp::create(e.b, x, x);
    Value p = e.polynomial(t, {2.050081548077287e-06, 0.0002848841540981084, 0.0037656687200069427,
                               0.05274888500571251, 0.1904076337814331, 1.1283791065216064});
    Value q = e.polynomial(t, {3.809172994806431e-05, 0.0011625485494732857, 0.01496932003647089,
                               0.1141095981001854, 0.5020771026611328, 1.0});
    rewriter.replaceOpWithNewOp<arith::DivFOp>(op, arith::MulFOp::create(e.b, x, p), q);
    return success();
  }
};

/// log x = k ln 2 + log m with x = 2^k m and m in [sqrt(1/2), sqrt 2): k and m are cut out of the bits of x. With
/// r = m - 1, log m is r - r^2 / 2 + r^3 q(r), q fitted to the smallest relative error of log m (5.8e-9). Upstream's
/// expansion takes denormals for the smallest normal number.
struct ExpandLog : VectorPattern<math::LogOp> {
  using VectorPattern::VectorPattern;

  LogicalResult matchAndRewrite(math::LogOp op, PatternRewriter &rewriter) const override {
    VectorType type = matchType(op);
    if (!type)
      return failure();
    Expansion e(target, op, rewriter, type);
    ImplicitLocOpBuilder &b = e.b;
    auto bitsOf = [&](Value v) -> Value { return arith::BitcastOp::create(b, e.ints, v); };
    constexpr double inf = std::numeric_limits<double>::infinity();
    // The bits of a denormal, as an integer, are that number times 2^149.
    Value x = op.getOperand(), denormal = e.isBelow(x, 0x1p-126);
    Value normal = arith::SelectOp::create(b, denormal, arith::SIToFPOp::create(b, type, bitsOf(x)), x);
    Value bits = bitsOf(normal);
    constexpr int32_t rootHalf = 0x3f3504f3; // sqrt(1/2)
    Value exponent = arith::ShRSIOp::create(b, arith::SubIOp::create(b, bits, e.i(rootHalf)), e.i(23));
    Value m = arith::BitcastOp::create(b, type, arith::SubIOp::create(b, bits, arith::ShLIOp::create(b, exponent, e.i(23))));
    Value shift = arith::SelectOp::create(b, denormal, e.i(-149), e.i(0));
    Value k = arith::SIToFPOp::create(b, type, arith::AddIOp::create(b, exponent, shift));
    Value r = arith::SubFOp::create(b, m, e.f(1)), square = arith::MulFOp::create(b, r, r);
    Value q = e.polynomial(r, {-0.07634497433900833, 0.1276157796382904, -0.13160182535648346, 0.14201757311820984,
                               -0.16623356938362122, 0.20001226663589478, -0.2500081956386566, 0.3333333134651184});
    Value rest = vector::FMAOp::create(b, square, e.f(-0.5), arith::MulFOp::create(b, arith::MulFOp::create(b, square, r), q));
    // ln 2 in two parts, the first with so few digits that its product with k is exact.
    rest = vector::FMAOp::create(b, k, e.f(-2.12194440e-4), rest);
    Value log = vector::FMAOp::create(b, k, e.f(0.693359375), arith::AddFOp::create(b, r, rest));
    // Infinity and NaN are their own logarithms.
    log = arith::SelectOp::create(b, arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, e.f(inf)), log, x);
    Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, e.f(0));
    Value outside = arith::SelectOp::create(b, isZero, e.f(-inf), e.f(std::numeric_limits<double>::quiet_NaN()));
    Value isOutside = arith::CmpFOp::create(b, arith::CmpFPredicate::OLE, x, e.f(0));
    rewriter.replaceOpWithNewOp<arith::SelectOp>(op, isOutside, outside, log);
    return success();
  }
};

/// sin and cos by octants: r = x - k pi / 2 with k = round(x 2 / pi) is in [-pi / 4, pi / 4], where sin r is
/// r + r^3 s(r^2) and cos r is 1 - r^2 / 2 + r^4 c(r^2), fitted to the smallest relative error (3.8e-9). pi / 2 is a sum of
/// three numbers of 24 bits (Cody and Waite); the first product and difference are exact, with fused operations. That
/// holds up to about 1e5: where a lane is beyond, all lanes are left to libm, in f64.
template <typename Op> struct ExpandSinCos : VectorPattern<Op> {
  using VectorPattern<Op>::VectorPattern;
  static constexpr bool isCos = std::is_same_v<Op, math::CosOp>;

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    VectorType type = this->matchType(op);
    if (!type)
      return failure();
    Expansion e(this->target, op, rewriter, type);
    ImplicitLocOpBuilder &b = e.b;
    Value x = op.getOperand();
    // Infinities and NaN too are not small.
    Value small = arith::CmpFOp::create(b, arith::CmpFPredicate::OLE, math::AbsFOp::create(b, x), e.f(1e5));
    Value allSmall = vector::ReductionOp::create(b, vector::CombiningKind::AND, small);
    auto branch = scf::IfOp::create(b, TypeRange(type), allSmall, /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(branch.thenBlock());
      scf::YieldOp::create(b, octants(e, x));
      b.setInsertionPointToStart(branch.elseBlock());
      scf::YieldOp::create(b, exactly(b, x, type));
    }
    rewriter.replaceOp(op, branch.getResults());
    return success();
  }

  Value octants(Expansion &e, Value x) const {
    ImplicitLocOpBuilder &b = e.b;
    Value k = math::RoundEvenOp::create(b, arith::MulFOp::create(b, x, e.f(0.6366197723675814))), r = x;
    for (double part : {1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15})
      r = vector::FMAOp::create(b, k, e.f(-part), r);
    Value t = arith::MulFOp::create(b, r, r);
    Value s = e.polynomial(t, {-0.00019514957659103827, 0.00833215840990112, -0.16666654573140535});
    s = vector::FMAOp::create(b, arith::MulFOp::create(b, r, t), s, r);
    Value v = e.polynomial(t, {2.443278509622012e-05, -0.0013887313062728862, 0.041666645618799215, -0.5, 1.0});
    Value quadrant = arith::FPToSIOp::create(b, e.ints, k);
    if (isCos)
      quadrant = arith::AddIOp::create(b, quadrant, e.i(1));
    Value isOdd = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, arith::AndIOp::create(b, quadrant, e.i(1)), e.i(0));
    Value sign = arith::ShLIOp::create(b, arith::AndIOp::create(b, quadrant, e.i(2)), e.i(30));
    Value bits = arith::BitcastOp::create(b, e.ints, arith::SelectOp::create(b, isOdd, v, s));
    return arith::BitcastOp::create(b, e.type, arith::XOrIOp::create(b, bits, sign));
  }

  Value exactly(ImplicitLocOpBuilder &b, Value x, VectorType type) const {
    Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
    auto loop = scf::ForOp::create(b, zero, arith::ConstantIndexOp::create(b, type.getNumElements()), one, ValueRange{x});
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value i = loop.getInductionVar(), v = loop.getRegionIterArg(0);
    Value lane = vector::ExtractOp::create(b, v, OpFoldResult(i));
    lane = Op::create(b, arith::ExtFOp::create(b, b.getF64Type(), lane));
    lane = arith::TruncFOp::create(b, b.getF32Type(), lane);
    scf::YieldOp::create(b, vector::InsertOp::create(b, lane, v, OpFoldResult(i)).getResult());
    return loop.getResult(0);
  }
};

} // namespace

void populateVectorMathPatterns(RewritePatternSet &patterns, const Target &target) {
  patterns.add<ExpandExp, ExpandExp2, ExpandErf, ExpandLog, ExpandSinCos<math::SinOp>, ExpandSinCos<math::CosOp>>(patterns.getContext(), target);
}

} // namespace nnopt::cpu
