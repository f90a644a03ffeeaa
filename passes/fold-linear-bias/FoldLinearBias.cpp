//===- FoldLinearBias.cpp - constant scale and shift into contractions ----===//
#include "passes/Passes.h"
#include "passes/common/ChannelFold.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FOLDLINEARBIAS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "fold-linear-bias";

//===----------------------------------------------------------------------===//
// Numbers that multiply an operand of a matrix product of variables: (s a) b = s (a b)
//===----------------------------------------------------------------------===//

/// The scaled operand of a matrix product: `scaling` computes x times or over a number; operations
/// that only move elements may stand between.
struct ScaledOperand {
  Operation *scaling;
  Value x;
  double factor;
};

static std::optional<ScaledOperand> findScaledOperand(Value v) {
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
    Value x = op->getOperand(1 - i);
    // A linear operation takes the factor itself.
    if (x.getType() != v.getType() || isa_and_nonnull<nn::LinearOp>(x.getDefiningOp()))
      return std::nullopt;
    return ScaledOperand{op, x, divides ? 1 / *number : *number};
  }
  return std::nullopt;
}

/// Moves the factors of both operands behind a matrix product, where the elementwise operation can
/// join its epilogue. A bias would be scaled with the result.
static int64_t pullScales(nn::MatMulOp matmul, IRRewriter &rewriter) {
  Type type = elementTypeOf(matmul.getResult());
  if ((!type.isF32() && !type.isF64()) || !matmul.getEpilogue().empty() || matmul.getBias() ||
      isConstant(matmul.getB()))
    return 0;
  double factor = 1;
  SmallVector<Operation *> scalings;
  for (OpOperand *operand : {&matmul.getAMutable(), &matmul.getBMutable()})
    if (auto scaled = findScaledOperand(operand->get())) {
      factor *= scaled->factor;
      scalings.push_back(scaled->scaling);
      rewriter.replaceAllUsesWith(scaled->scaling->getResult(0), scaled->x);
    }
  if (scalings.empty())
    return 0;
  SmallVector<Operation *> all = scalings;
  all.push_back(matmul);
  Location loc = fusedLoc(all);
  rewriter.setInsertionPointAfter(matmul);
  Value number = makeNumbersOp(rewriter, loc, type, {}, {factor}, "scale");
  auto mul = nn::MulOp::create(rewriter, loc, matmul.getType(), matmul.getResult(), number);
  rewriter.replaceAllUsesExcept(matmul.getResult(), mul, mul);
  for (Operation *op : scalings)
    rewriter.eraseOp(op);
  passedRemark(loc, kPass, "pulled") << remark::add("a factor of an operand");
  return scalings.size();
}

//===----------------------------------------------------------------------===//
// Maps of channels beside linear operations
//===----------------------------------------------------------------------===//

/// Whether a linear operation computes what the operation reads, or reads what it computes.
static bool isBesideLinear(Operation *op, Value x) {
  return isa_and_nonnull<nn::LinearOp>(x.getDefiningOp()) ||
         llvm::any_of(op->getUsers(), [](Operation *user) { return isa<nn::LinearOp>(user); });
}

struct FoldLinearBiasPass : impl::FoldLinearBiasBase<FoldLinearBiasPass> {
  using FoldLinearBiasBase::FoldLinearBiasBase;

  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<nn::MatMulOp> matmuls;
    getOperation().walk([&](nn::MatMulOp op) { matmuls.push_back(op); });
    for (nn::MatMulOp matmul : matmuls)
      numPulled += pullScales(matmul, rewriter);

    ChannelFolder folder(shapes, rewriter, kPass, maxBorderBytes);
    for (Operation *end : collectChains(getOperation())) {
      std::string whyNotBack, whyNotForward;
      AffineChain chain = readAffine(end->getResult(0), whyNotBack);
      if (!chain.ops.empty()) {
        whyNotBack = folder.foldBack(chain);
        if (whyNotBack.empty()) {
          ++numFolded;
          continue;
        }
        whyNotForward = folder.foldForward(chain);
        if (whyNotForward.empty()) {
          ++numForward;
          continue;
        }
      }
      Value x =
          chain.ops.empty() ? end->getOperand(isConstant(end->getOperand(0)) ? 1 : 0) : chain.x;
      if (!whyNotBack.empty() && isBesideLinear(end, x))
        missedRemark(end->getLoc(), kPass, "not-folded") << remark::reason(
            "{0}{1}{2}", whyNotBack, whyNotForward.empty() ? "" : "; ", whyNotForward);
    }
  }
};

} // namespace
} // namespace nnopt
