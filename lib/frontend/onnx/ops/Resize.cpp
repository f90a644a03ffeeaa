//===- Resize.cpp - import rules of Resize and Upsample -------------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

struct Modes {
  nn::ResizeMode mode = nn::ResizeMode::nearest;
  nn::CoordinateMode coordinates = nn::CoordinateMode::asymmetric;
  nn::NearestMode nearest = nn::NearestMode::floor;
  double cubic = -0.75, extrapolation = 0;
  bool excludeOutside = false;
};

Value resize(Node &n, Value x, Value scales, Value sizes, const Modes &m) {
  return n.make<nn::ResizeOp>(x, scales, sizes, nn::ResizeModeAttr::get(n.ctx(), m.mode),
                              nn::CoordinateModeAttr::get(n.ctx(), m.coordinates),
                              nn::NearestModeAttr::get(n.ctx(), m.nearest), n.f64(m.cubic),
                              n.flag(m.excludeOutside), n.f64(m.extrapolation));
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

/// One number for each dimension from numbers for `axes`: the others do not change.
Value expandScales(Node &n, Value scales, ArrayRef<int64_t> axes, unsigned rank) {
  auto known = n.numbers(scales);
  if (!known)
    n.unsupported("scales", "must be known when compiling, because attribute 'axes' is used");
  if (known->size() != axes.size())
    n.invalid("scales and axes have different lengths");
  SmallVector<double> all(rank, 1);
  for (auto [axis, scale] : zip(axes, *known))
    all[axis] = scale;
  return n.numbersConstant(all, n.elt(scales));
}

Value expandSizes(Node &n, Value x, Value sizes, ArrayRef<int64_t> axes) {
  n.needRank(sizes, 1, 1);
  if (!n.dim(sizes, 0).isConst(axes.size()))
    n.invalid("sizes and axes have different lengths");
  sizes = n.convert(sizes, n.b().getI64Type());
  Values parts;
  for (int64_t d = 0; d < int64_t(n.rank(x)); ++d) {
    auto it = llvm::find(axes, d);
    int64_t at = it - axes.begin();
    parts.push_back(it == axes.end() ? n.make<nn::ShapeOp>(x, n.i64(d), n.i64(d + 1))
                                     : n.slice(sizes, 0, at, at + 1));
  }
  return n.make<nn::ConcatOp>(parts, n.i64(0));
}

/// Positive, one for each dimension.
void checkScales(Node &n, Value x, Value scales) {
  n.needFloat(scales);
  n.needRank(scales, 1, 1);
  auto known = n.numbers(scales);
  if (!known)
    return;
  if (known->size() != n.rank(x))
    n.invalid("scales has " + Twine(known->size()) + " elements for rank " + Twine(n.rank(x)));
  for (double s : *known)
    if (!(s > 0) || !(s < 1e9))
      n.invalid("scales must be positive");
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
  if (coordinates == "tf_crop_and_resize" || coordinates == "tf_half_pixel_for_nn")
    n.unsupported("attribute 'coordinate_transformation_mode'",
                  "'" + coordinates + "' is not supported");
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
  if (policy != "stretch" && sizes)
    n.unsupported("attribute 'keep_aspect_ratio_policy'", "'" + policy + "' is not supported");
  if (n.i("antialias", 0) != 0 && m.mode != nn::ResizeMode::nearest) {
    // Antialiasing only changes what shrinks.
    auto known = scales ? n.numbers(scales) : std::nullopt;
    if (!known || any_of(*known, [](double s) { return s < 1; }))
      n.unsupported("attribute 'antialias'", "not supported");
  }
  if (auto given = n.ints("axes")) {
    Ints axes = n.axes(*given, n.rank(x));
    if (scales)
      scales = expandScales(n, scales, axes, n.rank(x));
    else
      sizes = expandSizes(n, x, sizes, axes);
  }
  if (scales) {
    checkScales(n, x, scales);
  } else {
    n.needInt(sizes);
    n.needRank(sizes, 1, 1);
    if (Dim count = n.dim(sizes, 0); count.isConst() && !count.isConst(n.rank(x)))
      n.invalid("sizes has " + Twine(count.value()) + " elements for rank " + Twine(n.rank(x)));
  }
  n.out(0, resize(n, x, scales, sizes, m));
}

/// Upsample and Resize of opset 10: asymmetric coordinates, rounded down where a dimension grows
/// and up where it shrinks.
void importUpsample(Node &n) {
  Value x = n.in(0), scales;
  if (n.version() < 9) {
    const pb::AttributeProto *a = n.attr("scales");
    if (!a)
      n.invalid("attribute 'scales' is missing");
    SmallVector<float> given(a->floats().begin(), a->floats().end());
    scales = n.constant(nn::makeFloats(n.ctx(), {int64_t(given.size())}, given, "scales"));
  } else {
    scales = n.in(1);
  }
  checkScales(n, x, scales);
  Modes m;
  m.mode = interpolation(n);
  if (m.mode == nn::ResizeMode::nearest) {
    if (auto known = n.numbers(scales)) {
      bool grows = any_of(*known, [](double s) { return s > 1; }),
           shrinks = any_of(*known, [](double s) { return s < 1; });
      if (grows && shrinks)
        n.unsupported("scales",
                      "nearest that grows one dimension and shrinks another is not supported");
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
  r.add("Upsample", 1, 2, importUpsample, 1, 7, 9);
}

} // namespace nnopt::onnx
