//===- ResizeTaps.cpp - where resize samples its input --------------------===//
//
// Coordinates and weights follow the formulas of the ONNX Resize specification, in f32.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/ResizeTaps.h"
#include "lib/codegen/cpu/Float.h"

using namespace mlir;
namespace nnopt::cpu {

ResizeTaps::ResizeTaps(nn::ResizeOp op, Lowering &lowering) : op(op), lowering(lowering) {
  in = lowering.dims(op.getX());
  out = lowering.dims(op.getResult());
  if (op.getScales())
    constantScales = lowering.constant(op.getScales());
  for (unsigned axis = 0; axis < in.size(); ++axis) {
    bool same = op.getScales() ? constantScales && constantScales->asDouble(axis) == 1.0 : true;
    if (op.getSizes())
      same &= in[axis] == out[axis];
    if (crops()) {
      auto roi = lowering.constant(op.getRoi());
      same &= roi && roi->asDouble(axis) == 0 && roi->asDouble(in.size() + axis) == 1;
    }
    if (!same)
      resized.push_back(axis);
  }
}

unsigned ResizeTaps::count() {
  switch (op.getMode()) {
  case nn::ResizeMode::nearest:
    return 1;
  case nn::ResizeMode::linear:
    return 2;
  case nn::ResizeMode::cubic:
    return 4;
  }
  llvm_unreachable("all modes are handled");
}

int64_t ResizeTaps::repeats(unsigned axis) {
  if (op.getMode() != nn::ResizeMode::nearest)
    return 0;
  double factor = 0;
  if (op.getScales())
    factor = constantScales ? constantScales->asDouble(axis) : 0;
  else if (in[axis].isConst() && out[axis].isConst() && in[axis].value() > 0)
    factor = double(out[axis].value()) / in[axis].value();
  if (factor < 1 || factor > 64 || factor != int64_t(factor))
    return 0;
  // Results f i to f i + f - 1 must be element i. Centers of pixels (half_pixel) are never halfway between two elements, and rounded to
  // the nearest; corners (asymmetric) and what tf_half_pixel_for_nn makes of centers are rounded down.
  nn::NearestMode nearest = op.getNearest();
  bool rounds = nearest == nn::NearestMode::round_prefer_floor || nearest == nn::NearestMode::round_prefer_ceil;
  switch (op.getCoordinates()) {
  case nn::CoordinateMode::half_pixel:
  case nn::CoordinateMode::half_pixel_symmetric:
  case nn::CoordinateMode::pytorch_half_pixel:
    return rounds ? int64_t(factor) : 0;
  case nn::CoordinateMode::asymmetric:
  case nn::CoordinateMode::tf_half_pixel_for_nn:
    return nearest == nn::NearestMode::floor ? int64_t(factor) : 0;
  default:
    return 0;
  }
}

LogicalResult ResizeTaps::defineSizes() {
  for (unsigned axis : resized) {
    if (isResolved(lowering, op, out[axis]))
      continue;
    auto compute = [&](Kernel &k) -> Ix {
      if (op.getSizes()) {
        Buffer sizes = k.read(op.getSizes());
        return k.toIndex(k.load(sizes, k.c(axis)), sizes.isUnsigned);
      }
      return (Float{&k, indexToF32(k, k.dim(in[axis]))} * Float{&k, scaleOf(k, axis)}).floor().index().max(k.c(0));
    };
    if (failed(defineSymbol(lowering, op, out[axis], compute)))
      return failure();
  }
  return success();
}

Value ResizeTaps::scaleOf(Kernel &k, unsigned axis) {
  if (constantScales)
    return k.f32(constantScales->asDouble(axis));
  if (op.getScales())
    return Float(&k, k.toFloat(k.load(k.read(op.getScales()), k.c(axis)))).as(k.b.getF32Type()).v;
  return (Float{&k, indexToF32(k, k.dim(out[axis]))} / Float{&k, indexToF32(k, k.dim(in[axis]))}).v;
}

void ResizeTaps::prepare(Kernel &k) {
  scales.assign(in.size(), Value());
  begins.assign(in.size(), Value());
  ends.assign(in.size(), Value());
  for (unsigned axis : resized) {
    scales[axis] = scaleOf(k, axis);
    if (!crops())
      continue;
    Buffer roi = k.read(op.getRoi());
    begins[axis] = Float(&k, k.toFloat(k.load(roi, k.c(axis)))).as(k.b.getF32Type()).v;
    ends[axis] = Float(&k, k.toFloat(k.load(roi, k.c(axis + in.size())))).as(k.b.getF32Type()).v;
  }
}

bool ResizeTaps::crops() { return op.getCoordinates() == nn::CoordinateMode::tf_crop_and_resize; }

Value ResizeTaps::isOutside(Kernel &k, unsigned axis, Ix o) {
  Float x{&k, coordinate(k, axis, o)}, last{&k, indexToF32(k, k.dim(in[axis]) - 1)};
  return lor(k, x<x.like(0), x> last);
}

/// The position in the input that result position `o` stands for.
Value ResizeTaps::coordinate(Kernel &k, unsigned axis, Ix o) {
  Float x{&k, indexToF32(k, o)}, scale{&k, scales[axis]};
  Ix inSize = k.dim(in[axis]), outSize = k.dim(out[axis]);
  // The exact length of the result, before it was rounded to elements.
  Float inLength{&k, indexToF32(k, inSize)}, outLength{&k, indexToF32(k, outSize)};
  Float exact = op.getScales() ? inLength * scale : outLength;
  switch (op.getCoordinates()) {
  case nn::CoordinateMode::half_pixel:
    return ((x + 0.5) / scale - 0.5).v;
  case nn::CoordinateMode::half_pixel_symmetric: {
    // The part of the last, incomplete pixel is spread over both ends.
    Float adjustment = outLength / (scale * inLength);
    Float offset = inLength * 0.5 * (Float{&k, k.f32(1)} - adjustment);
    return (offset + (x + 0.5) / scale - 0.5).v;
  }
  case nn::CoordinateMode::pytorch_half_pixel:
    return k.select(outSize <= k.c(1), k.f32(0), ((x + 0.5) / scale - 0.5).v);
  case nn::CoordinateMode::align_corners:
    return k.select(outSize <= k.c(1), k.f32(0), (x * (inLength - 1.0) / (exact - 1.0)).v);
  case nn::CoordinateMode::asymmetric:
    return (x / scale).v;
  case nn::CoordinateMode::tf_half_pixel_for_nn:
    return ((x + 0.5) / scale).v;
  case nn::CoordinateMode::tf_crop_and_resize: {
    Float begin{&k, begins[axis]}, end{&k, ends[axis]};
    Float inside = begin * (inLength - 1.0) + x * (end - begin) * (inLength - 1.0) / (exact - 1.0);
    return k.select(outSize <= k.c(1), ((begin + end) * 0.5 * (inLength - 1.0)).v, inside.v);
  }
  }
  llvm_unreachable("all modes are handled");
}

SmallVector<Tap, 4> ResizeTaps::taps(Kernel &k, unsigned axis, Ix o) {
  Float x{&k, coordinate(k, axis, o)};
  // Positions far outside (and NaN of a run-time scale) end at numbers that can be converted.
  x = x.atLeast(x.like(-(1 << 30))).atMost(x.like(1 << 30));
  Ix size = k.dim(in[axis]), last = size - 1;
  auto clamp = [&](Ix i) { return i.min(last).max(k.c(0)); };

  if (op.getMode() == nn::ResizeMode::nearest) {
    Float rounded = x;
    switch (op.getNearest()) {
    case nn::NearestMode::round_prefer_floor:
      rounded = (x - 0.5).ceil();
      break;
    case nn::NearestMode::round_prefer_ceil:
      rounded = (x + 0.5).floor();
      break;
    case nn::NearestMode::floor:
      rounded = x.floor();
      break;
    case nn::NearestMode::ceil:
      rounded = x.ceil();
      break;
    }
    return {{clamp(rounded.index()), Value()}};
  }

  Float low = x.floor(), f = x - low, one{&k, k.f32(1)};
  Ix first = low.index();
  if (op.getMode() == nn::ResizeMode::linear)
    return {{clamp(first), (one - f).v}, {clamp(first + 1), f.v}};

  // Keys' cubic convolution kernel with parameter a, at distances 1 + f, f, 1 - f, 2 - f.
  double a = op.getCubicCoeffA().convertToDouble();
  auto near = [&](Float d) { return (d * (a + 2) - (a + 3)) * d * d + 1.0; };
  auto far = [&](Float d) { return ((d * a - 5 * a) * d + 8 * a) * d - 4 * a; };
  Float weights[4] = {far(f + 1.0), near(f), near(one - f), far(one - f + 1.0)};
  if (op.getExcludeOutside()) {
    Float sum{&k, k.f32(0)};
    for (int i = 0; i < 4; ++i) {
      weights[i].v = k.select((first + int64_t(i - 1)).inRange(size), weights[i].v, k.f32(0));
      sum = sum + weights[i];
    }
    for (Float &w : weights)
      w = w / sum;
  }
  SmallVector<Tap, 4> result;
  for (int i = 0; i < 4; ++i)
    result.push_back({clamp(first + int64_t(i - 1)), weights[i].v});
  return result;
}

void forCombinations(Kernel &k, ArrayRef<SmallVector<Tap, 4>> axisTaps, ArrayRef<Ix> strides, Ix offset, Value weight,
                     llvm::function_ref<void(Ix, Value)> leaf) {
  if (axisTaps.empty())
    return leaf(offset, weight);
  for (const Tap &tap : axisTaps.front()) {
    Value w = weight;
    if (tap.weight)
      w = w ? Value(arith::MulFOp::create(k.b, k.loc, w, tap.weight)) : tap.weight;
    forCombinations(k, axisTaps.drop_front(), strides.drop_front(), offset + tap.index * strides.front(), w, leaf);
  }
}

} // namespace nnopt::cpu
