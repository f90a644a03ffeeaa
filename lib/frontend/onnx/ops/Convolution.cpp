//===- Convolution.cpp - import rules of Conv and ConvTranspose -----------===//
#include "lib/frontend/onnx/ops/Contraction.h"
#include "lib/frontend/onnx/ops/Window.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

std::optional<Ints> kernelOf(Node &n, Value weight) {
  Ints kernel;
  for (Dim d : n.dims(weight).drop_front(2)) {
    if (!d.isConst())
      return std::nullopt;
    kernel.push_back(d.value());
  }
  return kernel;
}

Ints perDimension(Node &n, StringRef name, size_t spatial, int64_t otherwise) {
  Ints values = n.ints(name).value_or(Ints(spatial, otherwise));
  if (values.size() != spatial)
    n.invalid("attribute '" + name + "' has " + Twine(values.size()) + " entries for " +
              Twine(spatial) + " spatial dimensions");
  for (int64_t v : values)
    if (v < 1 || v > (int64_t(1) << 31))
      n.invalid("attribute '" + name + "' has the impossible entry " + Twine(v));
  return values;
}

Window readWindow(Node &n, Value x, ArrayRef<int64_t> weightKernel) {
  n.needRank(x, 3);
  size_t spatial = n.rank(x) - 2;
  Window w;
  if (weightKernel.empty()) {
    if (!n.hasAttr("kernel_shape"))
      n.invalid("attribute 'kernel_shape' is missing");
    w.kernel = perDimension(n, "kernel_shape", spatial, 1);
  } else {
    w.kernel.assign(weightKernel.begin(), weightKernel.end());
    if (auto given = n.ints("kernel_shape"); given && ArrayRef<int64_t>(*given) != weightKernel)
      n.invalid("attribute 'kernel_shape' contradicts the weights");
    for (int64_t k : weightKernel)
      if (k < 1)
        n.invalid("the kernel is empty");
  }
  w.strides = perDimension(n, "strides", spatial, 1);
  w.dilations = perDimension(n, "dilations", spatial, 1);
  return w;
}

AutoPad autoPadOf(Node &n) {
  std::string mode = n.s("auto_pad", "NOTSET");
  n.ignore({"pads"}); // which some exporters write beside auto_pad
  if (mode == "NOTSET")
    return AutoPad::Given;
  if (mode == "VALID")
    return AutoPad::Valid;
  if (mode == "SAME_UPPER")
    return AutoPad::SameUpper;
  if (mode == "SAME_LOWER")
    return AutoPad::SameLower;
  n.invalid("unknown auto_pad '" + mode + "'");
}

Ints givenPads(Node &n, size_t spatial) {
  Ints pads = n.ints("pads").value_or(Ints(2 * spatial, 0));
  if (pads.size() != 2 * spatial)
    n.invalid("attribute 'pads' has " + Twine(pads.size()) + " entries for " + Twine(spatial) + " spatial dimensions");
  for (int64_t p : pads) {
    if (p < 0)
      n.unsupported("attribute 'pads'", "negative padding is not supported");
    if (p > (int64_t(1) << 31))
      n.invalid("attribute 'pads' has the impossible entry " + Twine(p));
  }
  return pads;
}

Value samePadding(Node &n, Value x, ArrayRef<Value> extents, ArrayRef<int64_t> strides, bool upper) {
  // count = ceil(in / stride) windows need (count - 1) * stride + extent - in elements.
  Value one = n.intsConstant({1}), two = n.intsConstant({2}), none = n.intsConstant({0, 0});
  Values before = {none}, after = {none};
  for (size_t i = 0; i < extents.size(); ++i) {
    Value in = n.shapeOf(x, i + 2, i + 3), stride = n.intsConstant({strides[i]});
    Value count = n.make<nn::DivOp>(n.make<nn::AddOp>(in, n.intsConstant({strides[i] - 1})), stride);
    Value reach = n.make<nn::AddOp>(n.make<nn::MulOp>(n.make<nn::SubOp>(count, one), stride), extents[i]);
    Value total = n.make<nn::MaxOp>(n.make<nn::SubOp>(reach, in), n.intsConstant({0}));
    Value small = n.make<nn::DivOp>(total, two), large = n.make<nn::SubOp>(total, small);
    before.push_back(upper ? small : large);
    after.push_back(upper ? large : small);
  }
  before.append(after);
  return n.make<nn::ConcatOp>(before, n.i64(0));
}

