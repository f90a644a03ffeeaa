//===- RaiseQuantized.cpp - linear operations on integers -----------------===//
#include "passes/Passes.h"
#include "passes/common/Movement.h"
#include "passes/raise-quantized/Quantizations.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_RAISEQUANTIZED
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "raise-quantized";

//===----------------------------------------------------------------------===//
// Parameters of a quantization
//===----------------------------------------------------------------------===//

/// Scale and zero point of values: one each, or one for each position along `axis`.
struct Parameters {
  int64_t axis = -1;
  std::vector<double> scales = {1}, zeros = {0};
  Value zero; // an operand with the zero points, in its own shape; null: 0
  bool operator==(const Parameters &o) const { return axis == o.axis && scales == o.scales && zeros == o.zeros; }
};

/// Reads the elements of `v`, which broadcasts to a value of rank `rank`; why not, or nothing.
static std::string readAlongAxis(Value v, int64_t rank, int64_t &axis, std::vector<double> &numbers) {
  Value constant = shapedConstant(v);
  std::optional<std::vector<double>> read = constant ? numbersOf(constant) : std::nullopt;
  if (!read)
    return "a scale or zero point is not constant";
  numbers = *read;
  if (numbers.size() == 1)
    return "";
  ArrayRef<int64_t> shape = shapeOf(v);
  for (auto [i, size] : llvm::enumerate(shape)) {
    if (size == 1)
      continue;
    int64_t at = rank - int64_t(shape.size()) + int64_t(i);
    if (size != int64_t(numbers.size()) || (axis >= 0 && axis != at))
      return "scales differ along more than one dimension";
    axis = at;
  }
  return "";
}

/// The parameters of nn.quantize or nn.dequantize of a value of rank `rank`; why not, or nothing.
static std::string readParameters(Value scale, Value zero, int64_t rank, Parameters &p) {
  std::string why = readAlongAxis(scale, rank, p.axis, p.scales);
  if (why.empty() && zero)
    why = readAlongAxis(zero, rank, p.axis, p.zeros);
  if (why.empty() && llvm::any_of(p.scales, [](double s) { return !(s > 0) || std::isinf(s); }))
    why = "a scale is not positive";
  p.zero = zero;
  // All equal is one.
  for (std::vector<double> *numbers : {&p.scales, &p.zeros})
    if (llvm::all_equal(*numbers))
      numbers->resize(1);
  return why;
}

/// A dequantized value of 8-bit integers.
struct Dequantized {
  Value q;
  Parameters parameters;
};

static std::string readDequantized(Value v, Dequantized &d) {
  auto op = v.getDefiningOp<nn::DequantizeOp>();
  if (!op)
    return "is not dequantized";
  if (!elementTypeOf(op.getX()).isInteger(8))
    return "does not come from 8-bit integers";
  if (!op.getTo().isF32())
    return "is not of 32-bit floats";
  d.q = op.getX();
  return readParameters(op.getScale(), op.getZeroPoint(), rankOf(op.getX()), d.parameters);
}

//===----------------------------------------------------------------------===//
// Linear operations
//===----------------------------------------------------------------------===//

/// What follows the result: relu, clips with constant bounds, sums with dequantized values, a product with positive constants
/// for the channels, each read by the next one only, and a quantization by one scale.
struct Requantization {
  /// Clips ahead of a sum, and the dequantized operands of sums.
  SmallVector<nn::ClipOp> clips;
  SmallVector<OpOperand *> addends;
  /// What bounds `unbounded` behind the last sum, all together.
  Value unbounded;
  Interval bounds;
  nn::QuantizeOp quantize;
  double zero = 0;
  /// One step of the integers, in units of what is bounded: one number, or one for each channel.
  std::vector<double> steps;
};

