//===- CumSum.cpp - running sums and products -----------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// A running sum or product.
struct Scan {
  Operation *op;
  bool isProduct, exclusive, reverse;

  explicit Scan(Operation *op) : op(op) {
    if (auto sum = dyn_cast<nn::CumSumOp>(op))
      isProduct = false, exclusive = sum.getExclusive(), reverse = sum.getReverse();
    else
      isProduct = true, exclusive = cast<nn::CumProdOp>(op).getExclusive(),
      reverse = cast<nn::CumProdOp>(op).getReverse();
  }
  Value x() const { return op->getOperand(0); }
  Value axis() const { return op->getOperand(1); }
  Value result() const { return op->getResult(0); }
  StringRef name() const { return op->getName().stripDialect(); }
};

/// The type sums are kept in: f32 for narrower floats.
Type sumType(Kernel &k, const Buffer &x) {
  auto type = dyn_cast<FloatType>(x.valueType);
  return type && type.getWidth() < 32 ? Type(k.b.getF32Type()) : x.valueType;
}

/// Scans one line of `size` elements that lie `stride` apart from `base` on, `lanes` neighbouring
/// lines at a time (0: scalar code).
void scanLine(Kernel &k, const Buffer &x, const Buffer &y, const Scan &op, Ix base, Ix size, Ix stride, int64_t lanes) {
  bool narrow = sumType(k, x) != x.valueType;
  Type type = lanes ? Type(k.vec(lanes, sumType(k, x))) : sumType(k, x);
  k.loop(k.c(0), size, 1, {k.constant(type, op.isProduct ? 1 : 0)}, [&](Ix i, ValueRange state) {
    Ix position = op.reverse ? size - 1 - i : i;
    Ix offset = base + position * stride;
    Value v = lanes ? k.load(x, offset, lanes) : k.load(x, offset);
    v = narrow ? k.toFloat(v) : v;
    Value next = op.isProduct ? mulElements(k, state[0], v) : addElements(k, state[0], v);
    Value result = op.exclusive ? state[0] : next;
    k.store(y, offset, narrow ? k.fromFloat(result, x.valueType) : result);
    return SmallVector<Value>{next};
  });
}

std::optional<unsigned> knownAxis(const Scan &op, Lowering &lowering) {
  nn::Dim axis = lowering.shapes.scalarContent(op.axis());
  if (!axis || !axis.isConst())
    return std::nullopt;
  int64_t rank = lowering.dims(op.x()).size();
  return axis.value() < 0 ? axis.value() + rank : axis.value();
}

LogicalResult emitScan(Operation *operation, Lowering &lowering) {
  Scan op(operation);
  nn::Dims dims = lowering.dims(op.x());
  unsigned rank = dims.size();

  Kernel k(lowering, operation, op.name());
  Buffer x = k.read(op.x());
  if (auto axis = knownAxis(op, lowering)) {
    Buffer y = k.write(op.result());
    k.allowInPlace(op.x(), op.result());
    nn::Dim inner = lowering.product(dims, *axis + 1, rank);
    Ix size = k.dim(dims[*axis]), stride = k.dim(inner);
    forTasks(k,
             [&](Ix task) { scanLine(k, x, y, op, task / stride * size * stride + task % stride, size, stride, 0); });
    k.grain = 16;
    lowering.launch(k, lowering.product(dims, 0, *axis) * inner);
    return success();
  }

  // The axis is data: its size and stride are selected at run time, one task does all lines.
  Buffer axisBuffer = k.read(op.axis()), y = k.write(op.result());
  Ix axis = wrapIndex(k, k.toIndex(k.load(axisBuffer, k.c(0)), axisBuffer.isUnsigned), k.c(rank));
  Ix size = k.c(1), stride = k.c(1), lines = k.c(1);
  for (unsigned d = 0; d < rank; ++d) {
    Ix dim = k.dim(dims[d]);
    size = k.selectIx(axis == int64_t(d), dim, size);
    lines = lines * k.selectIx(axis == int64_t(d), k.c(1), dim);
    stride = stride * k.selectIx(axis < int64_t(d), dim, k.c(1));
  }
  k.loop(k.c(0), lines, 1,
         [&](Ix line) { scanLine(k, x, y, op, line / stride * size * stride + line % stride, size, stride, 0); });
  lowering.launch(k, lowering.c(1));
  return success();
}

//===----------------------------------------------------------------------===//
// Many lines side by side: a vector of lines at a time
//===----------------------------------------------------------------------===//

nn::Dim innerSize(const Scan &op, Lowering &lowering, unsigned axis) {
  const nn::Dims &dims = lowering.dims(op.x());
  return lowering.product(dims, axis + 1, dims.size());
}

bool matchLanes(Operation *operation, Lowering &lowering) {
  Scan op(operation);
  auto axis = knownAxis(op, lowering);
  return axis && lowering.shapes.info(op.x()).elementType.isF32() &&
         innerSize(op, lowering, *axis).isAtLeast(lowering.target.lanes());
}

LogicalResult emitLanes(Operation *operation, Lowering &lowering) {
  Scan op(operation);
  nn::Dims dims = lowering.dims(op.x());
  unsigned axis = *knownAxis(op, lowering);
  int64_t lanes = lowering.target.lanes();
  nn::Dim inner = innerSize(op, lowering, axis);

  Kernel k(lowering, operation, op.name());
  Buffer x = k.read(op.x()), y = k.write(op.result());
  Ix size = k.dim(dims[axis]), stride = k.dim(inner), blocks = k.dim(inner.floorDiv(lanes)),
     chunks = k.dim(inner.ceilDiv(lanes));
  forTasks(k, [&](Ix task) {
    Ix chunk = task % chunks, base = task / chunks * size * stride + chunk * lanes;
    k.ifThen(
        chunk < blocks, [&] { scanLine(k, x, y, op, base, size, stride, lanes); },
        [&] {
          k.loop(k.c(0), stride - blocks * lanes, 1, [&](Ix i) { scanLine(k, x, y, op, base + i, size, stride, 0); });
        });
  });
  lowering.launch(k, lowering.product(dims, 0, axis) * inner.ceilDiv(lanes));
  return success();
}

RegisterEmitter cumSum({"nn.cum_sum", "cum-sum", 0, nullptr, emitScan});
RegisterEmitter cumProd({"nn.cum_prod", "cum-prod", 0, nullptr, emitScan});
RegisterEmitter cumSumLanes({"nn.cum_sum", "cum-sum-lanes", 10, matchLanes, emitLanes});
RegisterEmitter cumProdLanes({"nn.cum_prod", "cum-prod-lanes", 10, matchLanes, emitLanes});

} // namespace
} // namespace nnopt::cpu