void readPads(Node &n, Value x, Window &w) {
  size_t spatial = w.kernel.size();
  AutoPad mode = autoPadOf(n);
  if (mode == AutoPad::Given) {
    w.pads = givenPads(n, spatial);
    return;
  }
  w.pads.assign(2 * spatial, 0);
  if (mode == AutoPad::Valid)
    return;
  // As samePadding. For dynamic dimensions this may still be a constant (it is for stride 1).
  Dim zero = n.shapes().constant(0);
  Values extents;
  bool isStatic = true;
  for (size_t i = 0; i < spatial; ++i) {
    Dim in = n.dim(x, i + 2);
    int64_t extent = (w.kernel[i] - 1) * w.dilations[i] + 1;
    extents.push_back(n.intsConstant({extent}));
    Dim total = ((in.ceilDiv(w.strides[i]) - 1) * w.strides[i] + extent - in).max(zero);
    isStatic &= total.isConst();
    if (!isStatic)
      continue;
    int64_t pad = total.value(), small = pad / 2;
    w.pads[i] = mode == AutoPad::SameUpper ? small : pad - small;
    w.pads[i + spatial] = pad - w.pads[i];
  }
  if (isStatic)
    return;
  w.pads.assign(2 * spatial, 0);
  w.padding = samePadding(n, x, extents, w.strides, mode == AutoPad::SameUpper);
}

Value padded(Node &n, Value x, const Window &w, Value fill) {
  if (!w.padding)
    return x;
  return n.make<nn::PadOp>(x, w.padding, fill, Value(), nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant));
}

static int64_t groupOf(Node &n) {
  int64_t group = n.i("group", 1);
  if (group < 1)
    n.invalid("attribute 'group' must be positive");
  return group;
}

/// Dimensions that must agree but are both static and do not.
static void needEqual(Node &n, Dim a, int64_t factor, Dim b, const char *what) {
  if (a.isConst() && b.isConst() && a.value() * factor != b.value())
    n.invalid(Twine(what) + " do not fit: " + Twine(a.value() * factor) + " and " +
              Twine(b.value()));
}

Value convolution(Node &n, Value x, Value weight, Value bias, Value xZero, Value wZero) {
  n.needRank(x, 3);
  n.needRank(weight, n.rank(x), n.rank(x));
  if (bias)
    n.needRank(bias, 1, 1);
  int64_t group = groupOf(n);
  needEqual(n, n.dim(weight, 1), group, n.dim(x, 1),
            "channels of weights times group and of the input");
  if (Dim m = n.dim(weight, 0); m.isConst() && m.value() % group != 0)
    n.invalid("the number of output channels is not a multiple of group");
  if (bias)
    needEqual(n, n.dim(bias, 0), 1, n.dim(weight, 0), "bias and output channels");
  std::optional<Ints> kernel = kernelOf(n, weight);
  if (!kernel)
    return generalConvolution(n, x, weight, bias, xZero, wZero, n.intsConstant({group}));
  Window w = readWindow(n, x, *kernel);
  readPads(n, x, w);
  x = padded(n, x, w, xZero || !w.padding ? xZero : n.number(0, n.elt(x)));
  return n.make<nn::ConvOp>(x, weight, bias, xZero, wZero, ValueRange(), n.i64s(w.strides),
                            n.i64s(w.pads), n.i64s(w.dilations), n.i64(group));
}

