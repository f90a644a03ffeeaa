//===- Pooling.cpp - import rules of pooling ------------------------------===//
#include "lib/frontend/onnx/ops/Window.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

Window poolWindow(Node &n, Value x) {
  Window w = readWindow(n, x, {});
  readPads(n, x, w);
  return w;
}

/// The smallest number of a type.
static Value lowest(Node &n, Type type) {
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return n.number(-std::numeric_limits<double>::infinity(), type);
  return n.number(integer.isUnsigned() ? 0 : -std::ldexp(1., integer.getWidth() - 1), type);
}

/// Positions in x, counted through all of it, for positions in `padded`, which is x with `padding`.
/// `columnMajor`: the first spatial dimension is counted fastest.
static Value withoutPadding(Node &n, Value positions, Value x, Value padded, Value padding, bool columnMajor) {
  int64_t rank = n.rank(x);
  Value rest = positions, result, stride;
  for (int64_t i = 0; i < rank - 2; ++i) {
    int64_t axis = columnMajor ? 2 + i : rank - 1 - i;
    Value size = n.sizeOf(padded, axis), before = n.squeeze(n.slice(padding, 0, axis, axis + 1), {0});
    Value at = n.make<nn::SubOp>(n.make<nn::ModOp>(rest, size, n.flag(false)), before);
    rest = n.make<nn::DivOp>(rest, size);
    result = result ? n.make<nn::AddOp>(result, n.make<nn::MulOp>(at, stride)) : at;
    Value own = n.sizeOf(x, axis);
    stride = stride ? n.make<nn::MulOp>(stride, own) : own;
  }
  return n.make<nn::AddOp>(result, n.make<nn::MulOp>(rest, stride));
}

/// The largest elements and, where `indices` is set, their positions.
Values maxPool(Node &n, Value x, bool indices) {
  Window w = poolWindow(n, x);
  bool ceil = n.i("ceil_mode", 0), columnMajor = n.i("storage_order", 0);
  Value image = padded(n, x, w, w.padding ? lowest(n, n.elt(x)) : Value());
  auto op = nn::MaxPoolOp::create(n.b(), n.location(), n.placeholder(), indices ? n.placeholder() : Type(), image,
                                  n.i64s(w.kernel), n.i64s(w.strides), n.i64s(w.pads), n.i64s(w.dilations),
                                  n.flag(ceil), n.flag(columnMajor));
  n.infer(op);
  Values results(op->getResults());
  if (indices && w.padding)
    results[1] = withoutPadding(n, results[1], x, image, w.padding, columnMajor);
  return results;
}

Value averagePool(Node &n, Value x) {
  n.needFloat(x);
  Window w = poolWindow(n, x);
  bool ceil = n.i("ceil_mode", 0), padding = n.i("count_include_pad", 0);
  auto average = [&](Value v) {
    return n.make<nn::AvgPoolOp>(v, n.i64s(w.kernel), n.i64s(w.strides), n.i64s(w.pads), n.i64s(w.dilations),
                                 n.flag(ceil), n.flag(padding || w.padding));
  };
  if (!w.padding)
    return average(x);
  // Zeros beside x count: divided by how much of each window is not padding.
  Type type = n.elt(x), wide = type.isF64() ? type : n.b().getF32Type();
  Value y = average(padded(n, n.convert(x, wide), w, n.number(0, wide)));
  if (!padding) {
    Value shape = n.make<nn::ConcatOp>(ValueRange{n.intsConstant({1, 1}), n.shapeOf(x, 2)}, n.i64(0));
    Value ones = n.make<nn::ExpandOp>(n.number(1, wide), shape);
    y = n.make<nn::DivOp>(y, average(padded(n, ones, w, n.number(0, wide))));
  }
  return n.convert(y, type);
}

namespace {

void importMaxPool(Node &n) { n.outs(maxPool(n, n.in(0), n.isUsed(1))); }

void importAveragePool(Node &n) { n.out(0, averagePool(n, n.in(0))); }

int64_t exponentOf(Node &n) {
  int64_t p = n.i("p", 2);
  if (p < 1)
    n.invalid("attribute 'p' must be positive");
  return p;
}

void importLpPool(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  Window w = poolWindow(n, x);
  bool ceil = n.i("ceil_mode", 0);
  x = padded(n, x, w, n.number(0, n.elt(x)));
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
