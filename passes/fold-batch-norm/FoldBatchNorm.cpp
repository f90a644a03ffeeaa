//===- FoldBatchNorm.cpp - batch normalization into contractions ----------===//
#include "passes/Passes.h"
#include "passes/common/Affine.h"

#include <cmath>

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FOLDBATCHNORM
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "fold-batch-norm";

/// y = scale * x + shift for each channel.
struct ChannelMap {
  std::vector<double> scale, shift;
};

/// The affine map of a batch normalization (Ioffe and Szegedy 2015, section 3.1, inference), or why
/// there is none.
static std::string readChannelMap(nn::BatchNormOp op, ChannelMap &map) {
  Type type = elementTypeOf(op.getX());
  if (!type.isF32() && !type.isF64())
    return "the element type is not f32 or f64";
  auto scale = numbersOf(op.getScale()), bias = numbersOf(op.getBias()),
       mean = numbersOf(op.getMean()), variance = numbersOf(op.getVariance());
  if (!scale || !bias || !mean || !variance)
    return "its parameters are not constant";
  double epsilon = op.getEpsilon().convertToDouble();
  size_t channels = scale->size();
  if (bias->size() != channels || mean->size() != channels || variance->size() != channels)
    return "its parameters differ in size";
  for (size_t c = 0; c < channels; ++c) {
    double v = (*variance)[c] + epsilon;
    if (!(v > 0))
      return "variance + epsilon is not positive";
    double s = (*scale)[c] / std::sqrt(v);
    map.scale.push_back(s);
    map.shift.push_back((*bias)[c] - s * (*mean)[c]);
  }
  return "";
}

static int64_t normalizedAxis(nn::BatchNormOp op) {
  return op.getChannelsLast() ? rankOf(op.getX()) - 1 : 1;
}

/// Why the map cannot go into the operation that defines x; empty when it can.
static std::string whyNotFold(nn::BatchNormOp op, const ChannelMap &map) {
  Operation *linear = op.getX().getDefiningOp();
  if (!isContraction(linear))
    return "its operand is not the result of a convolution or matrix product";
  if (!op.getX().hasOneUse())
    return "the contraction before it has other users";
  if (std::string why = whyNotAffine(linear, /*scaled=*/true); !why.empty())
    return "of the contraction before it: " + why;
  if (channelAxis(linear) != normalizedAxis(op))
    return "it normalizes a dimension that is not the output channel of the contraction";
  if (channelCount(linear) != (int64_t)map.scale.size())
    return "its parameters do not match the number of channels";
  return "";
}

/// x * scale + shift with constants that broadcast along the normalized dimension.
static Value asMulAdd(RewriterBase &rewriter, nn::BatchNormOp op, const ChannelMap &map) {
  Type type = elementTypeOf(op.getX());
  SmallVector<int64_t> shape(rankOf(op.getX()) - normalizedAxis(op), 1);
  shape[0] = map.scale.size();
  Location loc = op.getLoc();
  Value scale = makeNumbersOp(rewriter, loc, type, shape, map.scale, "scale");
  Value shift = makeNumbersOp(rewriter, loc, type, shape, map.shift, "shift");
  Value scaled = nn::MulOp::create(rewriter, loc, op.getType(), op.getX(), scale);
  return nn::AddOp::create(rewriter, loc, op.getType(), scaled, shift);
}

struct FoldBatchNormPass : impl::FoldBatchNormBase<FoldBatchNormPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<nn::BatchNormOp> norms;
    getOperation().walk([&](nn::BatchNormOp op) { norms.push_back(op); });
    for (nn::BatchNormOp op : norms) {
      ChannelMap map;
      if (std::string why = readChannelMap(op, map); !why.empty()) {
        missedRemark(op.getLoc(), kPass, "kept") << remark::reason("{0}", why);
        continue;
      }
      rewriter.setInsertionPoint(op);
      if (std::string why = whyNotFold(op, map); !why.empty()) {
        missedRemark(op.getLoc(), kPass, "not-folded") << remark::reason("{0}", why);
        rewriter.replaceOp(op, asMulAdd(rewriter, op, map));
        ++numAffine;
        continue;
      }
      Operation *linear = op.getX().getDefiningOp();
      Location loc = fusedLoc({linear, op});
      Value folded = applyAffine(rewriter, linear, map.scale, map.shift, loc);
      rewriter.replaceOp(op, folded);
      rewriter.eraseOp(linear);
      passedRemark(loc, kPass, "folded") << remark::metric("Channels", (int64_t)map.scale.size());
      ++numFolded;
    }
  }
};

} // namespace
} // namespace nnopt
