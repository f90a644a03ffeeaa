//===- Quantizations.cpp - nn.quantize ahead of integer kernels -----------===//
#include "passes/raise-quantized/Quantizations.h"
#include "passes/common/Movement.h"

using namespace mlir;

namespace nnopt {

Value shapedConstant(Value v) {
  while (isa_and_nonnull<nn::SqueezeOp, nn::UnsqueezeOp, nn::ReshapeOp, nn::FlattenOp>(v ? v.getDefiningOp() : nullptr))
    v = v.getDefiningOp()->getOperand(0);
  return isConstant(v) ? v : Value();
}

std::optional<double> quantizationScale(nn::QuantizeOp quantize) {
  Type f32 = Float32Type::get(quantize.getContext());
  Value constant = shapedConstant(quantize.getScale());
  std::optional<double> scale = constant ? scalarOf(constant) : std::nullopt;
  if (!scale || !(*scale > 0) || std::isinf(*scale) || !isa<IntegerType>(quantize.getTo()) ||
      elementTypeOf(quantize.getScale()) != f32 || quantize.getPrecision().value_or(f32) != f32)
    return std::nullopt;
  return scale;
}

std::optional<Interval> clampOf(Operation *op) {
  if (isa_and_nonnull<nn::ReluOp>(op))
    return Interval{0, INFINITY};
  auto clip = dyn_cast_or_null<nn::ClipOp>(op);
  std::optional<double> lo = clip ? scalarOf(clip.getLo()) : std::nullopt, hi = clip ? scalarOf(clip.getHi()) : std::nullopt;
  return lo && hi && *lo <= *hi ? std::optional(Interval{*lo, *hi}) : std::nullopt;
}

void dropRepeatedClamps(nn::QuantizeOp quantize, RewriterBase &rewriter) {
  std::optional<double> scale = quantizationScale(quantize);
  std::optional<double> zero = quantize.getZeroPoint() ? scalarOf(quantize.getZeroPoint()) : 0.0;
  Type type = quantize.getTo();
  if (!scale || !zero || !type.isInteger(8) || !quantize.getSaturate())
    return;
  double highest = type.isUnsignedInteger() ? 255 : 127, lowest = highest - 255;
  while (quantize.getX().hasOneUse()) {
    Operation *clamp = quantize.getX().getDefiningOp();
    std::optional<Interval> bounds = clampOf(clamp);
    auto integer = [&](double bound) { return std::nearbyint(bound / *scale) + *zero; };
    if (!bounds || !(integer(bounds->lo) <= lowest) || !(integer(bounds->hi) >= highest))
      return;
    rewriter.modifyOpInPlace(quantize, [&] { quantize.getXMutable().assign(clamp->getOperand(0)); });
    rewriter.eraseOp(clamp);
  }
}

void multiplyByInverse(nn::QuantizeOp quantize, RewriterBase &rewriter) {
  std::optional<double> scale = quantizationScale(quantize);
  SmallVector<Value> work{quantize.getResult()};
  bool forIntegers = false;
  for (size_t i = 0; i < work.size() && !forIntegers; ++i)
    for (Operation *user : work[i].getUsers()) {
      forIntegers |= isa<nn::LinearOp>(user);
      if (!movedOperands(user).empty())
        work.push_back(user->getResult(0));
    }
  if (!scale || *scale == 1 || !forIntegers || !elementTypeOf(quantize.getX()).isF32())
    return;
  Location loc = quantize.getLoc();
  Type f32 = rewriter.getF32Type();
  rewriter.setInsertionPoint(quantize);
  Value scaled = nn::MulOp::create(rewriter, loc, untyped(f32), quantize.getX(),
                                   makeNumbersOp(rewriter, loc, f32, {}, {1 / *scale}, "scale"));
  Value one = makeNumbersOp(rewriter, loc, f32, {}, {1}, "one");
  rewriter.modifyOpInPlace(quantize, [&] {
    quantize.getXMutable().assign(scaled);
    quantize.getScaleMutable().assign(one);
  });
}

} // namespace nnopt
