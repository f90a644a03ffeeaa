//===- Random.cpp - import rules of operators that draw random numbers ----===//
//
// docs/rationale/random.md says what is drawn when.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// The key of a node's numbers: constant with a seed, new each time without one. Keys with a seed have -1
/// where the others count from 0.
Value keyOf(Node &n, std::optional<double> seed) {
  if (seed)
    return n.intsConstant({int64_t(llvm::bit_cast<uint64_t>(*seed)), -1});
  return n.make<nn::RandomKeyOp>(n.i64(n.importer.randomStreams++));
}

/// Numbers in f64 for f64, else in f32.
Value draw(Node &n, Value key, Value shape, nn::Distribution distribution, Type type) {
  Type wide = type.isF64() ? type : Type(n.b().getF32Type());
  return n.make<nn::RandomOp>(key, shape, nn::DistributionAttr::get(n.ctx(), distribution),
                              TypeAttr::get(wide));
}

/// The type named by the attribute 'dtype', else `otherwise`.
Type dtypeOf(Node &n, Type otherwise) {
  if (!n.hasAttr("dtype"))
    return otherwise;
  int64_t dtype = n.i("dtype");
  Type type = elementType(n.ctx(), dtype);
  if (!type)
    n.unsupported("attribute 'dtype'", "element type " + dataTypeName(dtype) + " is not supported");
  return type;
}

/// offset + factor * number.
void finish(Node &n, Value drawn, double factor, double offset, Type type) {
  Type wide = n.elt(drawn);
  if (factor != 1)
    drawn = n.make<nn::MulOp>(drawn, n.number(factor, wide));
  if (offset != 0)
    drawn = n.make<nn::AddOp>(drawn, n.number(offset, wide));
  n.out(0, n.convert(drawn, type));
}

/// The shape and type are attributes, or those of an operand where `like` is set.
template <bool like, nn::Distribution distribution> void importRandom(Node &n) {
  Type type = dtypeOf(n, like ? n.elt(n.in(0)) : Type(n.b().getF32Type()));
  if (!isa<FloatType>(type))
    n.invalid("random numbers have a floating point type");
  Value shape;
  if (like) {
    shape = n.shapeOf(n.in(0));
  } else {
    auto given = n.ints("shape");
    if (!given)
      n.invalid("attribute 'shape' is missing");
    if (any_of(*given, [](int64_t d) { return d < 0; }))
      n.invalid("attribute 'shape' has a negative size");
    shape = n.intsConstant(*given);
  }
  Value drawn = draw(n, keyOf(n, n.optF("seed")), shape, distribution, type);
  if (distribution == nn::Distribution::normal) {
    finish(n, drawn, n.f("scale", 1), n.f("mean", 0), type);
  } else {
    double low = n.f("low", 0);
    finish(n, drawn, n.f("high", 1) - low, low, type);
  }
}

/// 1 with the probability that the operand gives.
void importBernoulli(Node &n) {
  Value p = n.in(0);
  n.needFloat(p);
  Type type = dtypeOf(n, n.elt(p));
  Value drawn = draw(n, keyOf(n, n.optF("seed")), n.shapeOf(p), nn::Distribution::uniform, n.elt(p));
  n.out(0, n.convert(n.make<nn::LessOp>(drawn, n.convert(p, n.elt(drawn))), type));
}

