//===- Sampler.cpp - interpolation at positions that channels share -------===//
#include "lib/codegen/cpu/sampling/Sampler.h"
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;
namespace nnopt::cpu {

/// The offset of an element outside of the image. It stays negative when offsets along other axes
/// are added, as long as a plane has less than 2^56 elements.
constexpr int64_t kOutside = -(int64_t(1) << 56);
/// Positions further away than this are all the same, and can be converted to integers.
constexpr double kFar = 1 << 30;

/// Integers of 32 and more bits need f64 to keep their digits.
static Type sampleType(const Buffer &x) {
  auto integer = dyn_cast<IntegerType>(x.valueType);
  return integer && integer.getWidth() >= 32 ? Float64Type::get(integer.getContext()) : computeType(x.valueType);
}

Sampler::Sampler(Kernel &k, const Buffer &x, const SampleRule &rule, int64_t lanes)
    : k(k), x(x), rule(rule), spatial(x.rank() - 2), lanes(lanes), type(sampleType(x)), strides(k.strides(x.dims)) {
  int64_t entries = int64_t(spatial) * rule.taps() * kBlock;
  offsets = k.at(k.scratch(k.lowering.c(entries * 8)), k.b.getI64Type());
  if (blends())
    weights = k.at(k.scratch(k.lowering.c(entries * (type.getIntOrFloatBitWidth() / 8))), type);
}

Ix Sampler::planeSize() { return k.dim(k.lowering.product(x.dims, 2, x.rank())); }

Ix Sampler::at(unsigned axis, unsigned tap, Ix p) { return p + int64_t(axis * rule.taps() + tap) * kBlock; }

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

/// A position outside of the image as the padding wants it: at the border, or reflected.
Float Sampler::padPosition(Float c, Ix size) {
  Type t = c.v.getType();
  // NaN becomes a position far outside.
  c = c.atLeast(c.like(-kFar)).atMost(c.like(kFar));
  if (rule.padding == nn::SamplePadding::zeros)
    return c;
  Float n = Float::of(size, k, t), last = n - 1.0;
  Float low = c.like(rule.alignCorners ? 0 : -0.5), high = rule.alignCorners ? last : n - 0.5;
  Value outside = lor(k, c<low, c> high);
  if (rule.padding == nn::SamplePadding::border)
    return Float::choose(outside, c.atLeast(c.like(0)).atMost(last), c);
  // Reflected at both borders until it is inside: distance modulo the range, from the near border
  // after an even number of reflections, from the other one after an odd number.
  Float range = high - low;
  Value before = c < low;
  Float distance = Float::choose(before, low - c, c - high);
  Float times = (distance / range).floor(), rest = distance - times * range;
  Value odd = Float(times - (times / 2.0).floor() * 2.0) == c.like(1);
  Value fromLow = arith::XOrIOp::create(k.b, k.loc, before, odd);
  Float reflected = Float::choose(fromLow, low + rest, high - rest);
  reflected = Float::choose(range > c.like(0), reflected, low);
  return Float::choose(outside, reflected, c);
}

/// The same for an element beside the image, which a position inside of it may need.
Ix Sampler::padIndex(Ix i, Ix size) {
  Ix last = size - 1;
  switch (rule.padding) {
  case nn::SamplePadding::zeros:
    return i;
  case nn::SamplePadding::border:
    break;
  case nn::SamplePadding::reflection: {
    // Period 2 (size - 1) about the centers, 2 size about the borders.
    Ix period = ((rule.alignCorners ? last : size) * 2).max(k.c(1));
    Ix rest = {&k, arith::RemSIOp::create(k.b, k.loc, i, period)};
    rest = k.selectIx(rest < 0, rest + period, rest);
    i = k.selectIx(rest < size, rest, (rule.alignCorners ? period : period - 1) - rest);
    break;
  }
  }
  return i.max(k.c(0)).min(last);
}

void Sampler::fillTap(Ix p, unsigned axis, unsigned tap, Ix index, Float weight) {
  Ix size = k.dim(x.dims[axis + 2]);
  index = padIndex(index, size);
  k.store(offsets, at(axis, tap, p), k.selectIx(index.inRange(size), index * strides[axis + 2], k.c(kOutside)));
  if (weight.v)
    k.store(weights, at(axis, tap, p), weight.as(type).v);
}

void Sampler::fill(Ix p, ArrayRef<Float> position, Float factor) {
  for (unsigned axis = 0; axis < spatial; ++axis) {
    Ix size = k.dim(x.dims[axis + 2]);
    // The nearest element is chosen before the padding.
    bool nearest = rule.mode == nn::ResizeMode::nearest;
    Float c = padPosition(nearest ? position[axis].round() : position[axis], size);
    if (nearest) {
      fillTap(p, axis, 0, c.index(), {});
      continue;
    }
    Float low = c.floor(), f = c - low, one = c.like(1);
    Ix first = low.index();
    SmallVector<Float, 4> w;
    if (rule.mode == nn::ResizeMode::linear) {
      w = {one - f, f};
    } else {
      // Keys' cubic convolution kernel with a = -0.75, at distances 1 + f, f, 1 - f, 2 - f.
      constexpr double a = -0.75;
      auto near = [&](Float d) { return (d * (a + 2) - (a + 3)) * d * d + 1.0; };
      auto far = [&](Float d) { return ((d * a - 5 * a) * d + 8 * a) * d - 4 * a; };
      w = {far(f + 1.0), near(f), near(one - f), far(one - f + 1.0)};
      first = first - 1;
    }
    for (auto [tap, weight] : llvm::enumerate(w))
      fillTap(p, axis, tap, first + int64_t(tap),
              axis == 0 && factor.v ? weight * factor.as(weight.v.getType()) : weight);
  }
}

//===----------------------------------------------------------------------===//
// Samples
//===----------------------------------------------------------------------===//

/// The element (or `lanes` elements) at `offset` of a plane, 0 outside of it.
Value Sampler::element(Value offset, Ix plane, int64_t lanes) {
  Buffer source = x;
  source.ptr = k.ptrAdd(x.ptr, plane, x.storageType);
  if (!lanes) {
    Ix i(&k, offset);
    return k.ifElse(
        k.c(-1) < i, x.valueType, [&] { return SmallVector<Value>{k.load(source, i)}; },
        [&] { return SmallVector<Value>{k.constant(x.valueType, 0)}; })[0];
  }
  Value inside = arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::sge, offset, k.constant(offset.getType(), 0));
  return gather(k, source, offset, inside);
}

