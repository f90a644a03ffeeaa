//===- Vision.cpp - import rules of image sampling ------------------------===//
#include "lib/frontend/onnx/ops/Window.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

void importGridSample(Node &n) {
  Value x = n.in(0), grid = n.in(1);
  n.needRank(x, 3);
  n.needRank(grid, n.rank(x), n.rank(x));
  n.needFloat(grid);
  // Opset 16 has the names of two dimensions.
  std::string mode = n.s("mode", n.version() < 20 ? "bilinear" : "linear");
  if (mode == "bilinear")
    mode = "linear";
  if (mode == "bicubic")
    mode = "cubic";
  auto kind = nn::symbolizeResizeMode(mode);
  if (!kind)
    n.invalid("unknown mode '" + mode + "'");
  std::string padding = n.s("padding_mode", "zeros");
  auto paddingKind = nn::symbolizeSamplePadding(padding);
  if (!paddingKind)
    n.invalid("unknown padding_mode '" + padding + "'");
  n.out(0,
        n.make<nn::GridSampleOp>(x, grid, nn::ResizeModeAttr::get(n.ctx(), *kind),
                                 nn::SamplePaddingAttr::get(n.ctx(), *paddingKind), n.flag(n.i("align_corners", 0))));
}

/// Positions -1..1 of the elements of a dimension of `size` (a scalar): centers of the outermost elements, or the
/// borders of all.
Value normalizedPositions(Node &n, Value size, Type type, bool alignCorners) {
  Value one = n.number(1, type), two = n.number(2, type);
  Value i = n.convert(n.make<nn::RangeOp>(n.intConstant(0), size, n.intConstant(1)), type),
        length = n.convert(size, type);
  i = n.make<nn::MulOp>(i, two);
  if (alignCorners)
    length = n.make<nn::MaxOp>(n.make<nn::SubOp>(length, one), one);
  else
    i = n.make<nn::AddOp>(i, one);
  return n.make<nn::SubOp>(n.make<nn::DivOp>(i, length), one);
}

/// theta [N, r, r + 1] times the homogeneous positions of all elements: a sum of products that broadcast.
void importAffineGrid(Node &n) {
  Value theta = n.in(0), size = n.in(1);
  n.needRank(theta, 3, 3);
  n.needRank(size, 1, 1);
  n.needFloat(theta);
  n.needInt(size);
  int64_t rank;
  if (Dim count = n.dim(size, 0); count.isConst())
    rank = count.value() - 2;
  else if (n.dim(theta, 1).isConst())
    rank = n.dim(theta, 1).value();
  else if (auto declared = n.declaredRank(0))
    rank = *declared - 2;
  else
    n.unsupported("size", "its length must be known when compiling, or the rank of the result declared");
  if (rank < 1)
    n.invalid("size must have an element for each dimension of an image");
  for (int64_t i : {1, 2})
    if (Dim d = n.dim(theta, i); d.isConst() && !d.isConst(rank + i - 1))
      n.invalid("theta does not fit to the number of dimensions in size");
  Type given = n.elt(theta), type = given.isF64() ? given : n.b().getF32Type();
  theta = n.convert(theta, type);
  size = n.convert(n.withLength(size, rank + 2, "size"), n.b().getI64Type());
  bool alignCorners = n.i("align_corners", 0);
  Ints inner;
  for (int64_t a = 1; a <= rank; ++a)
    inner.push_back(a);
  auto column = [&](int64_t j) { return n.unsqueeze(n.squeeze(n.slice(theta, 2, j, j + 1), {2}), inner); };
  Value sum;
  for (int64_t j = 0; j < rank; ++j) {
    // The first column is about the last dimension.
    int64_t axis = rank - 1 - j;
    Value position = normalizedPositions(n, n.scalar(n.slice(size, 0, axis + 2, axis + 3)), type, alignCorners);
    Ints others;
    for (int64_t a = 0; a < rank + 2; ++a)
      if (a != axis + 1)
        others.push_back(a);
    Value term = n.make<nn::MulOp>(column(j), n.unsqueeze(position, others));
    sum = sum ? n.make<nn::AddOp>(sum, term) : term;
  }
  n.out(0, n.convert(n.make<nn::AddOp>(sum, column(rank)), given));
}

void importRoiAlign(Node &n) {
  Value x = n.in(0), rois = n.in(1), images = n.in(2);
  n.needRank(x, 4, 4);
  n.needRank(rois, 2, 2);
  n.needRank(images, 1, 1);
  n.needFloat(x);
  n.needSameType({x, rois});
  n.needInt(images);
  std::string mode = n.s("mode", "avg");
  if (mode != "avg" && mode != "max")
    n.invalid("unknown mode '" + mode + "'");
  // Opset 10 knows only positions that are not shifted.
  std::string coordinates =
      n.version() < 16 ? "output_half_pixel" : n.s("coordinate_transformation_mode", "half_pixel");
  if (coordinates != "half_pixel" && coordinates != "output_half_pixel")
    n.invalid("unknown coordinate_transformation_mode '" + coordinates + "'");
  int64_t height = n.i("output_height", 1), width = n.i("output_width", 1), ratio = n.i("sampling_ratio", 0);
  if (height < 1 || width < 1 || ratio < 0)
    n.invalid("output_height and output_width must be positive, sampling_ratio not negative");
  n.out(0, n.make<nn::RoiAlignOp>(x, rois, images, n.i64(height), n.i64(width), n.i64(ratio),
                                  n.f64(n.f("spatial_scale", 1)), n.flag(coordinates == "half_pixel"),
                                  n.flag(mode == "max")));
}

