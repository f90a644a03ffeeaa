//===- Resize.cpp - import rules of Resize and Upsample -------------------===//
#include "lib/frontend/onnx/Importer.h"
#include "lib/frontend/onnx/ModelFile.h"

#include <cmath>

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

struct Modes {
  nn::ResizeMode mode = nn::ResizeMode::nearest;
  nn::CoordinateMode coordinates = nn::CoordinateMode::asymmetric;
  nn::NearestMode nearest = nn::NearestMode::floor;
  double cubic = -0.75, extrapolation = 0;
  bool excludeOutside = false, antialias = false;
  Value roi;
};

Value resize(Node &n, Value x, Value scales, Value sizes, const Modes &m) {
  return n.make<nn::ResizeOp>(x, scales, sizes, m.roi, nn::ResizeModeAttr::get(n.ctx(), m.mode),
                              nn::CoordinateModeAttr::get(n.ctx(), m.coordinates),
                              nn::NearestModeAttr::get(n.ctx(), m.nearest), n.f64(m.cubic), n.flag(m.excludeOutside),
                              n.f64(m.extrapolation), n.flag(m.antialias));
}

nn::ResizeMode interpolation(Node &n) {
  std::string mode = n.s("mode", "nearest");
  if (mode == "bilinear" || mode == "trilinear")
    mode = "linear";
  auto kind = nn::symbolizeResizeMode(mode);
  if (!kind)
    n.invalid("unknown mode '" + mode + "'");
  return *kind;
}

/// One number for each dimension from numbers for `axes`, from entry `first` on; the others are `otherwise`.
Value expandNumbers(Node &n, Value v, ArrayRef<int64_t> axes, unsigned rank, int64_t first = 0, double otherwise = 1) {
  if (auto known = n.numbers(v); known && known->size() >= first + axes.size()) {
    SmallVector<double> all(rank, otherwise);
    for (auto [i, axis] : enumerate(axes))
      all[axis] = (*known)[first + i];
    return n.numbersConstant(all, n.elt(v));
  }
  Values parts;
  for (int64_t d = 0; d < int64_t(rank); ++d) {
    int64_t at = first + (llvm::find(axes, d) - axes.begin());
    parts.push_back(is_contained(axes, d) ? n.slice(v, 0, at, at + 1) : n.number(otherwise, n.elt(v), {1}));
  }
  return n.make<nn::ConcatOp>(parts, n.i64(0));
}

Value expandSizes(Node &n, Value x, Value sizes, ArrayRef<int64_t> axes) {
  sizes = n.convert(sizes, n.b().getI64Type());
  Values parts;
  for (int64_t d = 0; d < int64_t(n.rank(x)); ++d) {
    auto it = llvm::find(axes, d);
    int64_t at = it - axes.begin();
    parts.push_back(it == axes.end() ? n.make<nn::ShapeOp>(x, n.i64(d), n.i64(d + 1)) : n.slice(sizes, 0, at, at + 1));
  }
  return n.make<nn::ConcatOp>(parts, n.i64(0));
}

/// One factor for all of `axes`, and the sizes that follow from it: the smallest (not_larger) or the largest
/// (not_smaller) of those that the wanted sizes ask for.
void keepAspectRatio(Node &n, Value x, Value &scales, Value &sizes, ArrayRef<int64_t> axes, bool smallest) {
  unsigned rank = n.rank(x);
  auto known = n.content(sizes);
  if (known && all_of(axes, [&](int64_t a) { return n.dim(x, a).isConst() && !n.dim(x, a).isConst(0); })) {
    double factor = smallest ? HUGE_VAL : 0;
    for (int64_t a : axes) {
      double wanted = double((*known)[a]) / n.dim(x, a).value();
      factor = smallest ? std::min(factor, wanted) : std::max(factor, wanted);
    }
    SmallVector<double> factors(rank, 1);
    for (int64_t a : axes) {
      factors[a] = factor;
      (*known)[a] = int64_t(factor * n.dim(x, a).value() + 0.5);
    }
    sizes = n.intsConstant(*known);
    scales = n.numbersConstant(factors, n.b().getF32Type());
    return;
  }
  Type f64 = n.b().getF64Type(), i64 = n.b().getI64Type();
  Value own = n.make<nn::ShapeOp>(x, n.i64(0), IntegerAttr()), where = n.intsConstant(axes);
  auto chosen = [&](Value v) { return n.convert(n.make<nn::GatherOp>(v, where, n.i64(0)), f64); };
  Value wanted = n.make<nn::DivOp>(chosen(sizes), chosen(own));
  Value factor = n.reduce(wanted, smallest ? nn::ReduceKind::min : nn::ReduceKind::max, {0}, true);
  Value rounded = n.make<nn::AddOp>(n.make<nn::MulOp>(factor, n.convert(own, f64)), n.number(0.5, f64));
  Value scaled = n.convert(n.make<nn::FloorOp>(rounded), i64);
  Values newSizes, factors;
  for (int64_t d = 0; d < int64_t(rank); ++d) {
    newSizes.push_back(n.slice(is_contained(axes, d) ? scaled : own, 0, d, d + 1));
    factors.push_back(is_contained(axes, d) ? factor : n.number(1, f64, {1}));
  }
  sizes = n.make<nn::ConcatOp>(newSizes, n.i64(0));
  scales = n.convert(n.make<nn::ConcatOp>(factors, n.i64(0)), n.b().getF32Type());
}

