//===- ResizeAntialias.cpp - interpolation with stretched filters ---------===//
//
// Where a dimension shrinks, the filter is stretched over 1 / scale elements, so that every element of the
// input counts. Interpolation is separable: one pass for each axis that changes, with a tensor between two
// passes. The elements and weights of each position are computed once for each call of a kernel.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/Float.h"
#include "lib/codegen/cpu/contraction/Reference.h"
#include "lib/codegen/cpu/irregular/ResizeTaps.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

class AntialiasPass {
public:
  AntialiasPass(nn::ResizeOp op, Lowering &lowering, ResizeTaps &rule, unsigned axis)
      : op(op), lowering(lowering), rule(rule), axis(axis), k(lowering, op, "resize_antialias") {}

  /// From the buffer that `in` makes to the one that `out` makes. `dims` are those of the input, of which
  /// `axis` becomes `newSize`.
  void emit(llvm::function_ref<Buffer(Kernel &)> in, llvm::function_ref<Buffer(Kernel &)> out, nn::Dims dims,
            nn::Dim newSize) {
    x = in(k), y = out(k);
    rule.prepare(k);
    nn::Dim outer = lowering.product(dims, 0, axis), inner = lowering.product(dims, axis + 1, dims.size());
    size = k.dim(dims[axis]), results = k.dim(newSize), behind = k.dim(inner);
    // Position p is the sum of elements [first, first + count): they are at most all of them.
    pitch = size;
    weights = k.at(k.scratch(newSize * dims[axis] * 4), k.b.getF32Type());
    firsts = k.at(k.scratch(newSize * 8), k.b.getI64Type());
    counts = k.at(k.scratch(newSize * 8), k.b.getI64Type());
    k.loop(k.c(0), results, 1, [&](Ix o) { fill(o); });
    type = computeType(x.valueType);
    shape = {lowering.target.lanes(type.getIntOrFloatBitWidth() / 8), 1, /*masked=*/false};
    if (lowering.options.optLevel == 0 || !isa<FloatType>(x.valueType) || x.valueType != type || y.valueType != type)
      shape.lanes = 1;
    forTasks(k, [&](Ix task) {
      k.loop(k.c(0), results, 1, [&](Ix o) { position(o, task * size * behind, (task * results + o) * behind); });
    });
    k.bytes = (outer * inner * (dims[axis] + newSize)) * 4;
    lowering.launch(k, outer);
  }

private:
  Float weightAt(Float distance) {
    distance = distance.abs();
    Float one = distance.like(1), zero = distance.like(0);
    if (op.getMode() == nn::ResizeMode::linear)
      return (one - distance).atLeast(zero);
    // Keys' cubic convolution kernel with parameter a.
    double a = op.getCubicCoeffA().convertToDouble();
    Float near = (distance * (a + 2) - (a + 3)) * distance * distance + 1.0;
    Float far = ((distance * a - 5 * a) * distance + 8 * a) * distance - 4 * a;
    return Float::choose(distance <= one, near, Float::choose(distance < distance.like(2), far, zero));
  }

  /// Weights of result position o. What lies outside of the input counts for its nearest element, or not
  /// at all with exclude_outside.
  void fill(Ix o) {
    double support = op.getMode() == nn::ResizeMode::linear ? 1 : 2;
    Float center(&k, rule.coordinate(k, axis, o)), scale(&k, rule.scale(axis));
    center = center.atLeast(center.like(-(1 << 24))).atMost(center.like(1 << 24));
    scale = scale.atLeast(scale.like(1e-6)).atMost(scale.like(1));
    Float reach = scale.like(support) / scale;
    Ix low = (center - reach).ceil().index(), high = (center + reach).floor().index() + 1;
    Ix last = size - 1, first = low.max(k.c(0)).min(last), end = (high - 1).max(k.c(0)).min(last) + 1;
    k.store(firsts, o, first);
    k.store(counts, o, end - first);
    Value zero = k.f32(0);
    k.loop(first, end, 1, [&](Ix i) { k.store(weights, o * pitch + (i - first), zero); });
    auto weight = [&](Ix i) { return weightAt((Float{&k, indexToF32(k, i)} - center) * scale); };
    auto isCounted = [&](Ix i) -> Value {
      return op.getExcludeOutside() ? Value(i.inRange(size)) : k.constant(k.b.getI1Type(), 1);
    };
    Float sum(&k, k.loop(low, high, 1, {zero}, [&](Ix i, ValueRange state) {
      Value w = k.select(isCounted(i), weight(i).v, zero);
      Ix at = o * pitch + (i.max(first).min(end - 1) - first);
      k.store(weights, at, (Float(&k, k.load(weights, at)) + Float(&k, w)).v);
      return SmallVector<Value>{(Float(&k, state[0]) + Float(&k, w)).v};
    })[0]);
    k.loop(k.c(0), end - first, 1,
           [&](Ix i) { k.store(weights, o * pitch + i, (Float(&k, k.load(weights, o * pitch + i)) / sum).v); });
  }

