//===- Resizing.cpp - what commutes with resizing -------------------------===//
#include "passes/reorder-resampling/Rules.h"

#include <cmath>

using namespace mlir;

namespace nnopt::resampling {

/// By how much a resize multiplies each dimension; nothing where that is not constant.
static std::optional<SmallVector<double>> factorsOf(nn::ResizeOp op, FuncShapes &shapes) {
  SmallVector<double> factors;
  auto scales = op.getScales() ? numbersOf(op.getScales()) : std::nullopt;
  if (op.getScales() && !scales)
    return std::nullopt;
  auto from = shapes.dims(op.getX()), to = shapes.dims(op.getResult());
  for (size_t i = 0; i < from.size(); ++i) {
    if (scales)
      factors.push_back((*scales)[i]);
    else if (from[i] == to[i])
      factors.push_back(1);
    else if (from[i].isConst() && to[i].isConst() && from[i].value() > 0)
      factors.push_back(double(to[i].value()) / from[i].value());
    else
      return std::nullopt;
  }
  return factors;
}

/// How many times as many elements there are, where no dimension shrinks and batch and channels stay; else 1.
static double growth(ArrayRef<double> factors) {
  double f = 1;
  for (auto [i, factor] : llvm::enumerate(factors)) {
    if (factor < 1 || (i < 2 && factor != 1))
      return 1;
    f *= factor;
  }
  return f;
}

/// The resize on another operand, whose channels may be others in number. Null where its sizes do not say how.
static Value resizeOf(nn::ResizeOp resize, Value x, Rewriter &r) {
  auto moved = cast<nn::ResizeOp>(resize->clone());
  moved.getXMutable().assign(x);
  if (resize.getSizes()) {
    auto sizes = r.shapes.ctx.constantContent(resize.getSizes());
    nn::Dim channels = r.shapes.dims(x)[1];
    if (!sizes || !channels.isConst()) {
      moved->destroy();
      return {};
    }
    (*sizes)[1] = channels.value();
    moved.getSizesMutable().assign(makeIntsOp(r.rewriter, resize.getLoc(), *sizes));
  }
  r.rewriter.insert(moved);
  return moved.getResult();
}

Value convBeforeResize(nn::ConvOp conv, Rewriter &r) {
  auto resize = conv.getX().getDefiningOp<nn::ResizeOp>();
  if (!resize || !isPointwise(conv) || conv.getChannelsLast() || ShapedType::isDynamicShape(shapeOf(conv.getW())))
    return {};
  auto factors = factorsOf(resize, r.shapes);
  if (!resize->hasOneUse())
    return r.refuse("the resized image has other users");
  if (!factors || growth(*factors) <= 1)
    return r.refuse("the image is not known to grow");
  if (resize.getRoi() || resize.getCoordinates() == nn::CoordinateMode::tf_crop_and_resize)
    return r.refuse("resizing extrapolates with a number");
  nn::LinearOp linear(conv);
  double in = linear.getInChannels(), out = linear.getOutChannels(), f = growth(*factors);
  // Elements for each position of the small image. What follows the convolution could have joined it.
  bool followed = conv->hasOneUse() && isElementwise(*conv->user_begin());
  bool passesNearest = resize.getMode() == nn::ResizeMode::nearest;
  double before = in + 2 * in * f + out * f, after = in + 2 * out + out * f + (followed && !passesNearest ? 2 * out * f : 0);
  if (after > before)
    return r.refuse(llvm::formatv("{0} elements for each position would become {1}", int64_t(before), int64_t(after)).str());
  r.rewriter.setInsertionPoint(conv);
  Value small = linear.cloneWith(r.rewriter, fusedLoc({resize, conv}), resize.getX(), conv.getW(), conv.getBias())->getResult(0);
  return resizeOf(resize, small, r);
}

Value elementwiseBeforeResize(Operation *op, Rewriter &r) {
  if (!isa<nn::Elementwise>(op) || op->getNumResults() != 1)
    return {};
  nn::ResizeOp resize;
  for (Value v : op->getOperands())
    if (auto found = v.getDefiningOp<nn::ResizeOp>())
      resize = found;
  if (!resize || resize.getMode() != nn::ResizeMode::nearest)
    return {};
  auto factors = factorsOf(resize, r.shapes);
  if (!factors || growth(*factors) <= 1)
    return {};
  if (resize.getCoordinates() == nn::CoordinateMode::tf_crop_and_resize)
    return r.refuse("resizing extrapolates with a number");
  if (!llvm::all_of(resize->getUsers(), [&](Operation *user) { return user == op; }))
    return r.refuse("the resized image has other users");
  if (!r.shapes.sameDims(op->getResult(0), resize.getResult()))
    return {};
  int64_t rank = rankOf(resize.getResult());
  for (Value v : op->getOperands()) {
    if (v == resize.getResult() || r.shapes.isOneElement(v))
      continue;
    auto dims = r.shapes.dims(v);
    for (int64_t axis = 0; axis < rank; ++axis)
      if (int64_t own = axis - (rank - rankOf(v)); own >= 0 && (*factors)[axis] != 1 && !dims[own].isConst(1))
        return r.refuse("another operand has a value for each position");
  }
  if (nn::elementBytes(elementTypeOf(op->getResult(0))) > nn::elementBytes(elementTypeOf(resize.getX())))
    return {}; // A cast to a wider type: more bytes to copy.
  r.rewriter.setInsertionPoint(op);
  Operation *first = op->clone();
  first->replaceUsesOfWith(resize.getResult(), resize.getX());
  first->setLoc(op->getLoc());
  r.rewriter.insert(first);
  return resizeOf(resize, first->getResult(0), r);
}

//===----------------------------------------------------------------------===//
// Nearest neighbours by whole numbers, and a convolution
//===----------------------------------------------------------------------===//

/// Whether element q of the result is element floor(q / s) of the operand, for whole scales s > 1.
static bool repeats(nn::ResizeOp op) {
  using Coordinates = nn::CoordinateMode;
  using Nearest = nn::NearestMode;
  if (op.getMode() != nn::ResizeMode::nearest || op.getRoi() || op.getAntialias())
    return false;
  bool rounds = op.getNearest() == Nearest::round_prefer_floor || op.getNearest() == Nearest::round_prefer_ceil;
  switch (op.getCoordinates()) {
  case Coordinates::half_pixel: // i + (b + 0.5) / s - 0.5, less than half away from i
  case Coordinates::half_pixel_symmetric:
  case Coordinates::pytorch_half_pixel:
    return rounds;
  case Coordinates::asymmetric: // i + b / s
  case Coordinates::tf_half_pixel_for_nn:
    return op.getNearest() == Nearest::floor;
  default:
    return false;
  }
}

/// v[c, m, a] = sum of w[m, c, j] over j with 0 <= a + j - (k - 1) < s in each dimension.
static std::vector<double> transposedWeights(ArrayRef<double> w, int64_t out, int64_t in, ArrayRef<int64_t> kernel,
                                             ArrayRef<int64_t> scales, ArrayRef<int64_t> larger) {
  int64_t taps = 1, count = 1;
  for (auto [k, a] : llvm::zip(kernel, larger)) {
    taps *= k;
    count *= a;
  }
  std::vector<double> v(in * out * count, 0.0);
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int64_t at = 0; at < count; ++at) {
      bool meets = true;
      for (int64_t d = kernel.size() - 1, j = tap, a = at; d >= 0; --d) {
        int64_t b = a % larger[d] + j % kernel[d] - (kernel[d] - 1);
        meets &= b >= 0 && b < scales[d];
        j /= kernel[d];
        a /= larger[d];
      }
      for (int64_t m = 0; m < out && meets; ++m)
        for (int64_t c = 0; c < in; ++c)
          v[(c * out + m) * count + at] += w[(m * in + c) * taps + tap];
    }
  return v;
}