/// `v`: the result of a linear operation, with its channels along `axis`.
static std::optional<Requantization> findRequantization(Value v, int64_t axis) {
  Requantization r;
  r.unbounded = v;
  SmallVector<nn::ClipOp> clips; // behind the last sum
  std::vector<double> factors;
  while (v.hasOneUse()) {
    OpOperand &use = *v.use_begin();
    Operation *user = use.getOwner();
    if (auto quantize = dyn_cast<nn::QuantizeOp>(user)) {
      std::optional<double> scale = quantizationScale(quantize);
      std::optional<double> zero = quantize.getZeroPoint() ? scalarOf(quantize.getZeroPoint()) : 0.0;
      if (quantize.getX() != v || !scale || !zero || quantize.getTo().getIntOrFloatBitWidth() > 16)
        return std::nullopt;
      r.quantize = quantize;
      r.zero = *zero;
      r.steps.assign(std::max<size_t>(1, factors.size()), *scale);
      for (auto [step, factor] : llvm::zip(r.steps, factors))
        step /= factor;
      return r;
    }
    if (!factors.empty())
      return std::nullopt;
    if (std::optional<Interval> clamp = use.getOperandNumber() == 0 ? clampOf(user) : std::nullopt) {
      if (auto clip = dyn_cast<nn::ClipOp>(user))
        clips.push_back(clip);
      r.bounds = {std::clamp(r.bounds.lo, clamp->lo, clamp->hi), std::clamp(r.bounds.hi, clamp->lo, clamp->hi)};
    } else if (isa<nn::AddOp>(user)) {
      OpOperand &other = user->getOpOperand(1 - use.getOperandNumber());
      auto addend = other.get().getDefiningOp<nn::DequantizeOp>();
      if (!addend || !addend.getTo().isF32() || !scalarOf(addend.getScale()) || !elementTypeOf(addend.getScale()).isF32())
        return std::nullopt;
      r.addends.push_back(&other);
      r.clips.append(std::move(clips));
      clips.clear();
      r.unbounded = user->getResult(0);
      r.bounds = Interval();
    } else if (auto mul = dyn_cast<nn::MulOp>(user)) {
      // What is added has one scale: it would need one for each channel.
      Value constant = user->getOperand(1 - use.getOperandNumber());
      std::optional<nn::ConstantData> data = nn::ConstantData::get(constant);
      int64_t rank = rankOf(v), channels = shapeOf(v)[axis];
      SmallVector<int64_t> shape(rank - axis, 1);
      shape[0] = channels;
      if (!r.addends.empty() || !isConstant(constant) || !data || !elementTypeOf(constant).isF32() || shapeOf(constant) != ArrayRef(shape))
        return std::nullopt;
      for (float factor : data->asFloats()) {
        if (!(factor > 0) || std::isinf(factor))
          return std::nullopt;
        factors.push_back(factor);
      }
    } else {
      return std::nullopt;
    }
    v = user->getResult(0);
  }
  return std::nullopt;
}

class Raiser {
public:
  explicit Raiser(IRRewriter &rewriter) : rewriter(rewriter) {}

  /// Makes `op` compute on integers. Returns why not; empty when it is done.
  std::string raise(nn::LinearOp op);

private:
  Value numbers(ArrayRef<double> values, int64_t axis, int64_t rank, Location loc, StringRef name);
  void requantize(const Requantization &r, int64_t axis, int64_t rank);

  IRRewriter &rewriter;
};

/// A constant of one number, or of numbers along a dimension of a value of rank `rank`.
Value Raiser::numbers(ArrayRef<double> values, int64_t axis, int64_t rank, Location loc, StringRef name) {
  SmallVector<int64_t> shape;
  if (values.size() > 1) {
    shape.assign(rank - axis, 1);
    shape[0] = values.size();
  }
  return makeNumbersOp(rewriter, loc, rewriter.getF32Type(), shape, values, name);
}