/// An element as what sums are made of.
Value Sampler::asSum(Value v) {
  if (!isa<IntegerType>(v.getType()))
    return k.toFloat(v);
  if (x.isUnsigned || v.getType().isInteger(1))
    return arith::UIToFPOp::create(k.b, k.loc, type, v);
  return arith::SIToFPOp::create(k.b, k.loc, type, v);
}

/// The weighted sum over the taps of axis `axis` and those after it, of which each is at `offset` so far.
Value Sampler::combine(unsigned axis, Value offset, Ix plane, Ix p, int64_t lanes) {
  auto load = [&](const Buffer &table, unsigned tap) {
    return lanes ? k.load(table, at(axis, tap, p), lanes) : k.load(table, at(axis, tap, p));
  };
  Value sum;
  for (unsigned tap = 0; tap < rule.taps(); ++tap) {
    Value here = load(offsets, tap);
    if (offset)
      here = arith::AddIOp::create(k.b, k.loc, offset, here);
    Value v = axis + 1 < spatial ? combine(axis + 1, here, plane, p, lanes) : element(here, plane, lanes);
    if (!blends())
      return v;
    if (axis + 1 == spatial)
      v = asSum(v);
    v = fmul(k, v, load(weights, tap));
    sum = sum ? fadd(k, sum, v) : v;
  }
  return sum;
}

void Sampler::sample(const Buffer &out, Ix to, Ix plane, Ix count) {
  VectorShape shape{std::max<int64_t>(1, lanes), 1, /*masked=*/false};
  vectorLoop(k, k.c(0), count, shape, /*multiple=*/false, [&](const Step &step) {
    for (Ix p : step.at) {
      Value v = combine(0, Value(), plane, p, step.lanes > 1 ? step.lanes : 0);
      if (blends() && step.lanes == 1)
        v = saturatedFromFloat(k, v, out.valueType, out.isUnsigned);
      storeStep(k, out, to + p, v, step);
    }
  });
}

} // namespace nnopt::cpu
