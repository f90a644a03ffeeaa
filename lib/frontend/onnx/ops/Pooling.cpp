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
  auto op = nn::MaxPoolOp::create(n.b(), n.location(), n.placeholder(), indices ? n.placeholder() : Type(), x,
                                  n.i64s(w.kernel), n.i64s(w.strides), n.i64s(w.pads), n.i64s(w.dilations),
                                  n.flag(ceil), n.flag(columnMajor));
  n.infer(op);
  n.outs(op->getResults());
}

void importAveragePool(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  Window w = poolWindow(n);
  bool ceil = n.i("ceil_mode", 0), padding = n.i("count_include_pad", 0);
  n.out(0, n.make<nn::AvgPoolOp>(x, n.i64s(w.kernel), n.i64s(w.strides), n.i64s(w.pads), n.i64s(w.dilations),
                                 n.flag(ceil), n.flag(padding)));
}

int64_t exponentOf(Node &n) {
  int64_t p = n.i("p", 2);
  if (p < 1)
    n.invalid("attribute 'p' must be positive");
  return p;
}

void importLpPool(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  Window w = poolWindow(n);
  bool ceil = n.i("ceil_mode", 0);
  n.out(0, n.make<nn::LpPoolOp>(x, n.i64s(w.kernel), n.i64s(w.strides), n.i64s(w.pads), n.i64s(w.dilations),
                                n.i64(exponentOf(n)), n.flag(ceil)));
}

/// What pooling leaves over is put at its place again. The indices refer to the size that kernel, strides and pads
/// give; output_shape adds zeros behind.
void importMaxUnpool(Node &n) {
  Value x = n.in(0), indices = n.in(1);
  n.needFloat(x);
  n.needInt(indices);
  Window w = readWindow(n, x, {});
  if (auto pads = n.ints("pads"))
    w.pads = *pads;
  else
    w.pads.assign(2 * w.kernel.size(), 0);
  Value y = n.make<nn::MaxUnpoolOp>(x, indices, n.i64s(w.kernel), n.i64s(w.strides), n.i64s(w.pads));
  if (n.hasIn(2)) {
    Value shape = n.in(2);
    n.needInt(shape);
    Value own = n.make<nn::ShapeOp>(y, n.i64(0), IntegerAttr());
    Value behind = n.make<nn::SubOp>(n.convert(shape, n.b().getI64Type()), own);
    Value before = n.intsConstant(Ints(n.rank(y), 0));
    y = n.make<nn::PadOp>(y, n.make<nn::ConcatOp>(ValueRange{before, behind}, n.i64(0)), Value(), Value(),
                          nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant));
  }
  n.out(0, y);
}

/// Reduction over all spatial dimensions, which stay as 1.
Value globalPool(Node &n, Value x, nn::ReduceKind kind) {
  n.needRank(x, 3);
  n.needFloat(x);
  Ints axes;
  for (unsigned a = 2; a < n.rank(x); ++a)
    axes.push_back(a);
  return n.reduce(x, kind, axes, true);
}

void importGlobalLpPool(Node &n) {
  Value x = n.in(0);
  int64_t p = exponentOf(n);
  if (p <= 2) {
    n.out(0, globalPool(n, x, p == 1 ? nn::ReduceKind::l1 : nn::ReduceKind::l2));
    return;
  }
  Value power = n.make<nn::PowOp>(n.make<nn::AbsOp>(x), n.number(p, n.elt(x)));
  n.out(0, n.make<nn::PowOp>(globalPool(n, power, nn::ReduceKind::sum), n.number(1.0 / p, n.elt(x))));
}

} // namespace

void registerPooling(Registry &r) {
  r.add("MaxPool", 1, 1, importMaxPool, 2);
  r.add("AveragePool", 1, 1, importAveragePool);
  r.add("GlobalAveragePool", 1, 1, [](Node &n) { n.out(0, globalPool(n, n.in(0), nn::ReduceKind::mean)); });
  r.add("GlobalMaxPool", 1, 1, [](Node &n) { n.out(0, globalPool(n, n.in(0), nn::ReduceKind::max)); });
  r.add("GlobalLpPool", 1, 1, importGlobalLpPool);
  r.add("LpPool", 1, 1, importLpPool);
  r.add("MaxUnpool", 2, 3, importMaxUnpool, 1, 9);
}

} // namespace nnopt::onnx
