//===- NarrowToBf16.cpp - linear operations with bf16 operands ------------===//
#include "passes/narrow-to-bf16/NarrowToBf16.h"
#include "dialects/nn/NarrowWeights.h"
#include "dialects/nn/Precision.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_NARROWTOBF16
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "narrow-to-bf16";
/// Channels of a group below which a convolution's kernel does not multiply matrices.
constexpr int64_t leastChannels = 16;

/// Whether Winograd's algorithms take the convolution: in f32 they need a quarter of the products, bf16 half.
bool isForWinograd(nn::ConvOp op) {
  ArrayRef<int64_t> weights = shapeOf(op.getW()), result = shapeOf(op.getResult());
  if (weights.size() != 4 || weights[2] != 3 || weights[3] != 3 || op.getGroup() != 1 || weights[0] < 8 || weights[1] < 8)
    return false;
  auto isOne = [](int64_t v) { return v == 1; };
  if (!llvm::all_of(op.getStrides(), isOne) || !llvm::all_of(op.getDilations(), isOne))
    return false;
  // Images of few pixels waste its tiles, and its weights have eight times the bytes of bf16.
  size_t first = op.getChannelsLast() ? 1 : 2;
  int64_t pixels = 1;
  for (int64_t size : result.slice(first, 2))
    pixels *= ShapedType::isDynamic(size) ? 56 : size;
  return pixels >= 12 * 12;
}

} // namespace

std::string whyNotBf16(nn::LinearOp op, bool winograd) {
  auto conv = dyn_cast<nn::ConvOp>(op.getOperation());
  auto matmul = dyn_cast<nn::MatMulOp>(op.getOperation());
  if (!conv && !matmul)
    return "only convolutions and matrix products have bf16 kernels";
  if (!isPlainF32(op))
    return "it has an epilogue or is not of 32-bit floats";
  if (!isConstant(op.getWeight()) || isConstant(op.getActivation()))
    return "its weights are not constant, or its activation is";
  if (conv && winograd && isForWinograd(conv))
    return "Winograd's algorithm in f32 is faster";
  ArrayRef<int64_t> weights = shapeOf(op.getWeight());
  if (conv && conv.getGroup() > 1 && weights[1] < leastChannels)
    return "a group has few channels";
  if (matmul && (weights.size() != 2 || matmul.getTransposeA() || weights[op.getWeightOutAxis()] == 1))
    return "bf16 kernels take matrices of several columns as weights and rows as activations";
  return "";
}

namespace {

Value narrowed(RewriterBase &rewriter, Location loc, Value v) {
  Type bf16 = rewriter.getBF16Type();
  return nn::CastOp::create(rewriter, loc, untyped(bf16), v, bf16, /*saturate=*/true);
}

struct NarrowToBf16Pass : impl::NarrowToBf16Base<NarrowToBf16Pass> {
  using NarrowToBf16Base::NarrowToBf16Base;

  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<nn::LinearOp> linears;
    getOperation().walk([&](nn::LinearOp op) {
      if (!markedOnly || op->hasAttr(nn::kBf16Products))
        linears.push_back(op);
    });
    getOperation().walk([&](nn::AttentionOp op) {
      if (!markedOnly && elementTypeOf(op.getQ()).isF32())
        op->setAttr(nn::kBf16Products, rewriter.getUnitAttr());
    });
    getOperation().walk([&](Operation *op) {
      if (!markedOnly && isa<nn::LSTMOp, nn::GRUOp, nn::RNNOp>(op) && elementTypeOf(op->getOperand(0)).isF32() &&
          isConstant(op->getOperand(1)) && isConstant(op->getOperand(2)))
        op->setAttr(nn::kBf16Products, rewriter.getUnitAttr());
    });
    for (nn::LinearOp op : linears) {
      Location loc = op.getLoc();
      if (auto matmul = dyn_cast<nn::MatMulOp>(op.getOperation()); matmul && !markedOnly && nn::NarrowWeights::get(matmul))
        op->setAttr(nn::kBf16Products, rewriter.getUnitAttr());
      if (std::string why = whyNotBf16(op, winograd); !why.empty()) {
        missedRemark(loc, kPass, "not-narrowed") << remark::reason("{0}", why);
        continue;
      }
      rewriter.setInsertionPoint(op);
      nn::LinearOp copy = op.cloneWith(rewriter, loc, narrowed(rewriter, loc, op.getActivation()),
                                       narrowed(rewriter, loc, op.getWeight()), op.getBias());
      copy->removeAttr(nn::kBf16Products);
      // An epilogue that returns the f32 accumulator as it is.
      Block *block = rewriter.createBlock(&copy.getEpilogue());
      Value acc = block->addArgument(rewriter.getF32Type(), loc);
      nn::YieldOp::create(rewriter, loc, acc);
      if (failed(shapes.ctx.infer(copy)))
        return signalPassFailure();
      rewriter.replaceOp(op, copy->getResults());
      ++numNarrowed;
      passedRemark(loc, kPass, "narrowed") << remark::add("has bf16 operands");
    }
  }
};

} // namespace
} // namespace nnopt
