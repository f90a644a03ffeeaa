//===- QuantizedContraction.cpp - products and convolutions of integers ---===//
//
// One operation on the integers that accumulates in i32; what follows (scales, bias, rounding) is
// elementwise and becomes its epilogue.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/ops/Contraction.h"
#include "lib/frontend/onnx/ops/Quantized.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

static void needByte(Node &n, Value v) {
  auto type = dyn_cast<IntegerType>(n.elt(v));
  if (!type || type.getWidth() != 8)
    n.invalid("an operand should be int8 or uint8");
}

/// A vector of one zero point, or of one for each index of dimension `axis` of v: the latter where its length is not known.
static Value forEach(Node &n, Value zero, Value v, int64_t axis) {
  return n.dim(zero, 0).isConst() ? zero : n.make<nn::ExpandOp>(zero, n.shapeOf(v, axis, axis + 1));
}

/// A zero point as nn.matmul takes it: a scalar, or one for each index of dimension `axis` of v (negative: v has no such
/// dimension). Nothing where it has another form.
static std::optional<Value> plainZero(Node &n, Value zero, Value v, int64_t axis) {
  if (!zero || n.rank(zero) == 0)
    return zero;
  bool isOne = llvm::all_of(n.dims(zero), [](Dim d) { return d.isConst(1); });
  if (isOne || (n.rank(zero) == 1 && axis < 0))
    return n.scalar(zero);
  if (n.rank(zero) == 1)
    return forEach(n, zero, v, axis);
  return std::nullopt;
}

Value integerProduct(Node &n, Value a, Value b, Value aZero, Value bZero) {
  needByte(n, a);
  needByte(n, b);
  n.needRank(a, 1);
  n.needRank(b, 1);
  if (aZero)
    n.needSameType({a, aZero});
  if (bZero)
    n.needSameType({b, bZero});
  auto plainA = plainZero(n, aZero, a, int64_t(n.rank(a)) - 2);
  auto plainB = plainZero(n, bZero, b, n.rank(b) == 1 ? -1 : n.rank(b) - 1);
  if (plainA && plainB)
    return n.make<nn::MatMulOp>(a, b, Value(), *plainA, *plainB, ValueRange(), n.flag(false),
                                n.flag(false));
  // Zero points that differ from matrix to matrix: subtracted before. [..., M, 1] and [..., 1, N].
  Type i32 = n.b().getI32Type();
  auto subtracted = [&](Value v, Value zero, bool isRow) {
    v = n.convert(v, i32);
    if (!zero)
      return v;
    if (isRow && n.rank(zero) == 1 && !n.dim(zero, 0).isConst(1))
      zero = n.unsqueeze(zero, {1});
    return n.make<nn::SubOp>(v, n.convert(zero, i32));
  };
  return n.matmul(subtracted(a, aZero, true), subtracted(b, bZero, false));
}

