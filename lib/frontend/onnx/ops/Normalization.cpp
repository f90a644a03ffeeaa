//===- Normalization.cpp - import rules of normalization and softmax ------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

constexpr float defaultEpsilon = 1e-5f;

/// Operands of one number for each channel.
void needChannels(Node &n, Value x, ArrayRef<Value> values) {
  for (Value v : values) {
    n.needRank(v, 1, 1);
    n.needFloat(v);
    if (n.rank(x) < 2)
      continue;
    Dim c = n.dim(x, 1), d = n.dim(v, 0);
    if (c.isConst() && d.isConst() && c != d)
      n.invalid("an operand has " + Twine(d.value()) + " elements for " + Twine(c.value()) +
                " channels");
  }
}

/// Training normalizes by the statistics of the batch, which also move the running ones.
void importBatchNormTraining(Node &n, Value x, Values p, double epsilon) {
  Type type = n.elt(x), wide = type.isF64() ? type : Type(n.b().getF32Type());
  Value data = n.convert(x, wide);
  Ints axes{0};
  for (unsigned a = 2; a < n.rank(x); ++a)
    axes.push_back(a);
  Value mean = n.reduce(data, nn::ReduceKind::mean, axes, true);
  Value centered = n.make<nn::SubOp>(data, mean);
  Value variance =
      n.reduce(n.make<nn::MulOp>(centered, centered), nn::ReduceKind::mean, axes, false);
  mean = n.squeeze(mean, axes);
  n.out(0, n.make<nn::BatchNormOp>(x, n.convert(p[0], type), n.convert(p[1], type),
                                   n.convert(mean, type), n.convert(variance, type), n.f64(epsilon)));
  double momentum = n.f("momentum", 0.9f);
  auto moved = [&](Value running, Value now) {
    Value kept = n.make<nn::MulOp>(n.convert(running, wide), n.number(momentum, wide));
    Value added = n.make<nn::MulOp>(now, n.number(1 - momentum, wide));
    return n.convert(n.make<nn::AddOp>(kept, added), n.elt(running));
  };
  n.out(1, moved(p[2], mean));
  n.out(2, moved(p[3], variance));
}

void importBatchNorm(Node &n) {
  Value x = n.in(0);
  n.ignore({"momentum"});
  n.needFloat(x);
  n.needRank(x, 2);
  if (n.version() < 9 && n.i("spatial", 1) != 1)
    n.unsupported("attribute 'spatial'", "only 1 is supported");
  // Since opset 15 the parameters may have other types than the data.
  Values p;
  for (unsigned i = 1; i < 5; ++i)
    p.push_back(n.in(i));
  needChannels(n, x, p);
  double epsilon = n.f("epsilon", defaultEpsilon);
  if (n.version() >= 14 ? n.i("training_mode", 0) != 0 : n.version() < 7 && n.i("is_test", 0) == 0)
    return importBatchNormTraining(n, x, p, epsilon);
  for (unsigned i = 1; i < n.numOutputs(); ++i)
    if (n.isUsed(i))
      n.unsupported("output " + Twine(i), n.version() < 14 ? "training is not supported before opset 14"
                                                           : "it only exists in training");
  for (Value &v : p)
    v = n.convert(v, n.elt(x));
  n.out(0, n.make<nn::BatchNormOp>(x, p[0], p[1], p[2], p[3], n.f64(epsilon)));
}

/// Normalization of `groups` (i64 [1]) groups of a number of channels that is not known: rows of a matrix.
Value normalizeRows(Node &n, Value x, Value scale, Value bias, Value groups, double epsilon) {
  Type type = n.elt(x), wide = type.isF64() ? type : n.b().getF32Type();
  Value rows = n.reshapeTo(n.convert(x, wide), {n.shapeOf(x, 0, 1), groups, n.intsConstant({-1})});
  Value y = n.make<nn::LayerNormOp>(rows, n.number(1, wide, {1}), Value(), n.i64(2), n.f64(epsilon));
  y = n.reshapeTo(y, n.shapeOf(x));
  Ints positions;
  for (unsigned a = 2; a < n.rank(x); ++a)
    positions.push_back(a - 1);
  y = n.make<nn::MulOp>(y, n.unsqueeze(n.convert(scale, wide), positions));
  return n.convert(n.make<nn::AddOp>(y, n.unsqueeze(n.convert(bias, wide), positions)), type);
}

