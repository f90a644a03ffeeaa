//===- ChannelMoments.cpp - what is known of a value's channels -----------===//
#include "passes/common/ChannelMoments.h"
#include <cmath>

using namespace mlir;

namespace nnopt {

constexpr StringLiteral kMean = "channel_mean", kDeviation = "channel_deviation";

std::optional<ChannelMoments> momentsOf(Operation *op) {
  auto mean = op->getAttrOfType<DenseF64ArrayAttr>(kMean),
       deviation = op->getAttrOfType<DenseF64ArrayAttr>(kDeviation);
  if (!mean || !deviation || mean.size() != deviation.size())
    return std::nullopt;
  return ChannelMoments{std::vector<double>(mean.asArrayRef()),
                        std::vector<double>(deviation.asArrayRef())};
}

void setMoments(Operation *op, const ChannelMoments &moments) {
  Builder builder(op->getContext());
  op->setAttr(kMean, builder.getDenseF64ArrayAttr(moments.mean));
  op->setAttr(kDeviation, builder.getDenseF64ArrayAttr(moments.deviation));
}

void removeMoments(Operation *op) {
  op->removeAttr(kMean);
  op->removeAttr(kDeviation);
}

void scaleMoments(Operation *op, ArrayRef<double> scales) {
  std::optional<ChannelMoments> moments = momentsOf(op);
  if (!moments)
    return;
  for (auto [c, s] : llvm::enumerate(scales)) {
    moments->mean[c] *= s;
    moments->deviation[c] *= std::fabs(s);
  }
  setMoments(op, *moments);
}

} // namespace nnopt