/// Samples of classes from unnormalized log-probabilities [batch, classes]: the first class whose running
/// sum of probabilities is above a uniform number. The last class with a probability above 0 catches
/// what rounding leaves.
void importMultinomial(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  n.needRank(x, 2, 2);
  int64_t samples = n.i("sample_size", 1);
  if (samples < 0)
    n.invalid("attribute 'sample_size' is negative");
  Type type = dtypeOf(n, n.b().getI32Type()), wide = n.b().getF64Type();
  Value probability = n.make<nn::SoftmaxOp>(n.convert(x, wide), n.i64(1), n.flag(false));
  Value sums = n.make<nn::CumSumOp>(probability, n.intConstant(1), n.flag(false), n.flag(false));
  Value total = n.slice(sums, 1, -1, std::numeric_limits<int64_t>::max());
  Value shape = n.make<nn::ConcatOp>(ValueRange{n.shapeOf(x, 0, 1), n.intsConstant({samples})}, n.i64(0));
  Value drawn = draw(n, keyOf(n, n.optF("seed")), shape, nn::Distribution::uniform, wide);
  // [batch, samples, 1] against [batch, 1, classes].
  Value wanted = n.unsqueeze(n.make<nn::MulOp>(drawn, total), {2});
  Value below = n.make<nn::LessOrEqualOp>(n.unsqueeze(sums, {1}), wanted);
  Value notLast = n.make<nn::LessOp>(n.unsqueeze(sums, {1}), n.unsqueeze(total, {2}));
  Value before = n.convert(n.make<nn::LogicalAndOp>(below, notLast), type);
  n.out(0, n.reduce(before, nn::ReduceKind::sum, {2}, false));
}

/// Training keeps an element with probability 1 - ratio, and multiplies it by 1 / (1 - ratio). Otherwise
/// the data pass unchanged, and the mask is all true.
void importDropout(Node &n) {
  Value x = n.in(0), training;
  n.needFloat(x);
  n.ignore({"ratio", "seed"}); // the ratio of old opsets only matters in training
  if (n.version() < 7 && n.i("is_test", 0) == 0)
    n.unsupported("attribute 'is_test'", "training is not supported before opset 12");
  if (n.hasIn(2)) {
    n.needBool(n.in(2));
    auto known = n.content(n.in(2));
    if (!known || known->size() != 1 || known->front() != 0)
      training = n.scalar(n.in(2));
  }
  Value ratio;
  if (training && n.hasIn(1)) {
    auto known = n.numbers(n.in(1));
    if (known && known->size() == 1 && known->front() == 0)
      training = {};
    else
      ratio = n.scalar(n.in(1));
  }
  if (!training) {
    n.out(0, x);
    if (n.isUsed(1)) {
      auto type = RankedTensorType::get({1}, n.b().getI1Type());
      n.out(1, n.make<nn::ConstantOfShapeOp>(n.shapeOf(x), DenseElementsAttr::get(type, true)));
    }
    return;
  }
  std::optional<double> seed;
  if (n.hasAttr("seed"))
    seed = double(n.i("seed"));
  Value drawn = draw(n, keyOf(n, seed), n.shapeOf(x), nn::Distribution::uniform, n.elt(x));
  Type wide = n.elt(drawn);
  ratio = ratio ? n.convert(ratio, wide) : n.number(0.5, wide);
  // Without training nothing is dropped, as with a ratio of 0.
  ratio = n.make<nn::WhereOp>(training, ratio, n.number(0, wide));
  Value mask = n.make<nn::GreaterOrEqualOp>(drawn, ratio);
  Value scale = n.make<nn::ReciprocalOp>(n.make<nn::SubOp>(n.number(1, wide), ratio));
  Value scaled = n.make<nn::MulOp>(n.convert(x, wide), scale);
  n.out(0, n.convert(n.make<nn::WhereOp>(mask, scaled, n.number(0, wide)), n.elt(x)));
  n.out(1, mask);
}

} // namespace

void registerRandom(Registry &r) {
  using nn::Distribution;
  r.add("RandomNormal", 0, 0, importRandom<false, Distribution::normal>);
  r.add("RandomNormalLike", 1, 1, importRandom<true, Distribution::normal>);
  r.add("RandomUniform", 0, 0, importRandom<false, Distribution::uniform>);
  r.add("RandomUniformLike", 1, 1, importRandom<true, Distribution::uniform>);
  r.add("Bernoulli", 1, 1, importBernoulli, 1, 15);
  r.add("Multinomial", 1, 1, importMultinomial, 1, 7);
  r.add("Dropout", 1, 3, importDropout, 2);
}

} // namespace nnopt::onnx