void importMaxRoiPool(Node &n) {
  Value x = n.in(0), rois = n.in(1);
  n.needRank(x, 4, 4);
  n.needRank(rois, 2, 2);
  n.needFloat(x);
  n.needSameType({x, rois});
  auto shape = n.ints("pooled_shape");
  if (!shape || shape->size() != 2 || (*shape)[0] < 1 || (*shape)[1] < 1)
    n.invalid("attribute 'pooled_shape' must be two positive numbers");
  n.out(0, n.make<nn::MaxRoiPoolOp>(x, rois, n.i64((*shape)[0]), n.i64((*shape)[1]), n.f64(n.f("spatial_scale", 1))));
}

/// Samples of the input, one column for each position of the result, times the weights as a matrix.
void importDeformConv(Node &n) {
  Value x = n.in(0), weight = n.in(1), offset = n.in(2), bias = n.optIn(3), mask = n.optIn(4);
  unsigned rank = n.rank(x);
  n.needRank(x, 3);
  n.needRank(weight, rank, rank);
  n.needRank(offset, rank, rank);
  n.needFloat(x);
  n.needSameType({x, weight, offset});
  for (Value v : {bias, mask})
    if (v)
      n.needSameType({x, v});
  int64_t group = n.i("group", 1), offsetGroup = n.i("offset_group", 1);
  if (group < 1 || offsetGroup < 1)
    n.invalid("attributes 'group' and 'offset_group' must be positive");
  std::optional<Ints> kernel = kernelOf(n, weight);
  if (!kernel && !n.hasAttr("kernel_shape"))
    n.unsupported("weights", "the kernel's shape must be known when compiling, or attribute 'kernel_shape' given");
  Window w = readWindow(n, x, kernel.value_or(Ints()));
  readPads(n, x, w);
  x = padded(n, x, w, n.number(0, n.elt(x)));
  Value columns = n.make<nn::DeformSampleOp>(x, offset, mask, n.i64s(w.kernel), n.i64s(w.strides), n.i64s(w.pads),
                                             n.i64s(w.dilations), n.i64(offsetGroup));
  Value matrix = n.make<nn::FlattenOp>(weight, n.i64(1));
  if (group > 1) {
    Value groups = n.intsConstant({group}), rest = n.intsConstant({-1});
    matrix = n.reshapeTo(matrix, {groups, rest, n.shapeOf(matrix, 1)});
    columns = n.reshapeTo(columns, {n.shapeOf(columns, 0, 1), groups, rest, n.shapeOf(columns, 2)});
  }
  Value y = n.matmul(matrix, columns);
  y = n.reshapeTo(y, {n.shapeOf(x, 0, 1), n.shapeOf(weight, 0, 1), n.shapeOf(offset, 2)});
  if (bias) {
    n.needRank(bias, 1, 1);
    Ints spatial;
    for (unsigned a = 1; a + 1 < rank; ++a)
      spatial.push_back(a);
    y = n.make<nn::AddOp>(y, n.unsqueeze(bias, spatial));
  }
  n.out(0, y);
}

void importCol2Im(Node &n) {
  Value x = n.in(0), image = n.in(1), block = n.in(2);
  n.needRank(x, 3, 3);
  for (Value v : {image, block}) {
    n.needRank(v, 1, 1);
    n.needInt(v);
  }
  auto strides = n.ints("strides"), dilations = n.ints("dilations"), pads = n.ints("pads");
  size_t spatial = 0;
  for (Value v : {image, block})
    if (n.dim(v, 0).isConst())
      spatial = n.dim(v, 0).value();
  if (!spatial && (strides || dilations || pads))
    spatial = strides ? strides->size() : dilations ? dilations->size() : pads->size() / 2;
  if (auto declared = n.declaredRank(0); !spatial && declared && *declared > 2)
    spatial = *declared - 2;
  if (!spatial)
    n.unsupported("image_shape", "its length must be known when compiling, or the rank of the result declared");
  image = n.withLength(image, spatial, "image_shape", 1);
  block = n.withLength(block, spatial, "block_shape", 1);
  auto complete = [&](std::optional<Ints> given, StringRef name, size_t count, int64_t otherwise, int64_t low) {
    Ints values = given.value_or(Ints(count, otherwise));
    if (values.size() != count)
      n.invalid("attribute '" + name + "' has " + Twine(values.size()) + " entries, not " + Twine(count));
    for (int64_t v : values)
      if (v < low || v > (int64_t(1) << 31))
        n.invalid("attribute '" + name + "' has the impossible entry " + Twine(v));
    return n.i64s(values);
  };
  n.out(0, n.make<nn::Col2ImOp>(x, image, block, complete(strides, "strides", spatial, 1, 1),
                                complete(pads, "pads", 2 * spatial, 0, 0),
                                complete(dilations, "dilations", spatial, 1, 1)));
}

} // namespace

void registerVision(Registry &r) {
  r.add("GridSample", 2, 2, importGridSample, 1, 16);
  r.add("AffineGrid", 2, 2, importAffineGrid, 1, 20);
  r.add("RoiAlign", 3, 3, importRoiAlign, 1, 10);
  r.add("MaxRoiPool", 2, 2, importMaxRoiPool);
  r.add("DeformConv", 3, 5, importDeformConv, 1, 19);
  r.add("Col2Im", 3, 3, importCol2Im, 1, 18);
}

} // namespace nnopt::onnx
