//===- ShapeFunctionsSampling.cpp - sampling of images, signals -----------===//
#include "dialects/nn/ShapeHelpers.h"

using namespace mlir;

namespace nnopt::nn {

LogicalResult GridSampleOp::inferShapes(ShapeContext &ctx) {
  Dims x(ctx.dims(getX())), grid(ctx.dims(getGrid()));
  if (x.size() < 3 || grid.size() != x.size())
    return emitOpError("x ") << shape::str(x) << " and grid " << shape::str(grid)
                             << " do not have the same rank of 3 or more";
  if (failed(shape::checkSame(*this, x[0], grid[0], "batch sizes of x and grid")) ||
      failed(shape::checkSame(*this, grid.back(), ctx.constant(x.size() - 2),
                              "the last dimension of grid and the number of spatial dimensions")))
    return failure();
  Dims dims{shape::unify(x[0], grid[0]), x[1]};
  dims.append(grid.begin() + 1, grid.end() - 1);
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);
  return success();
}

LogicalResult DeformSampleOp::inferShapes(ShapeContext &ctx) {
  Dims x(ctx.dims(getX())), offset(ctx.dims(getOffset()));
  int64_t spatial = getKernel().size();
  if ((int64_t)x.size() != spatial + 2 || offset.size() != x.size())
    return emitOpError("x ") << shape::str(x) << ", offset " << shape::str(offset)
                             << " and the attributes have different ranks";
  int64_t taps = 1;
  for (int64_t k : getKernel())
    taps *= k;
  Dim perGroup = ctx.constant((int64_t)getOffsetGroup() * taps);
  if (failed(shape::checkSame(*this, x[0], offset[0], "batch sizes of x and offset")) ||
      failed(shape::checkSame(*this, offset[1], perGroup * spatial, "channels of offset and those the kernel needs")))
    return failure();
  if (x[1].isConst() && x[1].value() % (int64_t)getOffsetGroup())
    return emitOpError("cannot divide ") << x[1].value() << " channels into " << getOffsetGroup() << " offset groups";
  Dim positions = ctx.constant(1);
  for (int64_t i = 0; i < spatial; ++i) {
    Dim window = ctx.constant((getKernel()[i] - 1) * getDilations()[i] + 1);
    Dim count = (x[2 + i] + (getPads()[i] + getPads()[spatial + i]) - window).floorDiv(getStrides()[i]) + 1;
    if (failed(shape::checkSame(*this, count, offset[2 + i], "positions of the convolution and of offset")))
      return failure();
    positions = positions * offset[2 + i];
  }
  if (getMask()) {
    Dims mask(ctx.dims(getMask()));
    if (mask.size() != x.size())
      return emitOpError("mask ") << shape::str(mask) << " must have the rank of x";
    if (failed(shape::checkSame(*this, mask[0], x[0], "batch sizes of x and mask")) ||
        failed(shape::checkSame(*this, mask[1], perGroup, "channels of mask and those the kernel needs")))
      return failure();
    for (int64_t i = 0; i < spatial; ++i)
      if (failed(shape::checkSame(*this, mask[2 + i], offset[2 + i], "positions of mask and offset")))
        return failure();
  }
  ctx.set(getResult(), ctx.info(getX()).elementType, {shape::unify(x[0], offset[0]), x[1] * taps, positions});
  return success();
}

/// [regions, C, height, width] for regions of `columns` numbers.
static LogicalResult inferRegions(Operation *op, ShapeContext &ctx, Value x, Value rois, int64_t columns,
                                  int64_t height, int64_t width) {
  if (failed(shape::checkRank(op, ctx, x, "x", 4)) || failed(shape::checkRank(op, ctx, rois, "rois", 2)) ||
      failed(shape::checkSame(op, ctx.dims(rois)[1], ctx.constant(columns), "columns of rois and those needed")))
    return failure();
  ctx.set(op->getResult(0), ctx.info(x).elementType,
          {ctx.dims(rois)[0], ctx.dims(x)[1], ctx.constant(height), ctx.constant(width)});
  return success();
}

LogicalResult RoiAlignOp::inferShapes(ShapeContext &ctx) {
  if (failed(inferRegions(*this, ctx, getX(), getRois(), 4, getHeight(), getWidth())) ||
      failed(shape::checkRank(*this, ctx, getBatchIndices(), "batch_indices", 1)))
    return failure();
  return shape::checkSame(*this, ctx.dims(getRois())[0], ctx.dims(getBatchIndices())[0],
                          "numbers of rois and batch_indices");
}

