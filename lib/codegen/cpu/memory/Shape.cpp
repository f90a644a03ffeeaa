//===- Shape.cpp - shape, size, range, constant_of_shape --------------------===//
//
// Small integer tensors that the shape analysis knows are written by the lowering itself; what is
// here is the rest: rank or size too large for it, floats, limits that depend on data.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

LogicalResult emitShape(Operation *op, Lowering &l) {
  auto shape = cast<nn::ShapeOp>(op);
  const nn::Dims &dims = l.dims(shape.getX());
  Kernel k(l, op, "shape");
  Buffer out = k.write(shape.getResult());
  int64_t rank = dims.size();
  auto bound = [&](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank); };
  int64_t low = bound(shape.getStart()), high = shape.getEnd() ? bound(*shape.getEnd()) : rank;
  for (int64_t i = low; i < high; ++i)
    k.store(out, k.c(i - low), k.dim(dims[i]));
  l.launch(k, l.c(1));
  return success();
}

LogicalResult emitSize(Operation *op, Lowering &l) {
  auto size = cast<nn::SizeOp>(op);
  Kernel k(l, op, "size");
  Buffer out = k.write(size.getResult());
  k.store(out, k.c(0), k.dim(l.numElements(size.getX())));
  l.launch(k, l.c(1));
  return success();
}

// start + i * delta, computed for each element by itself: no error accumulates.
LogicalResult emitRange(Operation *op, Lowering &l) {
  auto range = cast<nn::RangeOp>(op);
  Kernel k(l, op, "range");
  Buffer start = k.read(range.getStart()), delta = k.read(range.getDelta()), out = k.write(range.getResult());
  Value first = k.load(start, k.c(0)), step = k.load(delta, k.c(0));
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    Value v;
    if (isa<FloatType>(out.valueType)) {
      Type type = computeType(out.valueType);
      Value position = arith::SIToFPOp::create(k.b, k.loc, type, i);
      v = fadd(k, k.toFloat(first), fmul(k, position, k.toFloat(step)));
      v = k.fromFloat(v, out.valueType);
    } else {
      Value position = i;
      if (out.valueType.getIntOrFloatBitWidth() < 64)
        position = arith::TruncIOp::create(k.b, k.loc, out.valueType, i);
      v = arith::AddIOp::create(k.b, k.loc, first, arith::MulIOp::create(k.b, k.loc, position, step));
    }
    k.store(out, i, v);
  });
  k.grain = 4096;
  l.launch(k, nn::product(l.dimContext(), out.dims));
  return success();
}

LogicalResult emitConstantOfShape(Operation *op, Lowering &l) {
  auto fill = cast<nn::ConstantOfShapeOp>(op);
  auto data = nn::ConstantData::get(fill.getValue());
  if (!data || data->size() != 1)
    return op->emitError("constant_of_shape needs one element to fill with");
  Kernel k(l, op, "fill");
  Buffer out = asBits(k, k.write(fill.getResult()));
  int64_t bytes = storageBytes(out);
  uint64_t bits = 0;
  std::memcpy(&bits, data->bytes().data(), bytes);
  Value v = arith::ConstantOp::create(k.b, k.loc, k.b.getIntegerAttr(out.valueType, APInt(bytes * 8, bits, false, true)));
  int64_t perTask = 16384 / bytes;
  nn::Dim n = nn::product(l.dimContext(), out.dims);
  Ix low = k.begin * perTask, high = (k.end * perTask).min(k.dim(n));
  fillRow(k, out, low, v, high - low);
  k.grain = 2;
  l.launch(k, n.ceilDiv(l.c(perTask)));
  return success();
}

RegisterEmitter shape({"nn.shape", "shape", 0, nullptr, emitShape});
RegisterEmitter size({"nn.size", "size", 0, nullptr, emitSize});
RegisterEmitter range({"nn.range", "range", 0, nullptr, emitRange});
RegisterEmitter constantOfShape({"nn.constant_of_shape", "fill", 0, nullptr, emitConstantOfShape});

} // namespace
} // namespace nnopt::cpu
