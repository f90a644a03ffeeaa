//===- FoldNormAffine.cpp - scale and shift of norms into weights ---------===//
#include "passes/Passes.h"
#include "passes/common/Affine.h"
#include "passes/common/ChannelFold.h"
#include "passes/fold-norm-affine/Centering.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FOLDNORMAFFINE
#include "passes/Passes.h.inc"

namespace {

constexpr StringLiteral kPass = "fold-norm-affine";

/// Whether `use` only moves rows, or takes some of them.
bool keepsRows(OpOperand &use) {
  Operation *op = use.getOwner();
  int64_t last = rankOf(use.get()) - 1;
  if (use.getOperandNumber() != 0 || last < 0)
    return false;
  if (auto gather = dyn_cast<nn::GatherOp>(op))
    return (int64_t)gather.getAxis() != last;
  if (auto transpose = dyn_cast<nn::TransposeOp>(op))
    return transpose.getPerm().back() == last;
  if (auto squeeze = dyn_cast<nn::SqueezeOp>(op))
    return !llvm::is_contained(squeeze.getAxes(), last);
  if (auto unsqueeze = dyn_cast<nn::UnsqueezeOp>(op))
    return !llvm::is_contained(unsqueeze.getAxes(), rankOf(unsqueeze.getResult()) - 1);
  if (auto slice = dyn_cast<nn::SliceOp>(op)) {
    auto axes = slice.getAxes() ? nn::ConstantData::get(slice.getAxes()) : std::nullopt;
    for (int64_t i = 0; axes && i < axes->size(); ++i)
      if (axes->asInt(i) == last || axes->asInt(i) == -1)
        return false;
    return axes.has_value();
  }
  if (!isa<nn::ReshapeOp, nn::FlattenOp>(op))
    return false;
  ArrayRef<int64_t> before = shapeOf(use.get()), after = shapeOf(op->getResult(0));
  return !after.empty() && before.back() == after.back();
}

/// Collects the products that use `v`; says why there is something else.
std::string collectProducts(Value v, SmallVectorImpl<nn::MatMulOp> &products) {
  for (OpOperand &use : v.getUses()) {
    Operation *user = use.getOwner();
    if (keepsRows(use)) {
      if (std::string why = collectProducts(user->getResult(0), products); !why.empty())
        return why;
      continue;
    }
    if (isa<nn::ReshapeOp, nn::FlattenOp>(user))
      return "a reshape that takes rows apart uses it";
    auto product = dyn_cast<nn::MatMulOp>(user);
    if (!product)
      return user->hasTrait<OpTrait::IsTerminator>() ? "it is an output"
                                                     : (user->getName().getStringRef() + " uses it too").str();
    Value w = product.getB();
    if (use.getOperandNumber() != 0 || product.getTransposeA() || rankOf(w) != 2 || !isConstant(w))
      return "a product uses it otherwise than as rows times constant weights";
    if (!w.hasOneUse())
      return "the weights of a product are used elsewhere too";
    if (std::string why = whyNotAffineBefore(product, /*scaled=*/true, /*shifted=*/true); !why.empty())
      return "of a product behind it: " + why;
    products.push_back(product);
  }
  return products.empty() ? "nothing uses it" : "";
}

struct FoldNormAffinePass : impl::FoldNormAffineBase<FoldNormAffinePass> {
  using FoldNormAffineBase::FoldNormAffineBase;

  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<nn::AttentionOp> attentions;
    getOperation().walk([&](nn::AttentionOp op) { attentions.push_back(op); });
    // Attention first: where queries are normalized, the scale goes into that of the normalization.
    for (nn::AttentionOp attention : attentions)
      if (std::string why = foldScale(shapes, rewriter, attention); !why.empty())
        missedRemark(attention.getLoc(), kPass, "scale-kept") << remark::reason("{0}", why);
    SmallVector<Operation *> norms;
    getOperation().walk([&](Operation *op) {
      if (isa<nn::LayerNormOp, nn::RMSNormOp>(op))
        norms.push_back(op);
    });
    for (Operation *norm : norms)
      if (std::string why = fold(rewriter, norm); !why.empty())
        missedRemark(norm->getLoc(), kPass, "not-folded") << remark::reason("{0}", why);
    while (nn::LayerNormOp norm = center ? nextUnshifted() : nn::LayerNormOp()) {
      Location loc = norm.getLoc();
      seen.insert(norm);
      int64_t count = 0;
      if (std::string why = centerStream(norm, shapes, rewriter, count); !why.empty()) {
        missedRemark(loc, kPass, "not-centered") << remark::reason("{0}", why);
        continue;
      }
      passedRemark(loc, kPass, "centered") << remark::metric("Normalizations", count);
      numCentered += count;
    }
    seen.clear();
  }

