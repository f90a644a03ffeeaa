//===- ContribMisc.cpp - com.microsoft: operators of no family ------------===//
#include "lib/frontend/onnx/ops/Window.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Scores become -infinity for tokens that would complete an n-gram of the row a second time.
void importNGramRepeatBlock(Node &n) {
  Value ids = n.in(0), scores = n.in(1);
  int64_t size = n.i("ngram_size");
  n.needRank(ids, 2, 2);
  n.needRank(scores, 2, 2);
  if (size < 1)
    n.invalid("attribute 'ngram_size' must be positive");
  Dim length = n.dim(ids, 1);
  if (length.isConst() && length.value() < size) { // no n-gram yet
    n.out(0, scores);
    return;
  }
  // Position p begins an n-gram of which the first size - 1 tokens are those at the end.
  constexpr int64_t all = std::numeric_limits<int64_t>::max();
  Value repeats;
  for (int64_t i = 0; i < size - 1; ++i) {
    int64_t behind = size - 1 - i; // positions at the end that are no place i of an n-gram, and where the end has it
    Value here = n.slice(ids, 1, i, -behind), end = n.slice(ids, 1, -behind, behind == 1 ? all : 1 - behind);
    Value same = n.make<nn::EqualOp>(here, end);
    repeats = repeats ? n.make<nn::LogicalAndOp>(repeats, same) : same;
  }
  Type type = n.elt(scores);
  Value next = n.slice(ids, 1, size - 1, all), low = n.number(-infinity, type);
  Value update = repeats ? n.make<nn::WhereOp>(repeats, low, n.number(infinity, type))
                         : n.make<nn::ExpandOp>(low, n.shapeOf(next));
  n.out(0, n.make<nn::ScatterElementsOp>(
               scores, n.convert(next, n.b().getI64Type()), update, n.i64(1),
               nn::ScatterReductionAttr::get(n.ctx(), nn::ScatterReduction::min)));
}

/// Distances between all rows of A and all rows of B, from differences: |a|^2 + |b|^2 - 2 a b would
/// lose what near rows have in common.
void importCDist(Node &n) {
  std::string metric = n.s("metric", "sqeuclidean");
  if (metric != "sqeuclidean" && metric != "euclidean")
    n.unsupported("attribute 'metric'", "only euclidean and sqeuclidean are supported");
  Value a = n.in(0), b = n.in(1);
  n.needSameType({a, b});
  n.needFloat(a);
  n.needRank(a, 2, 2);
  n.needRank(b, 2, 2);
  Value difference = n.make<nn::SubOp>(n.unsqueeze(a, {1}), n.unsqueeze(b, {0}));
  auto kind = metric == "euclidean" ? nn::ReduceKind::l2 : nn::ReduceKind::sum_square;
  n.out(0, n.reduce(difference, kind, {2}, false));
}

void importInverse(Node &n) {
  n.needFloat(n.in(0));
  n.needRank(n.in(0), 2);
  n.out(0, n.make<nn::InverseOp>(n.in(0)));
}

/// MaxPool of [batch, spatial..., channels].
void importNhwcMaxPool(Node &n) {
  Value x = n.in(0);
  int64_t rank = n.rank(x);
  n.needRank(x, 3);
  Ints toFirst = {0, rank - 1}, toLast = {0};
  for (int64_t i = 1; i < rank - 1; ++i) {
    toFirst.push_back(i);
    toLast.push_back(i + 1);
  }
  toLast.push_back(1);
  // The window is read for the layout that the attributes describe.
  Value first = n.transpose(x, toFirst);
  n.out(0, n.transpose(maxPool(n, first, false)[0], toLast));
}

} // namespace

void registerContribMisc(Registry &r) {
  r.add("com.microsoft.NGramRepeatBlock", 2, 2, importNGramRepeatBlock, 1, 1);
  r.add("com.microsoft.CDist", 2, 2, importCDist, 1, 1);
  r.add("com.microsoft.Inverse", 1, 1, importInverse, 1, 1);
  r.add("com.microsoft.NhwcMaxPool", 1, 1, importNhwcMaxPool, 1, 1);
}

} // namespace nnopt::onnx
