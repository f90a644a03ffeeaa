//===- Signal.cpp - import rules of signal processing ---------------------===//
#include "lib/frontend/onnx/Importer.h"

#include <cmath>

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// An operand of one integer as an i64 scalar.
Value integer(Node &n, Value v) {
  n.needInt(v);
  return n.convert(n.scalar(v), n.b().getI64Type());
}

/// 0, 1, ... below `count` (an i64 scalar).
Value countTo(Node &n, Value count) { return n.make<nn::RangeOp>(n.intConstant(0), count, n.intConstant(1)); }

/// The element type that attribute output_datatype names.
Type outputType(Node &n) {
  int64_t id = n.i("output_datatype", 1);
  Type type = elementType(n.ctx(), id);
  if (!type)
    n.unsupported("attribute 'output_datatype'", "element type " + dataTypeName(id) + " is not supported");
  return type;
}

//===----------------------------------------------------------------------===//
// Fourier transforms
//===----------------------------------------------------------------------===//

Value dft(Node &n, Value x, Value length, Value axis, bool inverse, bool onesided) {
  return n.make<nn::DFTOp>(x, length, axis, n.flag(inverse), n.flag(onesided));
}

/// The axis is an attribute before opset 20, an operand since.
void importDFT(Node &n) {
  Value x = n.in(0), length = n.hasIn(1) ? integer(n, n.in(1)) : Value(), axis;
  n.needFloat(x);
  n.needRank(x, 2);
  int64_t rank = n.rank(x);
  std::optional<int64_t> known;
  if (n.version() < 20)
    known = n.i("axis", 1);
  else if (!n.hasIn(2))
    known = -2;
  else if (auto content = n.content(n.in(2)); content && content->size() == 1)
    known = content->front();
  else
    axis = integer(n, n.in(2));
  if (known) {
    int64_t positive = n.axis(*known, rank);
    if (positive == rank - 1)
      n.invalid("the axis is that of real and imaginary parts");
    axis = n.intConstant(positive);
  }
  if (length)
    if (auto content = n.content(length); content && content->front() < 1)
      n.invalid("dft_length must be positive");
  bool inverse = n.i("inverse", 0), onesided = n.i("onesided", 0);
  n.out(0, dft(n, x, length, axis, inverse, onesided));
}