  /// All elements behind one position: sums over elements that lie `behind` apart.
  void position(Ix o, Ix from, Ix to) {
    Ix first(&k, k.load(firsts, o)), count(&k, k.load(counts, o));
    if (behind.constant() == 1 && shape.lanes > 1 && type.isF32()) {
      Value sum = dotProduct(k, x, from + first, k.c(1), weights, o * pitch, k.c(1), count, k.f32(0));
      return k.store(y, to, extrapolated(o, sum));
    }
    vectorLoop(k, k.c(0), behind, shape, /*multiple=*/false, [&](const Step &step) {
      for (Ix j : step.at) {
        Value zero = like(k, k.constant(type, 0), step);
        Value sum = k.loop(k.c(0), count, 1, {zero}, [&](Ix i, ValueRange state) {
          Value v = k.toFloat(loadStep(k, x, from + (first + i) * behind + j, step), x.isUnsigned);
          Value w = Float(&k, k.load(weights, o * pitch + i)).as(type).v;
          return SmallVector<Value>{k.fma(v, like(k, w, step), state[0])};
        })[0];
        sum = extrapolated(o, sum);
        if (step.lanes == 1)
          sum = saturatedFromFloat(k, sum, y.valueType, y.isUnsigned);
        storeStep(k, y, to + j, sum, step);
      }
    });
  }

  /// The value of position o, where that lies in what is cropped. Blending equal values along other axes keeps them.
  Value extrapolated(Ix o, Value v) {
    if (!rule.crops())
      return v;
    Value constant = k.constant(v.getType(), op.getExtrapolationValue().convertToDouble());
    return k.select(rule.isOutside(k, axis, o), constant, v);
  }

  nn::ResizeOp op;
  Lowering &lowering;
  ResizeTaps &rule;
  unsigned axis;
  Kernel k;
  Buffer x, y, weights, firsts, counts;
  Ix size, results, behind, pitch;
  Type type;
  VectorShape shape;
};

bool match(Operation *operation, Lowering &) {
  auto op = cast<nn::ResizeOp>(operation);
  return op.getAntialias() && op.getMode() != nn::ResizeMode::nearest;
}

LogicalResult emit(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ResizeOp>(operation);
  ResizeTaps rule(op, lowering);
  if (failed(rule.defineSizes()))
    return failure();
  SmallVector<unsigned> axes(rule.axes().begin(), rule.axes().end());
  if (axes.empty()) {
    lowering.copy(op.getResult(), op.getX());
    return success();
  }
  nn::Dims dims = lowering.dims(op.getX()), outDims = lowering.dims(op.getResult());
  Type type = computeType(lowering.shapes.info(op.getX()).elementType);
  TempTensor between;
  for (auto [i, axis] : llvm::enumerate(axes)) {
    nn::Dims next = dims;
    next[axis] = outDims[axis];
    TempTensor source = between;
    bool isFirst = i == 0, isLast = i + 1 == axes.size();
    if (!isLast)
      between = lowering.temp(type, next);
    AntialiasPass(op, lowering, rule, axis)
        .emit([&](Kernel &k) { return isFirst ? k.read(op.getX()) : k.read(source); },
              [&](Kernel &k) { return isLast ? k.write(op.getResult()) : k.write(between); }, dims, outDims[axis]);
    dims = next;
  }
  return success();
}

RegisterEmitter antialias({"nn.resize", "resize-antialias", 0, match, emit});

} // namespace
} // namespace nnopt::cpu
