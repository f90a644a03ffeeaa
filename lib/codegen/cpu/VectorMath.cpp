//===- VectorMath.cpp - math functions on vectors ---------------------------===//

#include "lib/codegen/cpu/VectorMath.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// e^x = 2^k e^r with k = round(x / ln 2), r = x - k ln 2 in [-ln 2 / 2, ln 2 / 2]. e^r is
/// 1 + r + r^2 q(r), with q fitted to the smallest relative error (3.1e-9) over that range.
struct ExpandExp : OpRewritePattern<math::ExpOp> {
  ExpandExp(MLIRContext *ctx, const Target &target) : OpRewritePattern(ctx, /*benefit=*/10), target(target) {}
  const Target &target;

  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    auto type = dyn_cast<VectorType>(op.getType());
    if (!type || type.getRank() != 1 || !type.getElementType().isF32())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto f = [&](double v) -> Value {
      return arith::ConstantOp::create(b, DenseElementsAttr::get(type, float(v)));
    };
    // Written so that NaN passes both bounds. Above the upper one the result rounds to infinity.
    // Below the lower one, ln(2^-126), it would be denormal and is 0 instead: masked softmax rows
    // are full of such elements, and each would cost a microcode assist of over 100 cycles.
    Value x = op.getOperand();
    Value tooLow = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, f(-87.33654));
    x = arith::SelectOp::create(b, tooLow, f(-87.33654), x);
    Value tooHigh = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, f(90));
    x = arith::SelectOp::create(b, tooHigh, f(90), x);

    Value k = math::RoundEvenOp::create(b, arith::MulFOp::create(b, x, f(1.4426950408889634)));
    // ln 2 in two parts, the first with so few digits that its product with k is exact.
    Value r = vector::FMAOp::create(b, k, f(-0.693359375), x);
    r = vector::FMAOp::create(b, k, f(2.12194440e-4), r);
    Value q = f(0.0013814583653584123);
    for (double c : {0.008368724025785923, 0.04166838899254799, 0.1666652113199234, 0.4999999403953552, 1.0, 1.0})
      q = vector::FMAOp::create(b, q, r, f(c));
    rewriter.replaceOp(op, arith::SelectOp::create(b, tooLow, f(0), scale(b, type, q, k)).getResult());
    return success();
  }

  /// v * 2^k for integral k in [-126, 130].
  Value scale(ImplicitLocOpBuilder &b, VectorType type, Value v, Value k) const {
    int64_t lanes = type.getNumElements();
    if (target.avx512 && (lanes == 16 || lanes == 8 || lanes == 4)) {
      std::string name = "llvm.x86.avx512.mask.scalef.ps." + std::to_string(lanes * 32);
      // Masks have at least 8 bits.
      Type maskType = b.getIntegerType(std::max<int64_t>(8, lanes));
      Value mask = arith::ConstantOp::create(b, b.getIntegerAttr(maskType, -1));
      SmallVector<Value> args = {v, k, v, mask};
      if (lanes == 16) // rounding: as the current mode says
        args.push_back(arith::ConstantOp::create(b, b.getI32IntegerAttr(4)));
      return LLVM::CallIntrinsicOp::create(b, type, b.getStringAttr(name), args).getResults();
    }
    // Two factors, as one power of two may be out of range while the product is not.
    auto ints = VectorType::get(type.getShape(), b.getI32Type());
    auto c = [&](int32_t n) -> Value { return arith::ConstantOp::create(b, DenseElementsAttr::get(ints, n)); };
    Value exponent = arith::FPToSIOp::create(b, ints, k);
    Value half = arith::ShRSIOp::create(b, exponent, c(1));
    Value rest = arith::SubIOp::create(b, exponent, half);
    for (Value part : {half, rest}) {
      Value bits = arith::ShLIOp::create(b, arith::AddIOp::create(b, part, c(127)), c(23));
      v = arith::MulFOp::create(b, v, arith::BitcastOp::create(b, type, bits));
    }
    return v;
  }
};

} // namespace

void populateVectorMathPatterns(RewritePatternSet &patterns, const Target &target) {
  patterns.add<ExpandExp>(patterns.getContext(), target);
}

} // namespace nnopt::cpu
