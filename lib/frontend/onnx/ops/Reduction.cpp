//===- Reduction.cpp - import rules of reductions and scans ---------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// A reduction over axes that are not known when compiling, nor perhaps how many they are.
Value reduceUnknown(Node &n, Value x, Value axes, nn::ReduceKind kind, bool keep, bool noop) {
  n.needInt(axes);
  n.needRank(axes, 1, 1);
  auto reduced = [&](Value v, Value over, bool keepDims) {
    return n.make<nn::ReduceOp>(v, over, nn::ReduceKindAttr::get(n.ctx(), kind), DenseI64ArrayAttr(),
                                n.b().getBoolAttr(keepDims));
  };
  if (n.dim(axes, 0).isConst())
    return reduced(x, axes, keep);
  int64_t rank = n.rank(x), left = rank;
  if (!keep) {
    std::optional<int64_t> declared = n.declaredRank(0);
    if (!declared || *declared > rank)
      n.unsupported("axes", "their number must be known when compiling, or the rank of the result declared");
    left = *declared;
  }
  Value y;
  if (noop) { // the last axis, of one element, stands for none
    axes = n.convert(axes, n.b().getI64Type());
    Value zero = n.intConstant(0), positive = n.make<nn::AddOp>(axes, n.intConstant(rank));
    axes = n.make<nn::WhereOp>(n.make<nn::LessOp>(axes, zero), positive, axes);
    axes = n.make<nn::ConcatOp>(ValueRange{axes, n.intsConstant({rank})}, n.i64(0));
    y = n.squeeze(reduced(n.unsqueeze(x, {rank}), axes, true), {rank});
  } else {
    y = reduced(x, axes, true);
  }
  return keep ? y : squeezeUnknown(n, y, axes, left);
}

/// Axes are an attribute at first and an operand since opset 13 (ReduceSum) or 18 (the others).
template <nn::ReduceKind kind> void importReduce(Node &n) {
  Value x = n.in(0);
  int64_t rank = n.rank(x);
  bool keep = n.i("keepdims", 1);
  bool operand = n.version() >= (kind == nn::ReduceKind::sum ? 13 : 18);
  std::optional<Ints> axes;
  bool noop = operand && n.i("noop_with_empty_axes", 0);
  if (!operand) {
    axes = n.ints("axes");
  } else if (n.hasIn(1)) {
    axes = n.content(n.in(1));
    if (!axes && n.rank(n.in(1)) == 1 && n.dim(n.in(1), 0).isConst(0))
      axes = Ints();
    if (!axes) {
      n.out(0, reduceUnknown(n, x, n.in(1), kind, keep, noop));
      return;
    }
  }
  Ints all;
  for (int64_t a = 0; a < rank; ++a)
    all.push_back(a);
  bool none = !axes || axes->empty();
  if (none && noop) {
    // Nothing is reduced, but sum_square and the like still act on each element.
    n.out(0, kind == nn::ReduceKind::sum || kind == nn::ReduceKind::mean ||
                     kind == nn::ReduceKind::max || kind == nn::ReduceKind::min ||
                     kind == nn::ReduceKind::prod
                 ? x
                 : n.squeeze(n.reduce(n.unsqueeze(x, {rank}), kind, {rank}, true), {rank}));
    return;
  }
  Ints chosen = none ? all : n.axes(*axes, rank);
  n.out(0, chosen.empty() ? n.squeeze(n.reduce(n.unsqueeze(x, {0}), kind, {0}, true), {0})
                          : n.reduce(x, kind, chosen, keep));
}

template <bool max> void importArgReduce(Node &n) {
  Value x = n.in(0);
  n.needRank(x, 1);
  int64_t axis = n.axis(n.i("axis", 0), n.rank(x));
  bool keep = n.i("keepdims", 1), last = n.i("select_last_index", 0);
  n.out(0, n.make<nn::ArgReduceOp>(x, n.i64(axis), n.b().getBoolAttr(keep), n.flag(max),
                                   n.flag(last)));
}

template <typename OpTy> void importScan(Node &n) {
  Value x = n.in(0), axis = n.scalar(n.in(1));
  n.needInt(axis);
  n.needRank(x, 1);
  if (auto known = n.content(axis)) {
    int64_t positive = n.axis((*known)[0], n.rank(x));
    if (positive != (*known)[0] || n.rank(n.in(1)) != 0)
      axis = n.intConstant(positive);
  }
  n.out(0, n.make<OpTy>(x, axis, n.flag(n.i("exclusive", 0)), n.flag(n.i("reverse", 0))));
}

} // namespace

void registerReduction(Registry &r) {
  r.add("ReduceSum", 1, 2, importReduce<nn::ReduceKind::sum>);
  r.add("ReduceMean", 1, 2, importReduce<nn::ReduceKind::mean>);
  r.add("ReduceMax", 1, 2, importReduce<nn::ReduceKind::max>);
  r.add("ReduceMin", 1, 2, importReduce<nn::ReduceKind::min>);
  r.add("ReduceProd", 1, 2, importReduce<nn::ReduceKind::prod>);
  r.add("ReduceL1", 1, 2, importReduce<nn::ReduceKind::l1>);
  r.add("ReduceL2", 1, 2, importReduce<nn::ReduceKind::l2>);
  r.add("ReduceSumSquare", 1, 2, importReduce<nn::ReduceKind::sum_square>);
  r.add("ReduceLogSum", 1, 2, importReduce<nn::ReduceKind::log_sum>);
  r.add("ReduceLogSumExp", 1, 2, importReduce<nn::ReduceKind::log_sum_exp>);
  r.add("ArgMax", 1, 1, importArgReduce<true>);
  r.add("ArgMin", 1, 1, importArgReduce<false>);
  r.add("CumSum", 2, 2, importScan<nn::CumSumOp>, 1, 11);
  r.add("CumProd", 2, 2, importScan<nn::CumProdOp>, 1, 26);
}

} // namespace nnopt::onnx