namespace {

void needConvOperands(Node &n) {
  Value x = n.in(0), w = n.in(1);
  n.needRank(x, 3);
  n.needRank(w, n.rank(x), n.rank(x));
  n.needFloat(x);
  n.needSameType({x, w});
  if (n.hasIn(2)) {
    n.needSameType({x, n.in(2)});
    n.needRank(n.in(2), 1, 1);
  }
}

void importConv(Node &n) {
  needConvOperands(n);
  n.out(0, convolution(n, n.in(0), n.in(1), n.optIn(2)));
}

/// The attribute output_shape.
std::optional<Ints> outputShape(Node &n, size_t spatial) {
  std::optional<Ints> shape = n.ints("output_shape");
  if (shape && shape->size() == spatial + 2)
    shape->erase(shape->begin(), shape->begin() + 2); // some exporters include batch and channels
  if (shape && shape->size() != spatial)
    n.invalid("attribute 'output_shape' has the wrong number of entries");
  return shape;
}

/// Padding of a transposed convolution that asks for an output shape. With
/// total = stride * (in - 1) + output_padding + extent - out, SAME_UPPER puts the smaller half
/// first, everything else the larger one; a negative total becomes output padding. False where it depends on sizes
/// that are not known.
bool resolveTransposePads(Node &n, Value x, Window &w, Ints &outputPadding) {
  size_t spatial = w.kernel.size();
  AutoPad mode = autoPadOf(n);
  std::optional<Ints> shape = outputShape(n, spatial);
  if (!shape && (mode == AutoPad::Given || mode == AutoPad::Valid)) {
    readPads(n, x, w);
    return true;
  }
  w.pads.assign(2 * spatial, 0);
  for (size_t i = 0; i < spatial; ++i) {
    Dim in = n.dim(x, i + 2);
    int64_t extent = (w.kernel[i] - 1) * w.dilations[i] + 1;
    Dim out = shape ? n.shapes().constant((*shape)[i]) : in * w.strides[i];
    Dim total = (in - 1) * w.strides[i] + outputPadding[i] + extent - out;
    if (!total.isConst())
      return false;
    int64_t pad = total.value();
    if (pad < 0) {
      outputPadding[i] -= pad;
      pad = 0;
    }
    w.pads[i] = mode == AutoPad::SameUpper ? pad / 2 : pad - pad / 2;
    w.pads[i + spatial] = pad - w.pads[i];
  }
  return true;
}

void importConvTranspose(Node &n) {
  needConvOperands(n);
  Value x = n.in(0), weight = n.in(1);
  int64_t group = groupOf(n);
  needEqual(n, n.dim(weight, 0), 1, n.dim(x, 1), "channels of weights and of the input");
  if (Dim c = n.dim(weight, 0); c.isConst() && c.value() % group != 0)
    n.invalid("the number of input channels is not a multiple of group");
  if (n.hasIn(2))
    needEqual(n, n.dim(weight, 1), group, n.dim(n.in(2), 0), "output channels and bias");
  size_t spatial = n.rank(x) - 2;
  Ints outputPadding = n.ints("output_padding").value_or(Ints(spatial, 0));
  if (outputPadding.size() != spatial)
    n.invalid("attribute 'output_padding' has the wrong number of entries");
  for (int64_t p : outputPadding)
    if (p < 0 || p > (int64_t(1) << 31))
      n.invalid("attribute 'output_padding' has the impossible entry " + Twine(p));
  Value bias = n.optIn(2);
  auto transposed = [&](const Window &w, Value bias, const Ints &outputPadding) {
    return n.make<nn::ConvTransposeOp>(x, weight, bias, ValueRange(), n.i64s(w.strides), n.i64s(w.pads),
                                       n.i64s(w.dilations), n.i64s(outputPadding), n.i64(group));
  };
  std::optional<Ints> kernel = kernelOf(n, weight);
  if (!kernel) {
    n.out(0, generalConvTranspose(n, x, weight, bias, group));
    return;
  }
  Window w = readWindow(n, x, *kernel);
  Ints added = outputPadding;
  if (resolveTransposePads(n, x, w, added)) {
    n.out(0, transposed(w, bias, added));
    return;
  }
  w.pads.assign(2 * spatial, 0);
  Values shape;
  for (int64_t size : *outputShape(n, spatial))
    shape.push_back(n.intsConstant({size}));
  n.out(0, addBias(n, fitTransposed(n, transposed(w, Value(), Ints(spatial, 0)), shape, outputPadding), bias));
}

} // namespace

void registerConvolution(Registry &r) {
  r.add("Conv", 2, 3, importConv);
  r.add("ConvTranspose", 2, 3, importConvTranspose);
}

} // namespace nnopt::onnx
