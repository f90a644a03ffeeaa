//===- ConvolutionGeneral.cpp - convolutions with kernels of any size -----===//
//
// nn.conv is compiled for a kernel of known size. Where weights come in any size, the windows of the input are
// gathered, and are the columns of a matrix that the weights, as a matrix, are multiplied with.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/ops/Contraction.h"
#include "lib/frontend/onnx/ops/Window.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

Value add(Node &n, Value a, Value b) { return n.make<nn::AddOp>(a, b); }
Value sub(Node &n, Value a, Value b) { return n.make<nn::SubOp>(a, b); }
Value mul(Node &n, Value a, Value b) { return n.make<nn::MulOp>(a, b); }

/// Size number i (i64 [1]) of a tensor.
Value size(Node &n, Value v, int64_t i) { return n.shapeOf(v, i, i + 1); }

Value concat(Node &n, ValueRange parts) { return n.make<nn::ConcatOp>(parts, n.i64(0)); }

Value pad(Node &n, Value x, ValueRange pads, Value fill = {}) {
  return n.make<nn::PadOp>(x, concat(n, pads), fill, Value(), nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant));
}

/// The distance (i64 [1]) between the first and the last tap along a spatial dimension.
Value reachOf(Node &n, Value weight, int64_t i, int64_t dilation) {
  return mul(n, sub(n, size(n, weight, i + 2), n.intsConstant({1})), n.intsConstant({dilation}));
}

/// Positions [windows, taps] of the elements that windows along a dimension of size `in` see.
Value windowPositions(Node &n, Value in, Value taps, Value reach, int64_t stride, int64_t dilation, bool backward) {
  Value step = n.intsConstant({stride});
  Value room = sub(n, add(n, in, n.intsConstant({stride - 1})), reach);
  Value count = n.make<nn::DivOp>(n.make<nn::MaxOp>(room, n.intsConstant({0})), step);
  Value first = mul(n, n.countTo(n.scalar(count)), step);
  Value offset = mul(n, n.countTo(n.scalar(taps)), n.intsConstant({dilation}));
  if (backward)
    offset = sub(n, reach, offset);
  return add(n, n.unsqueeze(first, {1}), n.unsqueeze(offset, {0}));
}

/// All windows of x, of the spatial size of `weight`, times the weights as a matrix [channels, taps of all input channels
/// of a group]. `backward`: the last tap sees the first element.
Value windowProduct(Node &n, Value x, Value matrix, Value weight, ArrayRef<int64_t> strides, ArrayRef<int64_t> dilations,
                    Value groups, bool backward) {
  int64_t spatial = strides.size();
  Value batch = size(n, x, 0);
  for (int64_t i = 0; i < spatial; ++i) {
    int64_t axis = 2 + 2 * i;
    Value positions = windowPositions(n, size(n, x, axis), size(n, weight, i + 2), reachOf(n, weight, i, dilations[i]),
                                      strides[i], dilations[i], backward);
    x = n.make<nn::GatherOp>(x, positions, n.i64(axis));
  }
  // [batch, channels, windows, taps, windows, taps, ...]: taps first.
  Ints order = {0, 1};
  for (int64_t offset : {3, 2})
    for (int64_t i = 0; i < spatial; ++i)
      order.push_back(offset + 2 * i);
  x = n.transpose(x, order);
  Value columns = size(n, x, 2 + spatial);
  for (int64_t i = 1; i < spatial; ++i)
    columns = mul(n, columns, size(n, x, 2 + spatial + i));
  Value rows = size(n, matrix, 0), depth = size(n, matrix, 1);
  Value windows = n.reshapeTo(x, {batch, groups, depth, columns});
  Value y = n.matmul(n.reshapeTo(matrix, {groups, n.make<nn::DivOp>(rows, groups), depth}), windows);
  return n.reshapeTo(y, {batch, rows, n.shapeOf(x, 2 + spatial)});
}

/// Floats narrower than f32 are added up, and rounded once, as nn.conv does.
Type accumulatorType(Node &n, Value x) {
  Type type = n.elt(x), f32 = n.b().getF32Type();
  return isa<FloatType>(type) && type.getIntOrFloatBitWidth() < 32 ? f32 : type;
}

} // namespace

Value addBias(Node &n, Value y, Value bias) {
  if (!bias)
    return y;
  Ints spatial;
  for (int64_t i = 1; i + 1 < n.rank(y); ++i)
    spatial.push_back(i);
  return add(n, y, n.unsqueeze(n.convert(bias, n.elt(y)), spatial));
}

Value generalConvolution(Node &n, Value x, Value weight, Value bias, Value xZero, Value wZero, Value groups) {
  size_t spatial = n.rank(x) - 2;
  n.ignore({"kernel_shape"}); // the weights have it
  Ints strides = perDimension(n, "strides", spatial, 1), dilations = perDimension(n, "dilations", spatial, 1);
  Type type = n.elt(x), wide = isa<IntegerType>(type) ? n.b().getI32Type() : accumulatorType(n, x);
  x = n.convert(x, wide);
  weight = n.convert(weight, wide);
  if (xZero)
    x = sub(n, x, n.convert(xZero, wide));
  if (wZero) {
    wZero = n.convert(wZero, wide);
    Ints others;
    for (size_t i = 1; i < spatial + 2; ++i)
      others.push_back(i);
    weight = sub(n, weight, n.rank(wZero) ? n.unsqueeze(wZero, others) : wZero);
  }
  AutoPad mode = autoPadOf(n);
  if (mode == AutoPad::Given) {
    Ints pads = {0, 0}, given = givenPads(n, spatial);
    pads.append(given.begin(), given.begin() + spatial);
    pads.append({0, 0});
    pads.append(given.begin() + spatial, given.end());
    if (any_of(pads, [](int64_t p) { return p != 0; }))
      x = pad(n, x, n.intsConstant(pads));
  } else if (mode != AutoPad::Valid) {
    Values extents;
    for (size_t i = 0; i < spatial; ++i)
      extents.push_back(add(n, reachOf(n, weight, i, dilations[i]), n.intsConstant({1})));
    x = pad(n, x, samePadding(n, x, extents, strides, mode == AutoPad::SameUpper));
  }
  Value matrix = n.make<nn::FlattenOp>(weight, n.i64(1));
  Value y = addBias(n, windowProduct(n, x, matrix, weight, strides, dilations, groups, false), bias);
  return isa<FloatType>(type) ? n.convert(y, type) : y;
}