void importInstanceNorm(Node &n) {
  Value x = n.in(0), scale = n.in(1), bias = n.in(2);
  n.needFloat(x);
  n.needRank(x, 3);
  n.needSameType({x, scale, bias});
  needChannels(n, x, {scale, bias});
  Dim channels = n.dim(scale, 0);
  if (!channels.isConst())
    channels = n.dim(x, 1);
  double epsilon = n.f("epsilon", defaultEpsilon);
  n.out(0, channels.isConst() ? n.make<nn::GroupNormOp>(x, scale, bias, n.i64(channels.value()), n.f64(epsilon))
                              : normalizeRows(n, x, scale, bias, n.shapeOf(x, 1, 2), epsilon));
}

void importGroupNorm(Node &n) {
  Value x = n.in(0), scale = n.in(1), bias = n.in(2);
  n.ignore({"stash_type"}); // statistics are never computed below f32
  n.needFloat(x);
  n.needRank(x, 3);
  n.needSameType({x, scale, bias});
  int64_t groups = n.i("num_groups");
  Dim channels = n.dim(x, 1);
  if (groups < 1 || (channels.isConst() && channels.value() % groups != 0))
    n.invalid("num_groups does not divide the channels");
  Value count = n.intsConstant({groups});
  if (n.version() < 21) {
    // One number for each group, repeated for its channels.
    Value each = n.make<nn::DivOp>(n.shapeOf(x, 1, 2), count);
    for (Value *v : {&scale, &bias}) {
      n.needRank(*v, 1, 1);
      Value repeated = n.make<nn::ExpandOp>(n.unsqueeze(*v, {1}), n.make<nn::ConcatOp>(ValueRange{count, each}, n.i64(0)));
      *v = n.reshape(repeated, {-1});
    }
  }
  needChannels(n, x, {scale, bias});
  double epsilon = n.f("epsilon", defaultEpsilon);
  n.out(0, channels.isConst() ? n.make<nn::GroupNormOp>(x, scale, bias, n.i64(groups), n.f64(epsilon))
                              : normalizeRows(n, x, scale, bias, count, epsilon));
}

Ints from(int64_t axis, int64_t rank) {
  Ints axes;
  for (; axis < rank; ++axis)
    axes.push_back(axis);
  return axes;
}

void importLayerNorm(Node &n) {
  Value x = n.in(0), scale = n.in(1), bias = n.optIn(2);
  n.ignore({"stash_type"});
  n.needFloat(x);
  n.needRank(x, 1);
  n.needSameType({x, scale});
  if (bias)
    n.needSameType({x, bias});
  int64_t rank = n.rank(x), axis = n.axis(n.i("axis", -1), rank);
  double epsilon = n.f("epsilon", defaultEpsilon);
  n.out(0, n.make<nn::LayerNormOp>(x, scale, bias, n.i64(axis), n.f64(epsilon)));
  if (!n.isUsed(1) && !n.isUsed(2))
    return;
  // The statistics by themselves; common subexpressions are found later.
  Value wide = isa<Float64Type>(n.elt(x)) ? x : n.convert(x, n.b().getF32Type());
  Value mean = n.reduce(wide, nn::ReduceKind::mean, from(axis, rank), true);
  Value centered = n.make<nn::SubOp>(wide, mean);
  Value variance =
      n.reduce(n.make<nn::MulOp>(centered, centered), nn::ReduceKind::mean, from(axis, rank), true);
  Value shifted = n.make<nn::AddOp>(variance, n.number(epsilon, n.elt(wide)));
  n.out(1, mean);
  n.out(2, n.make<nn::ReciprocalOp>(n.make<nn::SqrtOp>(shifted)));
}

void importRMSNorm(Node &n) {
  Value x = n.in(0), scale = n.in(1);
  n.ignore({"stash_type"});
  n.needFloat(x);
  n.needRank(x, 1);
  int64_t axis = n.axis(n.i("axis", -1), n.rank(x));
  n.out(0, n.make<nn::RMSNormOp>(x, n.convert(scale, n.elt(x)), n.i64(axis),
                                 n.f64(n.f("epsilon", defaultEpsilon))));
}

