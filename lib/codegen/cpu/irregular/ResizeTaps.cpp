//===- ResizeTaps.cpp - where resize samples its input --------------------===//
//
// Coordinates and weights follow the formulas of the ONNX Resize specification, in f32.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/ResizeTaps.h"

using namespace mlir;
namespace nnopt::cpu {

namespace {
/// f32 arithmetic on values of a kernel.
struct Float {
  Kernel *k;
  Value v;
  Float operator+(Float o) const { return {k, arith::AddFOp::create(k->b, k->loc, v, o.v)}; }
  Float operator-(Float o) const { return {k, arith::SubFOp::create(k->b, k->loc, v, o.v)}; }
  Float operator*(Float o) const { return {k, arith::MulFOp::create(k->b, k->loc, v, o.v)}; }
  Float operator/(Float o) const { return {k, arith::DivFOp::create(k->b, k->loc, v, o.v)}; }
  Float operator+(double o) const { return *this + Float{k, k->f32(o)}; }
  Float operator-(double o) const { return *this - Float{k, k->f32(o)}; }
  Float operator*(double o) const { return *this * Float{k, k->f32(o)}; }
  Float floor() const { return {k, math::FloorOp::create(k->b, k->loc, v)}; }
  Float ceil() const { return {k, math::CeilOp::create(k->b, k->loc, v)}; }
  Ix index() const { return {k, arith::FPToSIOp::create(k->b, k->loc, k->b.getI64Type(), v)}; }
};
} // namespace

ResizeTaps::ResizeTaps(nn::ResizeOp op, Lowering &lowering) : op(op), lowering(lowering) {
  in = lowering.dims(op.getX());
  out = lowering.dims(op.getResult());
  if (op.getScales())
    constantScales = lowering.constant(op.getScales());
  for (unsigned axis = 0; axis < in.size(); ++axis) {
    bool same = op.getSizes() ? in[axis] == out[axis] : constantScales && constantScales->asDouble(axis) == 1.0;
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

LogicalResult ResizeTaps::defineSizes() {
  for (unsigned axis : resized) {
    if (isResolved(lowering, op, out[axis]))
      continue;
    auto compute = [&](Kernel &k) -> Ix {
      if (op.getSizes()) {
        Buffer sizes = k.read(op.getSizes());
        return k.toIndex(k.load(sizes, k.c(axis)), sizes.isUnsigned);
      }
      return (Float{&k, indexToF32(k, k.dim(in[axis]))} * Float{&k, scaleOf(k, axis)}).floor().index();
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
    return k.toFloat(k.load(k.read(op.getScales()), k.c(axis)));
  return (Float{&k, indexToF32(k, k.dim(out[axis]))} / Float{&k, indexToF32(k, k.dim(in[axis]))}).v;
}

void ResizeTaps::prepare(Kernel &k) {
  scales.assign(in.size(), Value());
  for (unsigned axis : resized)
    scales[axis] = scaleOf(k, axis);
}

/// The position in the input that result position `o` stands for.
Value ResizeTaps::coordinate(Kernel &k, unsigned axis, Ix o) {
  Float x{&k, indexToF32(k, o)}, scale{&k, scales[axis]};
  Ix inSize = k.dim(in[axis]), outSize = k.dim(out[axis]);
  Float inLength{&k, indexToF32(k, inSize)}, outLength{&k, indexToF32(k, outSize)};
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
    return k.select(outSize <= k.c(1), k.f32(0), (x * (inLength - 1.0) / (outLength - 1.0)).v);
  case nn::CoordinateMode::asymmetric:
    return (x / scale).v;
  case nn::CoordinateMode::tf_crop_and_resize:
    break;
  }
  llvm_unreachable("the emitters refuse other modes");
}

SmallVector<Tap, 4> ResizeTaps::taps(Kernel &k, unsigned axis, Ix o) {
  Float x{&k, coordinate(k, axis, o)};
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

} // namespace nnopt::cpu
