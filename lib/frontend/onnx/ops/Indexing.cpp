//===- Indexing.cpp - import rules of gather, scatter and kin -------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

void importGather(Node &n) {
  n.needRank(n.in(0), 1);
  n.needInt(n.in(1));
  int64_t axis = n.axis(n.i("axis", 0), n.rank(n.in(0)));
  n.out(0, n.make<nn::GatherOp>(n.in(0), n.in(1), n.i64(axis)));
}

void importGatherElements(Node &n) {
  unsigned rank = n.rank(n.in(0));
  n.needRank(n.in(0), 1);
  n.needRank(n.in(1), rank, rank);
  n.needInt(n.in(1));
  n.out(0, n.make<nn::GatherElementsOp>(n.in(0), n.in(1), n.i64(n.axis(n.i("axis", 0), rank))));
}

/// The indices of GatherND and ScatterND. Their last dimension decides how many dimensions they index; where it is
/// not known, `indexed`.
Value readTuples(Node &n, std::optional<int64_t> indexed) {
  Value x = n.in(0), indices = n.in(1);
  n.needRank(x, 1);
  n.needRank(indices, 1);
  n.needInt(indices);
  int64_t last = n.rank(indices) - 1;
  if (n.dim(indices, last).isConst())
    return indices;
  if (!indexed)
    n.unsupported("indices", "their last dimension must be static, or the rank of the result declared");
  if (*indexed < 1 || *indexed > n.rank(x))
    n.invalid("the ranks of its operands and result do not fit");
  Ints none(2 * last + 1, 0);
  Value missing = n.make<nn::SubOp>(n.intsConstant({*indexed}), n.shapeOf(indices, last));
  Value pads = n.make<nn::ConcatOp>(ValueRange{n.intsConstant(none), missing}, n.i64(0));
  return n.make<nn::PadOp>(indices, pads, Value(), Value(), nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant));
}

/// Ranks: that of the result is rank(indices) - 1 + rank(x) - batch_dims - the number of dimensions indexed.
void importGatherND(Node &n) {
  n.needRank(n.in(1), 1);
  int64_t batch = n.i("batch_dims", 0), ranks = int64_t(n.rank(n.in(0))) + n.rank(n.in(1));
  if (batch < 0 || batch >= std::min(n.rank(n.in(0)), n.rank(n.in(1))))
    n.invalid("batch_dims is out of range");
  std::optional<int64_t> declared = n.declaredRank(0);
  Value indices = readTuples(n, declared ? std::optional(ranks - 1 - batch - *declared) : std::nullopt);
  n.out(0, n.make<nn::GatherNDOp>(n.in(0), indices, n.i64(batch)));
}

nn::ScatterReductionAttr reductionOf(Node &n) {
  std::string reduction = n.s("reduction", "none");
  auto kind = nn::symbolizeScatterReduction(reduction);
  if (!kind)
    n.invalid("unknown reduction '" + reduction + "'");
  return nn::ScatterReductionAttr::get(n.ctx(), *kind);
}

void importScatterElements(Node &n) {
  Value x = n.in(0), indices = n.in(1), updates = n.in(2);
  unsigned rank = n.rank(x);
  n.needRank(x, 1);
  n.needRank(indices, rank, rank);
  n.needRank(updates, rank, rank);
  n.needInt(indices);
  n.needSameType({x, updates});
  int64_t axis = n.axis(n.i("axis", 0), rank);
  n.out(0, n.make<nn::ScatterElementsOp>(x, indices, updates, n.i64(axis), reductionOf(n)));
}

void importScatterND(Node &n) {
  Value x = n.in(0), updates = n.in(2);
  n.needSameType({x, updates});
  Value indices = readTuples(n, int64_t(n.rank(x)) + n.rank(n.in(1)) - 1 - n.rank(updates));
  n.out(0, n.make<nn::ScatterNDOp>(x, indices, updates, reductionOf(n)));
}

void importTensorScatter(Node &n) {
  Value x = n.in(0), update = n.in(1), indices = n.optIn(2);
  n.needRank(x, 2);
  n.needSameType({x, update});
  if (indices)
    n.needInt(indices);
  std::string mode = n.s("mode", "linear");
  if (mode != "linear" && mode != "circular")
    n.invalid("unknown mode '" + mode + "'");
  int64_t axis = n.axis(n.i("axis", -2), n.rank(x));
  n.out(0, n.make<nn::TensorScatterOp>(x, update, indices, n.i64(axis), n.flag(mode == "circular")));
}