/// Frames of the signal, times the window, transformed.
void importSTFT(Node &n) {
  Value signal = n.in(0), step = integer(n, n.in(1)), window = n.optIn(2);
  n.needFloat(signal);
  n.needRank(signal, 2, 3);
  if (n.rank(signal) == 2)
    signal = n.unsqueeze(signal, {2});
  if (window) {
    n.needSameType({signal, window});
    n.needRank(window, 1, 1);
  }
  auto sizeOf = [&](Value v, int64_t a) { return n.scalar(n.make<nn::ShapeOp>(v, n.i64(a), n.i64(a + 1))); };
  Value total = sizeOf(signal, 1);
  // With both a window and a length, they agree.
  Value length = window ? sizeOf(window, 0) : n.hasIn(3) ? integer(n, n.in(3)) : total;
  if (auto content = n.content(step); content && content->front() < 1)
    n.invalid("frame_step must be positive");
  Value count = n.make<nn::DivOp>(n.make<nn::SubOp>(total, length), step);
  count = n.make<nn::AddOp>(count, n.intConstant(1));
  Value starts = n.unsqueeze(n.make<nn::MulOp>(countTo(n, count), step), {1});
  Value positions = n.make<nn::AddOp>(starts, n.unsqueeze(countTo(n, length), {0}));
  Value frames = n.make<nn::GatherOp>(signal, positions, n.i64(1));
  if (window)
    frames = n.make<nn::MulOp>(frames, n.unsqueeze(window, {1}));
  n.out(0, dft(n, frames, Value(), n.intConstant(2), false, n.i("onesided", 1)));
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

/// Weights of cos(0), cos(angle), cos(2 angle), where the angle goes once around the window.
using Cosines = std::array<double, 3>;

void importWindow(Node &n, const Cosines &weights) {
  Value size = integer(n, n.in(0));
  Type type = outputType(n), f64 = n.b().getF64Type();
  Value length = n.convert(size, f64);
  if (!n.i("periodic", 1))
    length = n.make<nn::SubOp>(length, n.number(1, f64));
  Value i = n.convert(countTo(n, size), f64);
  Value angle = n.make<nn::DivOp>(n.make<nn::MulOp>(i, n.number(2 * M_PI, f64)), length), sum;
  for (unsigned term = 1; term < weights.size(); ++term) {
    if (weights[term] == 0)
      continue;
    Value multiple = n.make<nn::MulOp>(angle, n.number(term, f64));
    Value part = n.make<nn::MulOp>(n.make<nn::CosOp>(multiple), n.number(weights[term], f64));
    sum = n.make<nn::AddOp>(sum ? sum : n.number(weights[0], f64), part);
  }
  n.out(0, n.convert(sum, type));
}

//===----------------------------------------------------------------------===//
// Mel spectrum
//===----------------------------------------------------------------------===//

/// Triangles between neighbouring edges, which are equally spaced on the mel scale, mel(f) = 2595 log10(1 + f / 700).
void importMelWeightMatrix(Node &n) {
  Type type = outputType(n), f64 = n.b().getF64Type();
  auto number = [&](double v) { return n.number(v, f64); };
  auto real = [&](unsigned i) { return n.convert(n.scalar(n.in(i)), f64); };
  auto add = [&](Value a, Value b) { return n.make<nn::AddOp>(a, b); };
  auto sub = [&](Value a, Value b) { return n.make<nn::SubOp>(a, b); };
  auto mul = [&](Value a, Value b) { return n.make<nn::MulOp>(a, b); };
  auto div = [&](Value a, Value b) { return n.make<nn::DivOp>(a, b); };
  auto where = [&](Value c, Value a, Value b) { return n.make<nn::WhereOp>(c, a, b); };
  double scale = 2595 / std::log(10.0);
  auto mel = [&](Value hertz) {
    return mul(n.make<nn::LogOp>(add(div(hertz, number(700)), number(1))), number(scale));
  };
  Value bands = integer(n, n.in(0)), length = integer(n, n.in(1));
  Value low = mel(real(3)), high = mel(real(4));
  Value step = div(sub(high, low), add(real(0), number(2)));
  Value band = n.convert(countTo(n, bands), f64);
  // The element of the spectrum at edge `shift` of each band.
  auto edge = [&](int64_t shift) {
    Value m = add(mul(add(band, number(shift)), step), low);
    Value hertz = mul(sub(n.make<nn::ExpOp>(div(m, number(scale))), number(1)), number(700));
    Value at = div(mul(add(real(1), number(1)), hertz), real(2));
    return n.unsqueeze(n.make<nn::FloorOp>(at), {0});
  };
  Value left = edge(0), center = edge(1), right = edge(2);
  Value bins = add(n.make<nn::DivOp>(length, n.intConstant(2)), n.intConstant(1));
  Value bin = n.unsqueeze(n.convert(countTo(n, bins), f64), {1});
  auto both = [&](Value a, Value b) { return n.make<nn::LogicalAndOp>(a, b); };
  Value rising = both(n.make<nn::GreaterOrEqualOp>(bin, left), n.make<nn::LessOrEqualOp>(bin, center));
  Value falling = both(n.make<nn::GreaterOp>(bin, center), n.make<nn::LessOp>(bin, right));
  // A rising side without width is the center alone.
  Value width = n.make<nn::MaxOp>(sub(center, left), number(1));
  Value rise = where(n.make<nn::EqualOp>(bin, center), number(1), div(sub(bin, left), width));
  Value weights = where(
      rising, rise, where(falling, div(sub(right, bin), n.make<nn::MaxOp>(sub(right, center), number(1))), number(0)));
  n.out(0, n.convert(weights, type));
}

} // namespace

void registerSignal(Registry &r) {
  r.add("DFT", 1, 3, importDFT, 1, 17);
  r.add("STFT", 2, 4, importSTFT, 1, 17);
  r.add(
      "HannWindow", 1, 1,
      [](Node &n) {
        importWindow(n, {0.5, -0.5, 0});
      },
      1, 17);
  r.add(
      "HammingWindow", 1, 1,
      [](Node &n) {
        importWindow(n, {25.0 / 46, 25.0 / 46 - 1, 0});
      },
      1, 17);
  r.add(
      "BlackmanWindow", 1, 1,
      [](Node &n) {
        importWindow(n, {0.42, -0.5, 0.08});
      },
      1, 17);
  r.add("MelWeightMatrix", 5, 5, importMelWeightMatrix, 1, 17);
}

} // namespace nnopt::onnx