Value fitTransposed(Node &n, Value y, ArrayRef<Value> shape, ArrayRef<int64_t> outputPadding) {
  // total = size + output_padding - out elements are too many.
  bool upper = autoPadOf(n) == AutoPad::SameUpper;
  Value zero = n.intsConstant({0}), two = n.intsConstant({2}), none = n.intsConstant({0, 0});
  Values before = {none}, after = {none};
  for (size_t i = 0; i < shape.size(); ++i) {
    Value own = size(n, y, i + 2);
    Value total = sub(n, add(n, own, n.intsConstant({outputPadding[i]})), shape[i]);
    total = n.make<nn::MaxOp>(total, zero);
    Value small = n.make<nn::DivOp>(total, two), first = upper ? small : sub(n, total, small);
    before.push_back(sub(n, zero, first));
    after.push_back(add(n, sub(n, shape[i], own), first));
  }
  before.append(after);
  return pad(n, y, before);
}

/// A convolution over x with stride - 1 zeros between its elements, with the taps of the kernel in reverse.
Value generalConvTranspose(Node &n, Value x, Value weight, Value bias, int64_t group) {
  size_t spatial = n.rank(x) - 2;
  n.ignore({"kernel_shape"});
  Ints strides = perDimension(n, "strides", spatial, 1), dilations = perDimension(n, "dilations", spatial, 1);
  Ints outputPadding = n.ints("output_padding").value_or(Ints(spatial, 0));
  Type type = n.elt(x), wide = accumulatorType(n, x);
  Value image = n.convert(x, wide);
  weight = n.convert(weight, wide);
  // Zeros behind each element; those behind the last one are cut off again below.
  for (size_t i = 0; i < spatial; ++i) {
    if (strides[i] == 1)
      continue;
    int64_t axis = i + 2, rank = n.rank(image) + 1;
    Ints pads(2 * rank, 0);
    pads[rank + axis + 1] = strides[i] - 1;
    Value spread = pad(n, n.unsqueeze(image, {axis + 1}), n.intsConstant(pads));
    Values sizes = {n.shapeOf(image, 0, axis), mul(n, size(n, image, axis), n.intsConstant({strides[i]}))};
    if (axis + 1 < int64_t(n.rank(image)))
      sizes.push_back(n.shapeOf(image, axis + 1));
    image = n.reshapeTo(spread, sizes);
  }
  Value none = n.intsConstant({0, 0});
  Values before = {none}, after = {none};
  for (size_t i = 0; i < spatial; ++i) {
    Value reach = reachOf(n, weight, i, dilations[i]);
    before.push_back(reach);
    after.push_back(sub(n, reach, n.intsConstant({strides[i] - 1})));
  }
  before.append(after);
  image = pad(n, image, before);

  // [channels, channels of a group's result, taps] as [all channels of the result, channels of a group, taps].
  Value groups = n.intsConstant({group}), perGroup = n.make<nn::DivOp>(size(n, weight, 0), groups);
  Value matrix = n.reshapeTo(weight, {groups, perGroup, n.shapeOf(weight, 1)});
  Ints order = {0, 2, 1};
  for (size_t i = 0; i < spatial; ++i)
    order.push_back(3 + i);
  matrix = n.transpose(matrix, order);
  Value rows = mul(n, groups, size(n, weight, 1));
  matrix = n.make<nn::FlattenOp>(n.reshapeTo(matrix, {rows, n.shapeOf(matrix, 2)}), n.i64(1));
  Value y = windowProduct(n, image, matrix, weight, Ints(spatial, 1), dilations, groups, true);

  AutoPad mode = autoPadOf(n);
  std::optional<Ints> given = n.ints("output_shape");
  Values shape;
  for (size_t i = 0; i < spatial; ++i) {
    if (given)
      shape.push_back(n.intsConstant({(*given)[given->size() - spatial + i]}));
    else if (mode == AutoPad::SameUpper || mode == AutoPad::SameLower)
      shape.push_back(mul(n, size(n, x, i + 2), n.intsConstant({strides[i]})));
  }
  if (!shape.empty()) {
    y = fitTransposed(n, y, shape, outputPadding);
  } else {
    Ints pads(2 * (spatial + 2), 0), cut = mode == AutoPad::Given ? givenPads(n, spatial) : Ints(2 * spatial, 0);
    for (size_t i = 0; i < spatial; ++i) {
      pads[2 + i] = -cut[i];
      pads[spatial + 4 + i] = outputPadding[i] - cut[spatial + i];
    }
    y = pad(n, y, n.intsConstant(pads));
  }
  return n.convert(addBias(n, y, bias), type);
}

} // namespace nnopt::onnx