/// Makes everything up to the quantization count in its steps; the linear operation does already.
void Raiser::requantize(const Requantization &r, int64_t axis, int64_t rank) {
  double step = r.steps[0]; // the only one where there are sums
  for (nn::ClipOp clip : r.clips) {
    rewriter.setInsertionPoint(clip);
    for (OpOperand *bound : {&clip.getLoMutable(), &clip.getHiMutable()}) {
      Value scaled = numbers({*scalarOf(bound->get()) / step}, 0, 0, clip.getLoc(), "bound");
      rewriter.modifyOpInPlace(clip, [&] { bound->set(scaled); });
    }
  }
  for (OpOperand *addend : r.addends) {
    auto dequantize = addend->get().getDefiningOp<nn::DequantizeOp>();
    rewriter.setInsertionPoint(addend->getOwner());
    Value scaled = nn::DequantizeOp::create(rewriter, dequantize.getLoc(), untyped(rewriter.getF32Type()), dequantize.getX(),
                                            numbers({*scalarOf(dequantize.getScale()) / step}, 0, 0, dequantize.getLoc(), "scale"),
                                            dequantize.getZeroPoint(), dequantize.getToAttr());
    rewriter.modifyOpInPlace(addend->getOwner(), [&] { addend->set(scaled); });
  }
  nn::QuantizeOp quantize = r.quantize;
  Location loc = quantize.getLoc();
  rewriter.setInsertionPoint(quantize);
  Value x = r.unbounded;
  // Either the quantization clamps, or what bounds it: the range of the type is one of the bounds.
  double span = std::ldexp(1, quantize.getTo().getIntOrFloatBitWidth()) - 1;
  double lowest = (quantize.getTo().isUnsignedInteger() ? 0 : -(span + 1) / 2) - r.zero, highest = lowest + span;
  std::vector<double> los, his;
  for (double step : r.steps) {
    los.push_back(std::clamp(r.bounds.lo / step, lowest, highest));
    his.push_back(std::clamp(r.bounds.hi / step, lowest, highest));
  }
  for (std::vector<double> *bounds : {&los, &his})
    if (llvm::all_equal(*bounds))
      bounds->resize(1);
  bool clamps = los == std::vector<double>{lowest} && his == std::vector<double>{highest};
  if (!clamps)
    x = nn::ClipOp::create(rewriter, loc, untyped(rewriter.getF32Type()), x, numbers(los, axis, rank, loc, "bound"),
                           numbers(his, axis, rank, loc, "bound"));
  rewriter.modifyOpInPlace(quantize, [&] {
    quantize.getXMutable().assign(x);
    quantize.getScaleMutable().assign(numbers({1}, 0, 0, loc, "one"));
    quantize.setSaturate(clamps);
  });
}