  /// layer_norms without a shift that were not looked at.
  DenseSet<Operation *> seen;
  nn::LayerNormOp nextUnshifted() {
    nn::LayerNormOp found;
    getOperation().walk([&](nn::LayerNormOp norm) {
      if (norm.getBias() || seen.contains(norm))
        return WalkResult::advance();
      found = norm;
      return WalkResult::interrupt();
    });
    return found;
  }

  /// softmax(c q k^T) = softmax((c q) k^T): the scale goes into what computes q.
  std::string foldScale(FuncShapes &shapes, IRRewriter &rewriter, nn::AttentionOp attention) {
    double scale = attention.getScale().convertToDouble();
    Type type = elementTypeOf(attention.getQ());
    if (scale == 1)
      return "";
    if (!type.isF32() && !type.isF64())
      return "the element type is not f32 or f64";
    if (!attention.getQ().hasOneUse())
      return "the queries have other users";
    ChannelFolder folder(shapes, rewriter, kPass, /*maxBorderBytes=*/0);
    ChannelMap map{ChannelMap::kNumbers, {scale}, {0}};
    if (std::string why = folder.foldInto(attention.getQ(), map, attention.getLoc()); !why.empty())
      return why;
    rewriter.modifyOpInPlace(attention, [&] { attention.setScaleAttr(rewriter.getF64FloatAttr(1)); });
    ++numScales;
    return "";
  }

  std::string fold(IRRewriter &rewriter, Operation *op) {
    auto layer = dyn_cast<nn::LayerNormOp>(op);
    auto rms = dyn_cast<nn::RMSNormOp>(op);
    Value x = op->getOperand(0), scaleValue = op->getOperand(1), biasValue = layer ? layer.getBias() : Value();
    Type type = elementTypeOf(x);
    int64_t axis = layer ? layer.getAxis() : rms.getAxis(), width = shapeOf(x).back();
    if ((!type.isF32() && !type.isF64()) || ShapedType::isDynamic(width))
      return "the element type is not f32 or f64, or the size of a row is not static";
    if (axis != rankOf(x) - 1)
      return "it normalizes over more than the last dimension";
    auto scale = vectorAlong(scaleValue, rankOf(x) - 1, rankOf(x), width);
    std::optional<std::vector<double>> shift = std::vector<double>();
    if (biasValue)
      shift = vectorAlong(biasValue, rankOf(x) - 1, rankOf(x), width);
    if (!scale || !shift)
      return "its scale or shift is not constant";
    if (!biasValue && llvm::all_of(*scale, [](double s) { return s == 1; }))
      return ""; // Nothing to fold.
    SmallVector<nn::MatMulOp> products;
    if (std::string why = collectProducts(op->getResult(0), products); !why.empty())
      return why;
    for (nn::MatMulOp product : products)
      rewriter.replaceOp(product, applyAffineBefore(rewriter, product, *scale, *shift, fusedLoc({op, product})));
    rewriter.setInsertionPoint(op);
    Value ones = makeNumbersOp(rewriter, op->getLoc(), type, {width}, std::vector<double>(width, 1), "ones");
    if (layer)
      rewriter.replaceOpWithNewOp<nn::LayerNormOp>(op, op->getResultTypes()[0], x, ones, Value(), layer.getAxisAttr(),
                                                   layer.getEpsilonAttr());
    else
      rewriter.replaceOpWithNewOp<nn::RMSNormOp>(op, op->getResultTypes()[0], x, ones, rms.getAxisAttr(),
                                                 rms.getEpsilonAttr());
    passedRemark(ones.getLoc(), kPass, "folded") << remark::metric("Products", (int64_t)products.size());
    ++numFolded;
    return "";
  }
};

} // namespace
} // namespace nnopt