Value transposedConv(nn::ConvOp conv, Rewriter &r) {
  auto resize = conv.getX().getDefiningOp<nn::ResizeOp>();
  Type type = elementTypeOf(conv.getX());
  if (!resize || conv.getChannelsLast() || (!type.isF32() && !type.isF64()) || isPointwise(conv))
    return {};
  if (!repeats(resize))
    return r.refuse("resizing interpolates, or does not repeat each element alike");
  auto factors = factorsOf(resize, r.shapes);
  if (!factors || growth(*factors) <= 1)
    return r.refuse("the image is not known to grow");
  if (!resize->hasOneUse())
    return r.refuse("the resized image has other users");
  auto w = numbersOf(conv.getW());
  if (!w || !conv.getEpilogue().empty() || conv.getGroup() != 1 || !conv.getW().hasOneUse())
    return r.refuse("its weights are not constant or used elsewhere too, or it has groups or an epilogue");
  ArrayRef<int64_t> kernel = shapeOf(conv.getW()).drop_front(2);
  int64_t spatial = kernel.size(), out = shapeOf(conv.getW())[0], in = shapeOf(conv.getW())[1];
  SmallVector<int64_t> scales, larger, pads(2 * spatial), zeros(spatial, 0), ones(spatial, 1);
  for (int64_t d = 0; d < spatial; ++d) {
    double s = (*factors)[d + 2];
    if (s != std::floor(s) || conv.getStrides()[d] != 1 || conv.getDilations()[d] != 1)
      return r.refuse("the scale is no whole number, or the convolution has strides or dilations");
    scales.push_back(int64_t(s));
    larger.push_back(kernel[d] + scales[d] - 1);
    for (int64_t side : {d, d + spatial})
      pads[side] = kernel[d] - 1 - conv.getPads()[side];
  }
  if (llvm::any_of(pads, [](int64_t p) { return p < 0; }))
    return r.refuse("it is padded by more than its kernel");
  // The enlarged image is neither written nor read; the weights grow.
  nn::Dim small = product(r.shapes.ctx.dimContext(), r.shapes.dims(resize.getX()));
  double weightGrowth = 1;
  for (auto [k, a] : llvm::zip(kernel, larger))
    weightGrowth *= double(a) / k;
  double added = (weightGrowth - 1) * w->size();
  if (!small.isConst() || added > 2 * growth(*factors) * small.value())
    return r.refuse(llvm::formatv("its weights would grow by {0} elements, more than the enlarged image saves", int64_t(added)).str());
  r.rewriter.setInsertionPoint(conv);
  Location loc = fusedLoc({resize, conv});
  SmallVector<int64_t> shape = {in, out};
  shape.append(larger);
  Value weights = makeNumbersOp(r.rewriter, loc, type, shape, transposedWeights(*w, out, in, kernel, scales, larger), "enlarging");
  auto transposed = nn::ConvTransposeOp::create(
      r.rewriter, loc, TypeRange{untyped(type)}, resize.getX(), weights, conv.getBias(), ValueRange(), scales, pads, ones, zeros, 1,
      /*channels_last=*/false);
  return transposed.getResult();
}

} // namespace nnopt::resampling