/// Indices and depth may be of any numeric type.
void importOneHot(Node &n) {
  Type i64 = n.b().getI64Type();
  Value indices = n.in(0);
  if (!n.elt(indices).isSignlessInteger())
    indices = n.convert(indices, i64);
  Value depth = n.convert(n.scalar(n.in(1)), i64), values = n.in(2);
  n.needRank(values, 1, 1);
  if (!n.dim(values, 0).isConst(2) && n.dim(values, 0).isConst())
    n.invalid("values must have two elements");
  int64_t axis = n.axis(n.i("axis", -1), n.rank(indices) + 1);
  n.out(0, n.make<nn::OneHotOp>(indices, depth, values, n.i64(axis)));
}

void importNonZero(Node &n) { n.out(0, n.make<nn::NonZeroOp>(n.in(0))); }

/// The slices along an axis (elements of the flattened operand without one) whose condition holds.
void importCompress(Node &n) {
  Value x = n.in(0), condition = n.in(1);
  n.needBool(condition);
  n.needRank(condition, 1, 1);
  int64_t axis = 0;
  if (n.hasAttr("axis"))
    axis = n.axis(n.i("axis"), n.rank(x));
  else
    x = n.reshape(x, {-1});
  Value positions = n.squeeze(n.make<nn::NonZeroOp>(condition), {0});
  n.out(0, n.make<nn::GatherOp>(x, positions, n.i64(axis)));
}

void importUnique(Node &n) {
  IntegerAttr axis;
  if (n.hasAttr("axis"))
    axis = n.i64(n.axis(n.i("axis"), n.rank(n.in(0))));
  n.outs(n.makeN<nn::UniqueOp>(4, n.in(0), axis, n.flag(n.i("sorted", 1))));
}

/// That of com.microsoft: elements in the order in which they come first, where each element went, and counts.
void importContribUnique(Node &n) {
  n.needRank(n.in(0), 1, 1);
  auto results = n.makeN<nn::UniqueOp>(4, n.in(0), IntegerAttr(), n.flag(false));
  n.outs({results[0], results[2], results[3]});
}

void importNonMaxSuppression(Node &n) {
  Value boxes = n.in(0), scores = n.in(1);
  int64_t centerPoint = n.i("center_point_box", 0);
  if (centerPoint != 0 && centerPoint != 1)
    n.invalid("attribute 'center_point_box' must be 0 or 1");
  n.needRank(boxes, 3, 3);
  n.needRank(scores, 3, 3);
  // An operand without elements is an absent one.
  auto optional = [&](unsigned i) {
    Value v = n.optIn(i);
    return v && !(n.rank(v) == 1 && n.dim(v, 0).isConst(0)) ? n.scalar(v) : Value();
  };
  Value most = optional(2), iou = optional(3), score = optional(4);
  if (most)
    n.needInt(most);
  for (Value v : {scores, iou, score})
    if (v)
      n.needSameType({boxes, v});
  n.needFloat(boxes);
  n.out(0, n.make<nn::NonMaxSuppressionOp>(boxes, scores, most, iou, score, n.flag(centerPoint)));
}

void importTopK(Node &n) {
  Value x = n.in(0), k;
  n.needRank(x, 1);
  int64_t axis = n.axis(n.i("axis", -1), n.rank(x));
  if (n.version() < 10)
    k = n.intsConstant({n.i("k")});
  else
    k = n.in(1);
  n.needInt(k);
  bool largest = n.i("largest", 1), sorted = n.i("sorted", 1);
  OpBuilder &b = n.b();
  auto op = nn::TopKOp::create(b, n.location(), n.placeholder(), n.placeholder(), x, k, n.i64(axis),
                               n.flag(largest), n.flag(sorted));
  n.infer(op);
  n.outs(op->getResults());
}

} // namespace

void registerIndexing(Registry &r) {
  r.add("Gather", 2, 2, importGather);
  r.add("GatherElements", 2, 2, importGatherElements, 1, 11);
  r.add("GatherND", 2, 2, importGatherND, 1, 11);
  r.add("Scatter", 3, 3, importScatterElements, 1, 9, 10);
  r.add("ScatterElements", 3, 3, importScatterElements, 1, 11);
  r.add("ScatterND", 3, 3, importScatterND, 1, 11);
  r.add("TensorScatter", 2, 3, importTensorScatter, 1, 24);
  r.add("OneHot", 3, 3, importOneHot, 1, 9);
  r.add("NonZero", 1, 1, importNonZero, 1, 9);
  r.add("Compress", 2, 2, importCompress, 1, 9);
  r.add("TopK", 1, 2, importTopK, 2);
  r.add("Unique", 1, 1, importUnique, 4, 11);
  r.add("com.microsoft.Unique", 1, 1, importContribUnique, 3, 1);
  r.add("NonMaxSuppression", 2, 5, importNonMaxSuppression, 1, 10);
}

} // namespace nnopt::onnx