std::string Raiser::raise(nn::LinearOp op) {
  auto conv = dyn_cast<nn::ConvOp>(op.getOperation());
  auto matmul = dyn_cast<nn::MatMulOp>(op.getOperation());
  if (!conv && !matmul)
    return "only convolutions and matrix products have integer kernels";
  Value result = op->getResult(0), bias = op.getBias();
  if (!op.getEpilogue().empty() || !elementTypeOf(result).isF32())
    return "it has an epilogue or is not of 32-bit floats";
  Dequantized x, w;
  std::string why = readDequantized(op.getActivation(), x);
  if (!why.empty())
    return "the activation: " + why;
  why = readDequantized(op.getWeight(), w);
  if (!why.empty())
    return "the weights: " + why;
  if (x.parameters.scales.size() != 1 || x.parameters.zeros.size() != 1)
    return "the activation has a scale for each position along a dimension";
  if (!isConstant(w.q))
    return "the weights are not constant";
  int64_t outAxis = op.getWeightOutAxis(), rank = rankOf(result), columnAxis = op.getOutChannelAxis();
  if (w.parameters.axis >= 0 && w.parameters.axis != outAxis)
    return "the weights have scales along a dimension that is summed over";

  int64_t columns = outAxis >= 0 ? shapeOf(w.q)[outAxis] : 1;
  std::vector<double> factors(w.parameters.scales);
  for (double &factor : factors)
    factor *= x.parameters.scales[0];

  // A bias in units of the accumulator joins it.
  Value accumulatorBias;
  Location loc = op.getLoc();
  rewriter.setInsertionPoint(op);
  if (auto dequantize = bias ? bias.getDefiningOp<nn::DequantizeOp>() : nn::DequantizeOp()) {
    Parameters p;
    bool fits = elementTypeOf(dequantize.getX()).isSignlessInteger(32) &&
                readParameters(dequantize.getScale(), dequantize.getZeroPoint(), 1, p).empty() && p.zeros == std::vector<double>{0};
    for (int64_t i = 0; fits && i < columns; ++i) {
      double want = factors[factors.size() == 1 ? 0 : i], is = p.scales[p.scales.size() == 1 ? 0 : i];
      // Both are rounded to 32-bit floats.
      fits = std::abs(is - want) <= 2e-7 * want;
    }
    if (fits)
      accumulatorBias = dequantize.getX();
  }

  auto zeroOperand = [&](const Parameters &p, Value q) -> Value {
    if (!p.zero || p.zeros == std::vector<double>{0})
      return {};
    auto ints = llvm::map_to_vector(p.zeros, [](double z) { return int8_t(int64_t(z)); });
    SmallVector<int64_t> shape;
    if (ints.size() > 1)
      shape.push_back(ints.size());
    auto type = RankedTensorType::get(shape, elementTypeOf(q));
    ArrayRef<char> bytes(reinterpret_cast<const char *>(ints.data()), ints.size());
    return nn::ConstantOp::create(rewriter, loc, nn::makeConstant(type, bytes, "zero_point"));
  };
  Value xZero = zeroOperand(x.parameters, x.q), wZero = zeroOperand(w.parameters, w.q);
  Value sum;
  Type i32 = untyped(rewriter.getI32Type());
  if (conv)
    sum = nn::ConvOp::create(rewriter, loc, i32, x.q, w.q, accumulatorBias, xZero, wZero, ValueRange(), conv.getStrides(),
                             conv.getPads(), conv.getDilations(), conv.getGroup(), conv.getChannelsLast())
              .getResult();
  else
    sum = nn::MatMulOp::create(rewriter, loc, i32, x.q, w.q, accumulatorBias, xZero, wZero, ValueRange(),
                               matmul.getTransposeA(), matmul.getTransposeB())
              .getResult();

  std::optional<Requantization> requantization = findRequantization(result, columnAxis);
  std::vector<double> steps = requantization ? requantization->steps : std::vector<double>{1};
  if (factors.size() < steps.size())
    factors.resize(steps.size(), factors[0]);
  for (auto [c, factor] : llvm::enumerate(factors))
    factor /= steps[steps.size() == 1 ? 0 : c];
  Value y = nn::CastOp::create(rewriter, loc, untyped(rewriter.getF32Type()), sum, TypeAttr::get(rewriter.getF32Type()));
  y = nn::MulOp::create(rewriter, loc, untyped(rewriter.getF32Type()), y, numbers(factors, columnAxis, rank, loc, "scale"));
  if (bias && !accumulatorBias) {
    // One number for each out channel, where it is not the last dimension as a column.
    Value shaped = bias;
    if (rank - columnAxis > 1 && shapeOf(bias) != ArrayRef<int64_t>{1}) {
      auto axes = llvm::to_vector(llvm::seq<int64_t>(1, rank - columnAxis));
      shaped = nn::UnsqueezeOp::create(rewriter, loc, untyped(rewriter.getF32Type()), bias, axes);
    }
    if (steps != std::vector<double>{1})
      shaped = nn::DivOp::create(rewriter, loc, untyped(rewriter.getF32Type()), shaped, numbers(steps, columnAxis, rank, loc, "scale"));
    y = nn::AddOp::create(rewriter, loc, untyped(rewriter.getF32Type()), y, shaped);
  }
  if (requantization && requantization->unbounded == result)
    requantization->unbounded = y;
  rewriter.replaceOp(op, y);
  if (requantization)
    requantize(*requantization, columnAxis, rank);
  return "";
}