/// (x - mean) / (standard deviation + 1e-9) over some axes.
void importMeanVarianceNorm(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  Ints axes = n.axes(n.ints("axes").value_or(Ints{0, 2, 3}), n.rank(x));
  Value mean = n.reduce(x, nn::ReduceKind::mean, axes, true);
  Value centered = n.make<nn::SubOp>(x, mean);
  Value variance =
      n.reduce(n.make<nn::MulOp>(centered, centered), nn::ReduceKind::mean, axes, true);
  Value deviation = n.make<nn::AddOp>(n.make<nn::SqrtOp>(variance), n.number(1e-9, n.elt(x)));
  n.out(0, n.make<nn::DivOp>(centered, deviation));
}

void importLpNorm(Node &n) {
  n.needFloat(n.in(0));
  int64_t p = n.i("p", 2);
  if (p != 1 && p != 2)
    n.invalid("attribute 'p' must be 1 or 2");
  int64_t axis = n.axis(n.i("axis", -1), n.rank(n.in(0)));
  n.out(0, n.make<nn::LpNormOp>(n.in(0), n.i64(axis), n.i64(p), n.f64(0)));
}

void importLRN(Node &n) {
  n.needFloat(n.in(0));
  n.needRank(n.in(0), 3);
  int64_t size = n.i("size");
  if (size < 1)
    n.invalid("attribute 'size' must be positive");
  n.out(0, n.make<nn::LRNOp>(n.in(0), n.f64(n.f("alpha", 0.0001f)), n.f64(n.f("beta", 0.75)),
                             n.f64(n.f("bias", 1)), n.i64(size)));
}

/// Before opset 13 the operand is taken as a matrix split at `axis`, and rows are normalized.
template <typename Body> void alongAxis(Node &n, Body body) {
  Value x = n.in(0);
  n.needFloat(x);
  n.needRank(x, 1);
  int64_t rank = n.rank(x);
  if (n.version() >= 13) {
    n.out(0, body(x, n.axis(n.i("axis", -1), rank)));
    return;
  }
  int64_t axis = n.axis(n.i("axis", 1), rank);
  if (axis == rank - 1) {
    n.out(0, body(x, axis));
    return;
  }
  Value matrix = n.make<nn::FlattenOp>(x, n.i64(axis));
  Value shape = n.make<nn::ShapeOp>(x, n.i64(0), IntegerAttr());
  n.out(0, n.make<nn::ReshapeOp>(body(matrix, 1), shape, n.flag(true)));
}

void importSoftmax(Node &n) {
  bool log = n.op() == "LogSoftmax";
  alongAxis(
      n, [&](Value x, int64_t axis) { return n.make<nn::SoftmaxOp>(x, n.i64(axis), n.flag(log)); });
}

/// One at the first largest element, zero elsewhere.
void importHardmax(Node &n) {
  alongAxis(n, [&](Value x, int64_t axis) {
    Value position = n.make<nn::ArgReduceOp>(x, n.i64(axis), n.b().getBoolAttr(false), n.flag(true),
                                             n.flag(false));
    Value size = n.make<nn::ShapeOp>(x, n.i64(axis), n.i64(axis + 1));
    return n.make<nn::OneHotOp>(position, n.scalar(size), n.numbersConstant({0, 1}, n.elt(x)),
                                n.i64(axis));
  });
}

} // namespace

void registerNormalization(Registry &r) {
  r.add("BatchNormalization", 5, 5, importBatchNorm, 5);
  r.add("InstanceNormalization", 3, 3, importInstanceNorm);
  r.add("GroupNormalization", 3, 3, importGroupNorm, 1, 18);
  // onnxruntime writes it into models of older opsets too.
  r.add("LayerNormalization", 2, 3, importLayerNorm, 3);
  r.add("com.microsoft.LayerNormalization", 2, 3, importLayerNorm, 3, 1);
  r.add("RMSNormalization", 2, 2, importRMSNorm, 1, 23);
  // What onnxruntime called it before; its second output is never read.
  r.add("SimplifiedLayerNormalization", 2, 2, importRMSNorm, 2, 1);
  r.add("com.microsoft.SimplifiedLayerNormalization", 2, 2, importRMSNorm, 2, 1);
  r.add("MeanVarianceNormalization", 1, 1, importMeanVarianceNorm, 1, 9);
  r.add("LpNormalization", 1, 1, importLpNorm);
  r.add("LRN", 1, 1, importLRN);
  r.add("Softmax", 1, 1, importSoftmax);
  r.add("LogSoftmax", 1, 1, importSoftmax);
  r.add("Hardmax", 1, 1, importHardmax);
}

} // namespace nnopt::onnx
