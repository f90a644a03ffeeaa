//===- Quantize.cpp - linear operations with 8-bit operands ---------------===//
#include "passes/quantize/Quantize.h"
#include "passes/Passes.h"
#include "passes/common/Affine.h"
#include "passes/common/Movement.h"
#include <cmath>

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_QUANTIZE
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt::quantize {

constexpr StringLiteral kPass = "quantize";

ActivationParameters parametersOf(double lo, double hi) {
  lo = std::min(lo, 0.0);
  hi = std::max(hi, 0.0);
  float scale = float((hi - lo) / 255);
  // A tensor of zeros, or one whose scale would be subnormal: any scale represents it as well as a float does.
  if (!(scale >= 1e-30f))
    return {1, 0};
  return {scale, int(std::clamp(std::nearbyint(-lo / scale), 0.0, 255.0))};
}

std::string whyNot(nn::LinearOp op) {
  auto conv = dyn_cast<nn::ConvOp>(op.getOperation());
  auto matmul = dyn_cast<nn::MatMulOp>(op.getOperation());
  if (!conv && !matmul)
    return "only convolutions and matrix products have integer kernels";
  if (!isPlainF32(op))
    return "it has an epilogue or is not of 32-bit floats";
  if (isConstant(op.getActivation()))
    return "its activation is constant";
  std::optional<nn::ConstantData> weights = nn::ConstantData::get(op.getWeight());
  if (!isConstant(op.getWeight()) || !weights)
    return "its weights are not constant";
  if (conv && conv.getGroup() > 1 && op.getInChannels() == conv.getGroup()) {
    int64_t taps = ShapedType::getNumElements(shapeOf(op.getWeight()).drop_front(2));
    if (taps > 257)
      return "sums of a depthwise convolution are 32-bit floats, which are exact for up to 257 taps";
  }
  if (matmul && (rankOf(op.getWeight()) < 2 || matmul.getTransposeA()))
    return "integer kernels take matrices as weights and rows as activations";
  if (llvm::any_of(weights->asFloats(), [](float w) { return !std::isfinite(w); }))
    return "a weight is infinite or NaN";
  return "";
}

/// The weights of `op` as i8, rounded to the nearest, a scale for each out channel.
static ByteWeights roundedWeights(nn::LinearOp op) {
  std::vector<float> values = nn::ConstantData::get(op.getWeight())->asFloats();
  ArrayRef<int64_t> shape = shapeOf(op.getWeight());
  int64_t axis = op.getWeightOutAxis(), channels = shape[axis], inner = 1;
  for (int64_t size : shape.drop_front(axis + 1))
    inner *= size;
  auto channel = [&](size_t i) { return int64_t(i) / inner % channels; };
  std::vector<float> largest(channels);
  for (size_t i = 0; i < values.size(); ++i)
    largest[channel(i)] = std::max(largest[channel(i)], std::fabs(values[i]));
  ByteWeights result;
  result.scales.assign(channels, 1);
  for (int64_t c = 0; c < channels; ++c)
    if (largest[c] / 127 >= 1e-30f)
      result.scales[c] = largest[c] / 127; // a float, as the kernel has it
  for (size_t i = 0; i < values.size(); ++i)
    result.codes.push_back(char(int8_t(std::clamp(std::nearbyint(values[i] / result.scales[channel(i)]), -127.0, 127.0))));
  return result;
}

/// dequantize(weights), of the shape of op's own.
static Value dequantized(RewriterBase &rewriter, nn::LinearOp op, const ByteWeights &weights) {
  Location loc = op.getLoc();
  ArrayRef<int64_t> shape = shapeOf(op.getWeight());
  auto type = RankedTensorType::get(shape, rewriter.getI8Type());
  Value q = nn::ConstantOp::create(rewriter, loc, nn::makeConstant(type, weights.codes, "quantized_weight"));
  SmallVector<int64_t> scaleShape(shape.size() - op.getWeightOutAxis(), 1);
  scaleShape[0] = int64_t(weights.scales.size());
  Value scale = makeNumbersOp(rewriter, loc, rewriter.getF32Type(), scaleShape, weights.scales, "weight_scale");
  return nn::DequantizeOp::create(rewriter, loc, untyped(rewriter.getF32Type()), q, scale, Value(),
                                  TypeAttr::get(rewriter.getF32Type()));
}

static Value zeroPointOf(RewriterBase &rewriter, Location loc, int zeroPoint) {
  auto type = RankedTensorType::get({}, rewriter.getIntegerType(8, /*isSigned=*/false));
  char byte = char(uint8_t(zeroPoint));
  return nn::ConstantOp::create(rewriter, loc, nn::makeConstant(type, byte, "zero_point"));
}

/// dequantize(quantize(x)).
static Value throughIntegers(RewriterBase &rewriter, Location loc, Value x, Value scale, Value zero) {
  Type ui8 = rewriter.getIntegerType(8, /*isSigned=*/false);
  Value q = nn::QuantizeOp::create(rewriter, loc, untyped(ui8), x, scale, zero, TypeAttr::get(ui8),
                                   rewriter.getBoolAttr(true), TypeAttr());
  return nn::DequantizeOp::create(rewriter, loc, untyped(rewriter.getF32Type()), q, scale, zero,
                                  TypeAttr::get(rewriter.getF32Type()));
}

static Value throughIntegers(RewriterBase &rewriter, Location loc, Value x, ActivationParameters parameters) {
  Value scale = makeNumbersOp(rewriter, loc, rewriter.getF32Type(), {}, {parameters.scale}, "scale");
  return throughIntegers(rewriter, loc, x, scale, zeroPointOf(rewriter, loc, parameters.zeroPoint));
}

/// x with each in channel multiplied by a factor.
static Value timesChannels(RewriterBase &rewriter, nn::LinearOp op, Value x, ArrayRef<double> factors) {
  SmallVector<int64_t> shape(rankOf(x) - op.getInChannelAxis(), 1);
  shape[0] = int64_t(factors.size());
  Value values = makeNumbersOp(rewriter, op.getLoc(), rewriter.getF32Type(), shape, SmallVector<double>(factors), "channel_scale");
  return nn::MulOp::create(rewriter, op.getLoc(), untyped(rewriter.getF32Type()), x, values);
}

static SmallVector<double> inverses(ArrayRef<double> numbers) {
  return llvm::map_to_vector(numbers, [](double n) { return 1 / n; });
}

nn::LinearOp withByteWeights(RewriterBase &rewriter, nn::LinearOp op, ActivationParameters parameters,
                             ArrayRef<double> channelScales, const ByteWeights &weights) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Location loc = op.getLoc();
  Value x = op.getActivation(), bias = op.getBias();
  if (!channelScales.empty())
    x = timesChannels(rewriter, op, x, inverses(channelScales));
  x = throughIntegers(rewriter, loc, x, parameters);
  Value w = dequantized(rewriter, op, weights);
  if (!weights.bias.empty() && (bias || llvm::any_of(weights.bias, [](float b) { return b != 0; })))
    bias = nn::ConstantOp::create(
        rewriter, loc, nn::makeFloats(rewriter.getContext(), {int64_t(weights.bias.size())}, weights.bias, "bias"));
  nn::LinearOp copy = op.cloneWith(rewriter, loc, x, w, bias);
  copy->removeAttr("quantize");
  return copy;
}