//===----------------------------------------------------------------------===//
// Movement
//===----------------------------------------------------------------------===//

/// quantize(move(dequantize(q))) with equal parameters is move(q); quantize(dequantize(q)) is q.
static bool moveIntegers(nn::QuantizeOp quantize, IRRewriter &rewriter) {
  Parameters to;
  Value x = quantize.getX();
  if (!readParameters(quantize.getScale(), quantize.getZeroPoint(), rankOf(x), to).empty() || to.axis >= 0)
    return false;
  auto integers = [&](Value v) -> Value {
    Dequantized d;
    if (!readDequantized(v, d).empty() || !(d.parameters == to) || elementTypeOf(d.q) != quantize.getTo())
      return {};
    return d.q;
  };
  if (Value q = integers(x)) {
    rewriter.replaceOp(quantize, q);
    return true;
  }
  Operation *move = x.getDefiningOp();
  SmallVector<OpOperand *> operands = move ? movedOperands(move) : SmallVector<OpOperand *>();
  if (operands.empty() || !x.hasOneUse())
    return false;
  IRMapping mapping;
  for (OpOperand *operand : operands) {
    Value q = integers(operand->get());
    if (!q)
      return false;
    mapping.map(operand->get(), q);
  }
  rewriter.setInsertionPoint(quantize);
  OperationState state(move->getLoc(), move->getName());
  for (Value operand : move->getOperands())
    state.operands.push_back(mapping.lookupOrDefault(operand));
  for (Type type : move->getResultTypes())
    state.types.push_back(cast<RankedTensorType>(type).clone(type == x.getType() ? quantize.getTo() : nn::elementTypeOf(type)));
  state.attributes.assign(move->getAttrs().begin(), move->getAttrs().end());
  Operation *moved = rewriter.create(state);
  rewriter.replaceOp(quantize, moved->getResult(0));
  return true;
}

struct RaiseQuantizedPass : impl::RaiseQuantizedBase<RaiseQuantizedPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<nn::LinearOp> linears;
    SmallVector<nn::QuantizeOp> quantizes;
    getOperation().walk([&](Operation *op) {
      if (auto linear = dyn_cast<nn::LinearOp>(op))
        linears.push_back(linear);
      if (auto quantize = dyn_cast<nn::QuantizeOp>(op))
        quantizes.push_back(quantize);
    });
    Raiser raiser(rewriter);
    for (nn::LinearOp linear : linears) {
      bool quantized = linear.getActivation().getDefiningOp<nn::DequantizeOp>() ||
                       linear.getWeight().getDefiningOp<nn::DequantizeOp>();
      if (!quantized)
        continue;
      Location loc = linear.getLoc();
      std::string why = raiser.raise(linear);
      if (why.empty()) {
        ++numRaised;
        passedRemark(loc, kPass, "raised") << remark::add("computes on integers");
      } else {
        missedRemark(loc, kPass, "not-raised") << remark::reason("{0}", why);
      }
    }
    for (nn::QuantizeOp quantize : quantizes) {
      Location loc = quantize.getLoc();
      if (moveIntegers(quantize, rewriter)) {
        ++numMoved;
        passedRemark(loc, kPass, "moved") << remark::add("moves integers");
      }
    }
    getOperation().walk([&](nn::QuantizeOp quantize) {
      dropRepeatedClamps(quantize, rewriter);
      multiplyByInverse(quantize, rewriter);
    });
    eraseDeadOps(getOperation(), rewriter);
  }
};

} // namespace
} // namespace nnopt