LogicalResult MaxRoiPoolOp::inferShapes(ShapeContext &ctx) {
  return inferRegions(*this, ctx, getX(), getRois(), 5, getHeight(), getWidth());
}

LogicalResult MaxUnpoolOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  size_t spatial = getKernel().size();
  if (dims.size() != spatial + 2 || getStrides().size() != spatial || getPads().size() != 2 * spatial)
    return emitOpError("x ") << shape::str(dims) << " and the attributes have different ranks";
  ArrayRef<Dim> indices = ctx.dims(getIndices());
  if (indices.size() != dims.size())
    return emitOpError("indices ") << shape::str(indices) << " must have the shape of x";
  for (size_t i = 0; i < dims.size(); ++i)
    if (failed(shape::checkSame(*this, dims[i], indices[i], "dimensions of x and indices")))
      return failure();
  for (size_t i = 0; i < spatial; ++i)
    dims[2 + i] = (dims[2 + i] - 1) * getStrides()[i] + (getKernel()[i] - getPads()[i] - getPads()[spatial + i]);
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);
  return success();
}

LogicalResult Col2ImOp::inferShapes(ShapeContext &ctx) {
  Dims x(ctx.dims(getX()));
  unsigned spatial = getStrides().size();
  if (failed(shape::checkRank(*this, ctx, getX(), "x", 3)))
    return failure();
  auto image = shape::partialContent(ctx, getImageShape()), block = shape::partialContent(ctx, getBlockShape());
  if (spatial == 0 || getDilations().size() != spatial || getPads().size() != 2 * spatial ||
      (image && image->size() != spatial) || (block && block->size() != spatial))
    return emitOpError("image_shape, block_shape and the attributes do not have the same length");
  // Null where unknown.
  auto at = [](const std::optional<Dims> &v, unsigned i) { return v ? (*v)[i] : Dim(); };
  Dim blockSize = ctx.constant(1), blocks = ctx.constant(1);
  Dims dims{x[0], Dim()};
  for (unsigned i = 0; i < spatial; ++i) {
    Dim size = at(image, i), window = at(block, i);
    blockSize = blockSize && window ? blockSize * window : Dim();
    blocks = blocks && size && window && window.isAtLeast(1)
                 ? blocks * ((size + (getPads()[i] + getPads()[spatial + i]) - (window - 1) * getDilations()[i] - 1)
                                 .floorDiv(getStrides()[i]) +
                             1)
                 : Dim();
    dims.push_back(size ? size : shape::unknownDim(ctx, *this, 0, spatial + 2, i + 2, "col2im"));
  }
  if (blockSize && blockSize.isConst() && x[1].isConst() && (blockSize.value() < 1 || x[1].value() % blockSize.value()))
    return emitOpError("dimension 1 of ")
           << shape::str(x) << " is not a multiple of the block size " << blockSize.value();
  if (blocks && failed(shape::checkSame(*this, x[2], blocks, "numbers of blocks")))
    return failure();
  dims[1] = blockSize && blockSize.isAtLeast(1) ? x[1].floorDiv(blockSize)
                                                : shape::unknownDim(ctx, *this, 0, spatial + 2, 1, "col2im_channels");
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);
  return success();
}

LogicalResult DFTOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  int64_t rank = dims.size();
  if (rank < 2)
    return emitOpError("x must have rank 2 or more, got ") << shape::str(dims);
  if (dims.back().isConst() && !dims.back().isConst(1) && !dims.back().isConst(2))
    return emitOpError("the last dimension of ") << shape::str(dims) << " must be 1 (real) or 2 (complex)";
  bool realResult = getInverse() && getOnesided();
  Dim axis = ctx.scalarContent(getAxis()), length = getDftLength() ? ctx.scalarContent(getDftLength()) : Dim();
  auto sizeAlong = [&](Dim n) -> Dim {
    if (getDftLength())
      n = length;
    else if (realResult)
      n = (n - 1) * 2;
    return n && getOnesided() && !getInverse() ? n.floorDiv(2) + 1 : n;
  };
  if (axis && axis.isConst()) {
    int64_t d = axis.value() < 0 ? axis.value() + rank : axis.value();
    if (failed(shape::checkAxis(*this, d, rank - 1)))
      return failure();
    Dim size = sizeAlong(dims[d]);
    dims[d] = size ? size : shape::unknownDim(ctx, *this, 0, rank, d, "dft");
  } else if (getDftLength() || getOnesided()) {
    for (int64_t d = 0; d + 1 < rank; ++d)
      dims[d] = shape::unknownDim(ctx, *this, 0, rank, d, "dft");
  }
  dims.back() = ctx.constant(realResult ? 1 : 2);
  ctx.set(getResult(), ctx.info(getX()).elementType, dims);
  return success();
}