nn::LinearOp withQuantizedOperands(RewriterBase &rewriter, nn::LinearOp op, ActivationParameters parameters,
                                   ArrayRef<double> channelScales) {
  if (channelScales.empty())
    return withByteWeights(rewriter, op, parameters, channelScales, roundedWeights(op));
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  auto scaled = applyAffineBefore(rewriter, op, channelScales, {}, op.getLoc()).getDefiningOp<nn::LinearOp>();
  ByteWeights weights = roundedWeights(scaled);
  rewriter.eraseOp(scaled);
  return withByteWeights(rewriter, op, parameters, channelScales, weights);
}

Value throughChannelIntegers(RewriterBase &rewriter, nn::LinearOp op, ActivationParameters parameters,
                             ArrayRef<double> channelScales) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  Value x = op.getActivation();
  if (channelScales.empty())
    return throughIntegers(rewriter, op.getLoc(), x, parameters);
  x = throughIntegers(rewriter, op.getLoc(), timesChannels(rewriter, op, x, inverses(channelScales)), parameters);
  return timesChannels(rewriter, op, x, channelScales);
}

ByteRows byteRows(RewriterBase &rewriter, Location loc, Value x) {
  Type f32 = rewriter.getF32Type(), i8 = rewriter.getI8Type();
  auto number = [&](double v) { return makeNumbersOp(rewriter, loc, f32, {}, {v}, "number"); };
  Value largest = nn::ReduceOp::create(rewriter, loc, untyped(f32), nn::AbsOp::create(rewriter, loc, untyped(f32), x), Value(),
                                       nn::ReduceKindAttr::get(rewriter.getContext(), nn::ReduceKind::max),
                                       rewriter.getDenseI64ArrayAttr({rankOf(x) - 1}), rewriter.getBoolAttr(true));
  Value scale = nn::MulOp::create(rewriter, loc, untyped(f32), largest, number(1.0 / 127));
  // A row of zeros.
  scale = nn::MaxOp::create(rewriter, loc, untyped(f32), scale, number(1e-30));
  Value q = nn::QuantizeOp::create(rewriter, loc, untyped(i8), x, scale, Value(), TypeAttr::get(i8), rewriter.getBoolAttr(true),
                                   TypeAttr());
  return {q, scale};
}

Value throughByteRows(RewriterBase &rewriter, Location loc, Value x) {
  ByteRows rows = byteRows(rewriter, loc, x);
  Type f32 = rewriter.getF32Type();
  return nn::DequantizeOp::create(rewriter, loc, untyped(f32), rows.values, rows.scale, Value(), TypeAttr::get(f32));
}

