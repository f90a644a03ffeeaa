//===- Noise.cpp - ranges of values without data ----------------------------===//

#include "lib/compress/Noise.h"
#include "lib/codegen/Program.h"
#include "tools/common/hostvalue.h"
#include <cmath>

using namespace mlir;

namespace nnopt::compress {

/// Elements of a channel in a run below which they tell no deviation.
constexpr int64_t kLeastElements = 64;

MomentsByName momentsOfNormalizations(func::FuncOp func) {
  MomentsByName result;
  func.walk([&](nn::BatchNormOp op) {
    auto scale = numbersOf(op.getScale()), bias = numbersOf(op.getBias()),
         variance = numbersOf(op.getVariance());
    SmallVector<StringRef> names = nodeNames(op.getLoc());
    if (!scale || !bias || !variance || names.empty())
      return;
    ChannelMoments moments;
    for (size_t c = 0; c < scale->size(); ++c) {
      double v = std::max(double((*variance)[c]), 0.0);
      moments.mean.push_back((*bias)[c]);
      moments.deviation.push_back(std::fabs((*scale)[c]) *
                                  std::sqrt(v / (v + op.getEpsilon().convertToDouble())));
    }
    result[names.back()] = moments;
  });
  return result;
}

std::vector<std::pair<Operation *, const ChannelMoments *>> normalizedBy(func::FuncOp func, const MomentsByName &moments) {
  std::vector<std::pair<Operation *, const ChannelMoments *>> result;
  for (Operation &op : func.getBody().front()) {
    // A folded normalization is the last that a linear operation does; another one ends in an
    // addition.
    SmallVector<StringRef> names = nodeNames(op.getLoc());
    auto it = names.empty() || !isa<nn::LinearOp, nn::AddOp>(op) ? moments.end()
                                                                 : moments.find(names.back());
    if (it == moments.end() || rankOf(op.getResult(0)) < 2 ||
        !elementTypeOf(op.getResult(0)).isF32() ||
        shapeOf(op.getResult(0))[1] != int64_t(it->second.mean.size()))
      continue;
    result.push_back({&op, &it->second});
  }
  return result;
}

int64_t noteMoments(func::FuncOp func, const MomentsByName &moments) {
  auto found = normalizedBy(func, moments);
  for (auto [op, m] : found)
    setMoments(op, *m);
  return found.size();
}

void normalizeByBatch(func::FuncOp func) {
  SmallVector<Operation *> noted;
  func.walk([&](Operation *op) {
    if (momentsOf(op))
      noted.push_back(op);
  });
  if (noted.empty())
    return;
  FuncShapes shapes(func);
  if (failed(shapes.infer()))
    throw ToolError(1, "compression: shapes cannot be computed");
  IRRewriter rewriter(func.getContext(), &shapes);
  Type f32 = untyped(rewriter.getF32Type());
  for (Operation *op : noted) {
    ChannelMoments moments = *momentsOf(op);
    removeMoments(op);
    Value y = op->getResult(0);
    ArrayRef<int64_t> shape = shapeOf(y);
    int64_t elements = 1;
    SmallVector<int64_t> axes, channelShape(shape.size() - 1, 1);
    channelShape[0] = shape[1];
    for (int64_t d = 0; d < int64_t(shape.size()); ++d)
      if (d != 1) {
        axes.push_back(d);
        elements *= ShapedType::isDynamic(shape[d]) ? kNoiseSamples : shape[d];
      }
    if (elements < kLeastElements)
      continue;
    Location loc = op->getLoc();
    rewriter.setInsertionPointAfter(op);
    llvm::SmallPtrSet<Operation *, 8> made;
    auto keep = [&](Operation *added) {
      made.insert(added);
      return added->getResult(0);
    };
    auto meanOf = [&](Value v) {
      return keep(
          nn::ReduceOp::create(rewriter, loc, f32, v, Value(),
                               nn::ReduceKindAttr::get(rewriter.getContext(), nn::ReduceKind::mean),
                               rewriter.getDenseI64ArrayAttr(axes), rewriter.getBoolAttr(true)));
    };
    Value around = keep(nn::SubOp::create(rewriter, loc, f32, y, meanOf(y)));
    Value variance = meanOf(keep(nn::MulOp::create(rewriter, loc, f32, around, around)));
    Value least = makeNumbersOp(rewriter, loc, rewriter.getF32Type(), {}, {1e-12}, "epsilon");
    Value deviation = keep(nn::SqrtOp::create(
        rewriter, loc, f32, keep(nn::AddOp::create(rewriter, loc, f32, variance, least))));
    Value normal = keep(nn::DivOp::create(rewriter, loc, f32, around, deviation));
    Value scale = makeNumbersOp(rewriter, loc, rewriter.getF32Type(), channelShape,
                                moments.deviation, "deviation");
    Value shift =
        makeNumbersOp(rewriter, loc, rewriter.getF32Type(), channelShape, moments.mean, "mean");
    Value scaled = keep(nn::MulOp::create(rewriter, loc, f32, normal, scale));
    Value result = keep(nn::AddOp::create(rewriter, loc, f32, scaled, shift));
    rewriter.replaceUsesWithIf(y, result,
                               [&](OpOperand &use) { return !made.contains(use.getOwner()); });
  }
}

} // namespace nnopt::compress
