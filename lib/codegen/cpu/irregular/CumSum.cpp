//===- CumSum.cpp - running sums ------------------------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// The type sums are kept in: f32 for narrower floats.
Type sumType(Kernel &k, const Buffer &x) {
  auto type = dyn_cast<FloatType>(x.valueType);
  return type && type.getWidth() < 32 ? Type(k.b.getF32Type()) : x.valueType;
}

/// Sums one line of `size` elements that lie `stride` apart from `base` on, `lanes` neighbouring
/// lines at a time (0: scalar code).
void sumLine(Kernel &k, const Buffer &x, const Buffer &y, nn::CumSumOp op, Ix base, Ix size, Ix stride, int64_t lanes) {
  bool narrow = sumType(k, x) != x.valueType;
  Type type = lanes ? Type(k.vec(lanes, sumType(k, x))) : sumType(k, x);
  k.loop(k.c(0), size, 1, {k.constant(type, 0)}, [&](Ix i, ValueRange state) {
    Ix position = op.getReverse() ? size - 1 - i : i;
    Ix offset = base + position * stride;
    Value v = lanes ? k.load(x, offset, lanes) : k.load(x, offset);
    Value sum = addElements(k, state[0], narrow ? k.toFloat(v) : v);
    Value result = op.getExclusive() ? state[0] : sum;
    k.store(y, offset, narrow ? k.fromFloat(result, x.valueType) : result);
    return SmallVector<Value>{sum};
  });
}

std::optional<unsigned> knownAxis(nn::CumSumOp op, Lowering &lowering) {
  nn::Dim axis = lowering.shapes.scalarContent(op.getAxis());
  if (!axis || !axis.isConst())
    return std::nullopt;
  int64_t rank = lowering.dims(op.getX()).size();
  return axis.value() < 0 ? axis.value() + rank : axis.value();
}

LogicalResult emitCumSum(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::CumSumOp>(operation);
  nn::Dims dims = lowering.dims(op.getX());
  unsigned rank = dims.size();

  Kernel k(lowering, op, "cum_sum");
  Buffer x = k.read(op.getX());
  if (auto axis = knownAxis(op, lowering)) {
    Buffer y = k.write(op.getResult());
    k.allowInPlace(op.getX(), op.getResult());
    nn::Dim inner = lowering.product(dims, *axis + 1, rank);
    Ix size = k.dim(dims[*axis]), stride = k.dim(inner);
    forTasks(k, [&](Ix task) {
      sumLine(k, x, y, op, task / stride * size * stride + task % stride, size, stride, 0);
    });
    k.grain = 16;
    lowering.launch(k, lowering.product(dims, 0, *axis) * inner);
    return success();
  }

  // The axis is data: its size and stride are selected at run time, one task does all lines.
  Buffer axisBuffer = k.read(op.getAxis()), y = k.write(op.getResult());
  Ix axis = wrapIndex(k, k.toIndex(k.load(axisBuffer, k.c(0)), axisBuffer.isUnsigned), k.c(rank));
  Ix size = k.c(1), stride = k.c(1), lines = k.c(1);
  for (unsigned d = 0; d < rank; ++d) {
    Ix dim = k.dim(dims[d]);
    size = k.selectIx(axis == int64_t(d), dim, size);
    lines = lines * k.selectIx(axis == int64_t(d), k.c(1), dim);
    stride = stride * k.selectIx(axis < int64_t(d), dim, k.c(1));
  }
  k.loop(k.c(0), lines, 1, [&](Ix line) {
    sumLine(k, x, y, op, line / stride * size * stride + line % stride, size, stride, 0);
  });
  lowering.launch(k, lowering.c(1));
  return success();
}

//===----------------------------------------------------------------------===//
// Many lines side by side: a vector of lines at a time
//===----------------------------------------------------------------------===//

nn::Dim innerSize(nn::CumSumOp op, Lowering &lowering, unsigned axis) {
  const nn::Dims &dims = lowering.dims(op.getX());
  return lowering.product(dims, axis + 1, dims.size());
}

bool matchLanes(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::CumSumOp>(operation);
  auto axis = knownAxis(op, lowering);
  return axis && lowering.shapes.info(op.getX()).elementType.isF32() &&
         innerSize(op, lowering, *axis).isAtLeast(lowering.target.lanes());
}

LogicalResult emitLanes(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::CumSumOp>(operation);
  nn::Dims dims = lowering.dims(op.getX());
  unsigned axis = *knownAxis(op, lowering);
  int64_t lanes = lowering.target.lanes();
  nn::Dim inner = innerSize(op, lowering, axis);

  Kernel k(lowering, op, "cum_sum");
  Buffer x = k.read(op.getX()), y = k.write(op.getResult());
  Ix size = k.dim(dims[axis]), stride = k.dim(inner), blocks = k.dim(inner.floorDiv(lanes)),
     chunks = k.dim(inner.ceilDiv(lanes));
  forTasks(k, [&](Ix task) {
    Ix chunk = task % chunks, base = task / chunks * size * stride + chunk * lanes;
    k.ifThen(
        chunk < blocks, [&] { sumLine(k, x, y, op, base, size, stride, lanes); },
        [&] {
          k.loop(k.c(0), stride - blocks * lanes, 1,
                 [&](Ix i) { sumLine(k, x, y, op, base + i, size, stride, 0); });
        });
  });
  lowering.launch(k, lowering.product(dims, 0, axis) * inner.ceilDiv(lanes));
  return success();
}

RegisterEmitter cumSum({"nn.cum_sum", "cum-sum", 0, nullptr, emitCumSum});
RegisterEmitter cumSumLanes({"nn.cum_sum", "cum-sum-lanes", 10, matchLanes, emitLanes});

} // namespace
} // namespace nnopt::cpu
