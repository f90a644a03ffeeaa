//===- ScalarMath.cpp - math functions on GPUs ------------------------------===//
//
// There is no libm on a GPU (libdevice is part of NVIDIA's toolkit, which this compiler does not need).
// Functions of f32 are polynomials, or the hardware's 2^x; f64 has roots and rounding only.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cuda/ScalarMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
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

/// e^x = 2^t (1 + r ln 2), where t is x log2(e) rounded and r what rounding lost: the hardware's 2^t has a
/// relative error of 2^-22.5 (PTX ISA, ex2.approx), and without r an error of t 2^-24 would come on top.
struct ExpandExp : OpRewritePattern<math::ExpOp> {
  explicit ExpandExp(MLIRContext *ctx) : OpRewritePattern(ctx, /*benefit=*/10) {}
  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!getElementTypeOrSelf(type).isF32())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto f = [&](double v) -> Value {
      TypedAttr attr = b.getF32FloatAttr(float(v));
      if (auto vector = dyn_cast<VectorType>(type))
        attr = DenseElementsAttr::get(vector, Attribute(attr));
      return arith::ConstantOp::create(b, attr);
    };
    // Written so that NaN passes both bounds; beyond them the result is 0 or infinity.
    Value x = op.getOperand();
    x = arith::SelectOp::create(b, arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, f(-104)), f(-104), x);
    x = arith::SelectOp::create(b, arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, f(89)), f(89), x);
    Value t = arith::MulFOp::create(b, x, f(1.44269502162933349609375));
    Value r = math::FmaOp::create(b, x, f(1.44269502162933349609375), arith::NegFOp::create(b, t));
    r = math::FmaOp::create(b, x, f(1.925963033500011e-8), r);
    Value factor = math::FmaOp::create(b, r, f(0.6931471805599453), f(1));
    rewriter.replaceOpWithNewOp<arith::MulFOp>(op, math::Exp2Op::create(b, t), factor);
    return success();
  }
};

} // namespace

LogicalResult expandScalarMath(ModuleOp kernels) {
  RewritePatternSet patterns(kernels.getContext());
  patterns.add<ExpandExp>(kernels.getContext());
  math::populateExpansionPatterns(patterns, {"tan", "sinh", "cosh", "asinh", "acosh", "atanh", "powf", "round", "rsqrt"});
  populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) { return name != "math.exp2"; });
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