/// The linear operation whose epilogue can compute `v`, through relu and clips that nobody else reads; or null.
static nn::LinearOp linearBehind(Value v) {
  while (v.hasOneUse() && isa_and_nonnull<nn::ReluOp, nn::ClipOp>(v.getDefiningOp()))
    v = v.getDefiningOp()->getOperand(0);
  auto linear = v.getDefiningOp<nn::LinearOp>();
  return linear && v.hasOneUse() && isa<nn::ConvOp>(linear.getOperation()) ? linear : nn::LinearOp();
}

OpOperand *addendInMemory(nn::AddOp sum) {
  if (sum.getLhs().getType() != sum.getRhs().getType() || !elementTypeOf(sum.getResult()).isF32())
    return nullptr;
  // The convolution that ends last adds.
  nn::LinearOp lhs = linearBehind(sum.getLhs()), rhs = linearBehind(sum.getRhs());
  bool addsLhs = lhs && (!rhs || rhs->isBeforeInBlock(lhs));
  if (!(lhs || rhs) || !whyNot(addsLhs ? lhs : rhs).empty())
    return nullptr;
  OpOperand &addend = sum->getOpOperand(addsLhs ? 1 : 0);
  // The result of another convolution, or a value that convolutions and sums alone read.
  bool isConvolved = lhs && rhs;
  for (Operation *user : addend.get().getUsers()) {
    bool isConv = isa<nn::ConvOp>(user) && whyNot(cast<nn::LinearOp>(user)).empty();
    isConvolved |= isConv;
    if (!isConv && !isa<nn::AddOp>(user))
      return nullptr;
  }
  return isConvolved && !isConstant(addend.get()) ? &addend : nullptr;
}

nn::AddOp withQuantizedAddend(RewriterBase &rewriter, nn::AddOp sum, unsigned number, ActivationParameters parameters) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(sum);
  IRMapping mapping;
  Value addend = sum->getOperand(number);
  mapping.map(addend, throughIntegers(rewriter, sum.getLoc(), addend, parameters));
  return cast<nn::AddOp>(rewriter.clone(*sum, mapping));
}

void quantizeAheadOfMovement(func::FuncOp func, RewriterBase &rewriter) {
  SmallVector<nn::QuantizeOp> work;
  func.walk([&](nn::QuantizeOp op) { work.push_back(op); });
  while (!work.empty()) {
    nn::QuantizeOp quantize = work.pop_back_val();
    Operation *move = quantize.getX().getDefiningOp();
    if (!move || !quantize.getX().hasOneUse() || !isConstant(quantize.getScale()) || !scalarOf(quantize.getScale()))
      continue;
    for (OpOperand *operand : movedOperands(move)) {
      if (isConstant(operand->get()))
        continue;
      // The parameters may be defined behind the movement: they are written again ahead of it.
      rewriter.setInsertionPoint(move);
      Value scale = rewriter.clone(*quantize.getScale().getDefiningOp())->getResult(0);
      Value zero = rewriter.clone(*quantize.getZeroPoint().getDefiningOp())->getResult(0);
      Value x = throughIntegers(rewriter, move->getLoc(), operand->get(), scale, zero);
      rewriter.modifyOpInPlace(move, [&] { operand->set(x); });
      work.push_back(x.getDefiningOp()->getOperand(0).getDefiningOp<nn::QuantizeOp>());
    }
  }
}

} // namespace nnopt::quantize

namespace nnopt {
namespace {

struct QuantizePass : impl::QuantizeBase<QuantizePass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<nn::LinearOp> linears;
    getOperation().walk([&](nn::LinearOp op) {
      if (op->hasAttr("quantize"))
        linears.push_back(op);
    });
    for (nn::LinearOp op : linears) {
      auto parameters = op->getAttrOfType<DictionaryAttr>("quantize");
      auto scale = parameters ? parameters.getAs<FloatAttr>("scale") : FloatAttr();
      auto zero = parameters ? parameters.getAs<IntegerAttr>("zero_point") : IntegerAttr();
      if (!scale || !zero || !(scale.getValueAsDouble() > 0) || zero.getInt() < 0 || zero.getInt() > 255) {
        op->emitError("quantize: expected {scale = positive float, zero_point = 0..255}");
        return signalPassFailure();
      }
      Location loc = op.getLoc();
      if (std::string why = quantize::whyNot(op); !why.empty()) {
        missedRemark(loc, quantize::kPass, "not-quantized") << remark::reason("{0}", why);
        op->removeAttr("quantize");
        continue;
      }
      quantize::ActivationParameters p{float(scale.getValueAsDouble()), int(zero.getInt())};
      rewriter.replaceOp(op, quantize::withQuantizedOperands(rewriter, op, p)->getResults());
      ++numQuantized;
      passedRemark(loc, quantize::kPass, "quantized") << remark::add("has 8-bit operands");
    }
    quantize::quantizeAheadOfMovement(getOperation(), rewriter);
    eraseDeadOps(getOperation(), rewriter);
  }
};

} // namespace
} // namespace nnopt