/// Positive, one for each dimension.
Value checkedScales(Node &n, Value x, Value scales) {
  n.needFloat(scales);
  scales = n.withLength(scales, n.rank(x), "scales", 1);
  if (auto known = n.numbers(scales))
    for (double s : *known)
      if (!(s > 0) || !(s < 1e9))
        n.invalid("scales must be positive");
  return scales;
}

void importResize(Node &n) {
  Value x = n.in(0), scales = n.optIn(2), sizes = n.optIn(3);
  auto isEmpty = [&](Value v) { return v && n.rank(v) == 1 && n.dim(v, 0).isConst(0); };
  if (isEmpty(scales))
    scales = Value();
  if (isEmpty(sizes))
    sizes = Value();
  if (bool(scales) == bool(sizes))
    n.invalid("exactly one of scales and sizes is needed");
  Modes m;
  m.mode = interpolation(n);
  std::string coordinates = n.s("coordinate_transformation_mode", "half_pixel");
  std::string nearest = n.s("nearest_mode", "round_prefer_floor");
  auto coordinateKind = nn::symbolizeCoordinateMode(coordinates);
  auto nearestKind = nn::symbolizeNearestMode(nearest);
  if (!coordinateKind)
    n.invalid("unknown coordinate_transformation_mode '" + coordinates + "'");
  if (!nearestKind)
    n.invalid("unknown nearest_mode '" + nearest + "'");
  m.coordinates = *coordinateKind;
  m.nearest = *nearestKind;
  m.cubic = n.f("cubic_coeff_a", -0.75);
  m.excludeOutside = n.i("exclude_outside", 0);
  m.extrapolation = n.f("extrapolation_value", 0);
  std::string policy = n.s("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch" && policy != "not_larger" && policy != "not_smaller")
    n.invalid("unknown keep_aspect_ratio_policy '" + policy + "'");
  m.antialias = n.i("antialias", 0) != 0;
  unsigned rank = n.rank(x);
  Ints axes;
  for (unsigned a = 0; a < rank; ++a)
    axes.push_back(a);
  bool some = n.hasAttr("axes");
  if (some)
    axes = n.axes(*n.ints("axes"), rank);
  if (m.coordinates == nn::CoordinateMode::tf_crop_and_resize) {
    m.roi = n.in(1);
    n.needFloat(m.roi);
    m.roi = n.withLength(m.roi, 2 * axes.size(), "roi", 1);
    // Starts, then ends: the other dimensions are whole.
    if (some)
      m.roi = n.make<nn::ConcatOp>(
          ValueRange{expandNumbers(n, m.roi, axes, rank, 0, 0), expandNumbers(n, m.roi, axes, rank, axes.size(), 1)},
          n.i64(0));
  }
  if (scales) {
    scales = n.withLength(scales, axes.size(), "scales", 1);
    if (some)
      scales = expandNumbers(n, scales, axes, rank);
    scales = checkedScales(n, x, scales);
  } else {
    n.needInt(sizes);
    sizes = n.withLength(sizes, axes.size(), "sizes", 1);
    if (some)
      sizes = expandSizes(n, x, sizes, axes);
    if (policy != "stretch")
      keepAspectRatio(n, x, scales, sizes, axes, policy == "not_larger");
  }
  n.out(0, resize(n, x, scales, sizes, m));
}

/// Upsample and Resize of opset 10: asymmetric coordinates, rounded down where a dimension grows
/// and up where it shrinks.
void importUpsample(Node &n) {
  Value x = n.in(0), scales;
  if (n.version() < 7) {
    // Of images, in two attributes.
    n.needRank(x, 4, 4);
    scales = n.numbersConstant({1, 1, n.f("height_scale", 1), n.f("width_scale", 1)}, n.b().getF32Type());
  } else if (n.version() < 9) {
    const pb::AttributeProto *a = n.attr("scales");
    if (!a)
      n.invalid("attribute 'scales' is missing");
    SmallVector<float> given(a->floats().begin(), a->floats().end());
    scales = n.constant(nn::makeFloats(n.ctx(), {int64_t(given.size())}, given, "scales"));
  } else {
    scales = n.in(1);
  }
  scales = checkedScales(n, x, scales);
  Modes m;
  m.mode = interpolation(n);
  if (m.mode == nn::ResizeMode::nearest) {
    if (auto known = n.numbers(scales)) {
      bool grows = any_of(*known, [](double s) { return s > 1; }),
           shrinks = any_of(*known, [](double s) { return s < 1; });
      if (grows && shrinks) {
        // One after the other.
        SmallVector<double> growing(*known), shrinking(*known);
        for (auto [g, s] : zip(growing, shrinking))
          (g > 1 ? s : g) = 1;
        x = resize(n, x, n.numbersConstant(growing, n.elt(scales)), Value(), m);
        scales = n.numbersConstant(shrinking, n.elt(scales));
      }
      if (shrinks)
        m.nearest = nn::NearestMode::ceil;
    }
  }
  n.out(0, resize(n, x, scales, Value(), m));
}

} // namespace

void registerResize(Registry &r) {
  r.add("Resize", 2, 2, importUpsample, 1, 10, 10);
  r.add("Resize", 1, 4, importResize, 1, 11);
  r.add("Upsample", 1, 2, importUpsample, 1, 0, 9);
}

} // namespace nnopt::onnx