namespace {

void importMatMulInteger(Node &n) {
  n.out(0, integerProduct(n, n.in(0), n.in(1), n.optIn(2), n.optIn(3)));
}

/// A convolution of integers: an i32 tensor.
Value integerConvolution(Node &n, Value x, Value w, Value bias, Value xZero, Value wZero) {
  needByte(n, x);
  needByte(n, w);
  if (xZero) {
    n.needSameType({x, xZero});
    xZero = n.scalar(xZero);
  }
  if (wZero) {
    n.needSameType({w, wZero});
    n.needRank(wZero, 0, 1);
    wZero = alongAxis(n, wZero, 0, 1);
    if (n.rank(wZero) == 1)
      wZero = forEach(n, wZero, w, 0);
  }
  return convolution(n, x, w, bias, xZero, wZero);
}

void importConvInteger(Node &n) {
  n.out(0, integerConvolution(n, n.in(0), n.in(1), Value(), n.optIn(2), n.optIn(3)));
}

/// xScale * wScale / yScale in f32; the scale of the weights may have one number for each channel.
Value multiplier(Node &n, Value xScale, Value wScale, Value yScale) {
  Type f32 = n.b().getF32Type();
  Value product = n.make<nn::MulOp>(n.convert(xScale, f32), n.convert(wScale, f32));
  return n.make<nn::DivOp>(product, n.convert(yScale, f32));
}

/// A scale or zero point of the left operand: one number, one for each row, or broadcasting already.
Value ofRows(Node &n, Value v) {
  if (n.rank(v) == 1)
    return alongAxis(n, v, 0, 2);
  return v;
}

void importQLinearMatMul(Node &n) {
  Value acc = integerProduct(n, n.in(0), n.in(3), n.optIn(2), n.optIn(5));
  bool isVector = n.rank(n.in(3)) == 1; // no columns
  Value bScale = n.rank(n.in(4)) == 1 ? alongAxis(n, n.in(4), 0, isVector ? 2 : 1) : n.in(4);
  Value scale = multiplier(n, ofRows(n, n.in(1)), bScale, ofRows(n, n.in(6)));
  n.out(0, requantize(n, acc, scale, ofRows(n, n.in(7))));
}

void importQLinearConv(Node &n) {
  // x, scale, zero; w, scale, zero; y scale, zero; bias
  if (n.hasIn(8) && !n.elt(n.in(8)).isSignlessInteger(32))
    n.invalid("the bias should be int32");
  bool last = n.i("channels_last", 0); // of com.microsoft
  Value x = n.in(0);
  int64_t rank = n.rank(x);
  Ints toFirst = {0, rank - 1}, toLast = {0};
  for (int64_t i = 1; i < rank - 1; ++i) {
    toFirst.push_back(i);
    toLast.push_back(i + 1);
  }
  toLast.push_back(1);
  if (last)
    x = n.transpose(x, toFirst);
  Value acc = integerConvolution(n, x, n.in(3), n.optIn(8), n.in(2), n.in(5));
  n.needRank(n.in(4), 0, 1);
  Value scale = multiplier(n, n.scalar(n.in(1)), alongAxis(n, n.in(4), 1, rank), n.scalar(n.in(6)));
  Value y = requantize(n, acc, scale, n.scalar(n.in(7)));
  n.out(0, last ? n.transpose(y, toLast) : y);
}

//===----------------------------------------------------------------------===//
// com.microsoft
//===----------------------------------------------------------------------===//

/// An i32 product times the scales of its operands, and a bias.
void scaledProduct(Node &n, Value acc, Value aScale, Value bScale, Value bias) {
  Type f32 = n.b().getF32Type();
  Value scale = n.make<nn::MulOp>(n.convert(aScale, f32), n.convert(bScale, f32));
  Value y = n.make<nn::MulOp>(n.convert(acc, f32), scale);
  if (bias)
    y = n.make<nn::AddOp>(y, n.convert(bias, f32));
  n.out(0, n.convert(y, n.elt(aScale)));
}

void importDynamicQuantizeMatMul(Node &n) {
  // A, B, B's scale, B's zero point, bias
  Quantized a = quantizeDynamically(n, n.in(0));
  Value acc = integerProduct(n, a.values, n.in(1), a.zero, n.optIn(3));
  scaledProduct(n, acc, a.scale, alongAxis(n, n.in(2), 0, 1), n.optIn(4));
}

void importMatMulIntegerToFloat(Node &n) {
  // A, B, scales, zero points, bias
  Value acc = integerProduct(n, n.in(0), n.in(1), n.optIn(4), n.optIn(5));
  scaledProduct(n, acc, alongAxis(n, n.in(2), 0, 2), alongAxis(n, n.in(3), 0, 1), n.optIn(6));
}

/// A product of integers is not scaled; the accumulator is the result or is scaled as a whole.
void importQGemm(Node &n) {
  // A, scale, zero; B, scale, zero; C (i32); y scale, zero
  bool transposeA = n.i("transA", 0), transposeB = n.i("transB", 0);
  double alpha = n.f("alpha", 1);
  Type f32 = n.b().getF32Type();
  Value a = n.in(0), b = n.in(3), aZero = n.optIn(2), bZero = n.optIn(5);
  needByte(n, a);
  needByte(n, b);
  n.needRank(a, 2, 2);
  n.needRank(b, 2, 2);
  if (aZero)
    aZero = n.scalar(aZero);
  if (bZero)
    bZero = alongAxis(n, bZero, 0, 1);
  Value acc = n.make<nn::MatMulOp>(a, b, Value(), aZero, bZero, ValueRange(), n.flag(transposeA),
                                   n.flag(transposeB));
  if (n.hasIn(6))
    acc = n.make<nn::AddOp>(acc, n.in(6));
  Value scale = n.make<nn::MulOp>(n.scalar(n.in(1)), alongAxis(n, n.in(4), 0, 1));
  if (alpha != 1)
    scale = n.make<nn::MulOp>(scale, n.number(alpha, f32));
  if (!n.hasIn(7)) {
    n.out(0, n.make<nn::MulOp>(n.convert(acc, f32), scale));
    return;
  }
  scale = n.make<nn::DivOp>(scale, n.scalar(n.in(7)));
  Value zero = n.hasIn(8) ? n.scalar(n.in(8)) : n.number(0, n.elt(a));
  n.out(0, requantize(n, acc, scale, zero));
}

} // namespace

void registerQuantizedContraction(Registry &r) {
  r.add("MatMulInteger", 2, 4, importMatMulInteger, 1, 10);
  r.add("ConvInteger", 2, 4, importConvInteger, 1, 10);
  r.add("QLinearMatMul", 8, 8, importQLinearMatMul, 1, 10);
  r.add("QLinearConv", 8, 9, importQLinearConv, 1, 10);
  r.add("com.microsoft.QLinearConv", 8, 9, importQLinearConv, 1, 1);
  r.add("com.microsoft.DynamicQuantizeMatMul", 3, 5, importDynamicQuantizeMatMul, 1, 1);
  r.add("com.microsoft.MatMulIntegerToFloat", 4, 7, importMatMulIntegerToFloat, 1, 1);
  r.add("com.microsoft.QGemm", 6, 9, importQGemm, 1, 1);
}

} // namespace nnopt::onnx