LogicalResult DetOp::inferShapes(ShapeContext &ctx) {
  ArrayRef<Dim> dims = ctx.dims(getX());
  if (dims.size() < 2)
    return emitOpError("x must have rank 2 or more, got ") << shape::str(dims);
  if (failed(shape::checkSame(*this, dims.back(), dims[dims.size() - 2], "rows and columns")))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, Dims(dims.drop_back(2)));
  return success();
}

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

static Type elementTypeOf(Value v) { return cast<RankedTensorType>(v.getType()).getElementType(); }

LogicalResult BitCastOp::verify() {
  Type from = elementTypeOf(getX()), to = getTo();
  // A bool is a byte.
  auto width = [](Type t) { return t.isInteger(1) ? 8 : t.isIntOrFloat() ? t.getIntOrFloatBitWidth() : 0; };
  if (!to.isIntOrFloat() || width(from) != width(to))
    return emitOpError("cannot see ") << from << " as " << to << ": the widths are different";
  return success();
}

LogicalResult GridSampleOp::verify() {
  if (!isa<FloatType>(elementTypeOf(getGrid())))
    return emitOpError("grid must hold floats, got ") << elementTypeOf(getGrid());
  return success();
}

/// Checks an attribute with `count` entries of at least `low`.
static LogicalResult verifyEntries(Operation *op, StringRef name, ArrayRef<int64_t> values, size_t count, int64_t low) {
  if (values.size() != count)
    return op->emitOpError() << name << " must have " << count << " entries, got " << values.size();
  for (int64_t v : values)
    if (v < low)
      return op->emitOpError() << name << " must be at least " << low << ", got " << v;
  return success();
}

LogicalResult DeformSampleOp::verify() {
  size_t spatial = getKernel().size();
  if (!isa<FloatType>(elementTypeOf(getX())) || elementTypeOf(getX()) != elementTypeOf(getOffset()) ||
      (getMask() && elementTypeOf(getMask()) != elementTypeOf(getX())))
    return emitOpError("operands must be floats of one type");
  if ((int64_t)getOffsetGroup() < 1)
    return emitOpError("offset_group must be at least 1, got ") << (int64_t)getOffsetGroup();
  if (failed(verifyEntries(*this, "kernel", getKernel(), spatial, 1)) ||
      failed(verifyEntries(*this, "strides", getStrides(), spatial, 1)) ||
      failed(verifyEntries(*this, "dilations", getDilations(), spatial, 1)))
    return failure();
  return verifyEntries(*this, "pads", getPads(), 2 * spatial, 0);
}

/// Checks the operands and the size of the result of pooled regions.
template <typename Pool> static LogicalResult verifyRegionPool(Pool op) {
  if (!isa<FloatType>(elementTypeOf(op.getX())) || elementTypeOf(op.getX()) != elementTypeOf(op.getRois()))
    return op.emitOpError("x and rois must be floats of one type");
  if ((int64_t)op.getHeight() < 1 || (int64_t)op.getWidth() < 1)
    return op.emitOpError("height and width must be at least 1");
  return success();
}

LogicalResult RoiAlignOp::verify() {
  if ((int64_t)getSamplingRatio() < 0)
    return emitOpError("sampling_ratio must not be negative, got ") << (int64_t)getSamplingRatio();
  if (!isa<IntegerType>(elementTypeOf(getBatchIndices())))
    return emitOpError("batch_indices must be integers, got ") << elementTypeOf(getBatchIndices());
  return verifyRegionPool(*this);
}

LogicalResult MaxRoiPoolOp::verify() { return verifyRegionPool(*this); }

} // namespace nnopt::nn
