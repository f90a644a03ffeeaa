//===- Pooling.cpp - import rules of pooling ------------------------------===//
#include "lib/frontend/onnx/ops/Window.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

Window poolWindow(Node &n) {
  Window w = readWindow(n, n.in(0), {});
  readPads(n, n.in(0), w);
  return w;
}

void importMaxPool(Node &n) {
  Value x = n.in(0);
  Window w = poolWindow(n);
  bool ceil = n.i("ceil_mode", 0), columnMajor = n.i("storage_order", 0), indices = n.isUsed(1);
  auto op = nn::MaxPoolOp::create(
      n.b(), n.location(), n.placeholder(), indices ? n.placeholder() : Type(), x, n.i64s(w.kernel),
      n.i64s(w.strides), n.i64s(w.pads), n.i64s(w.dilations), n.flag(ceil), n.flag(columnMajor));
  n.infer(op);
  n.outs(op->getResults());
}

void importAveragePool(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  Window w = poolWindow(n);
  bool ceil = n.i("ceil_mode", 0), padding = n.i("count_include_pad", 0);
  n.out(0, n.make<nn::AvgPoolOp>(x, n.i64s(w.kernel), n.i64s(w.strides), n.i64s(w.pads),
                                 n.i64s(w.dilations), n.flag(ceil), n.flag(padding)));
}

/// Reduction over all spatial dimensions, which stay as 1.
void globalPool(Node &n, nn::ReduceKind kind) {
  Value x = n.in(0);
  n.needRank(x, 3);
  n.needFloat(x);
  Ints axes;
  for (unsigned a = 2; a < n.rank(x); ++a)
    axes.push_back(a);
  n.out(0, n.reduce(x, kind, axes, true));
}

void importGlobalLpPool(Node &n) {
  int64_t p = n.i("p", 2);
  if (p != 1 && p != 2)
    n.unsupported("attribute 'p'", "only 1 and 2 are supported");
  globalPool(n, p == 1 ? nn::ReduceKind::l1 : nn::ReduceKind::l2);
}

} // namespace

void registerPooling(Registry &r) {
  r.add("MaxPool", 1, 1, importMaxPool, 2);
  r.add("AveragePool", 1, 1, importAveragePool);
  r.add("GlobalAveragePool", 1, 1, [](Node &n) { globalPool(n, nn::ReduceKind::mean); });
  r.add("GlobalMaxPool", 1, 1, [](Node &n) { globalPool(n, nn::ReduceKind::max); });
  r.add("GlobalLpPool", 1, 1, importGlobalLpPool);
}

} // namespace nnopt::onnx
