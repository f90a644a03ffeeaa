//===- LayerNorm.cpp - layer_norm and rms_norm ------------------------------===//

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Statistics.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// Both operations seen alike.
struct NormOperands {
  Value x, scale, bias, result;
  int64_t axis;
  double epsilon;
  bool centered; // subtracts the mean

  explicit NormOperands(Operation *op) {
    if (auto norm = dyn_cast<nn::LayerNormOp>(op)) {
      x = norm.getX(), scale = norm.getScale(), bias = norm.getBias(), result = norm.getResult();
      axis = norm.getAxis(), epsilon = norm.getEpsilon().convertToDouble(), centered = true;
    } else {
      auto rms = cast<nn::RMSNormOp>(op);
      x = rms.getX(), scale = rms.getScale(), result = rms.getResult();
      axis = rms.getAxis(), epsilon = rms.getEpsilon().convertToDouble(), centered = false;
    }
  }
};

LogicalResult emitReference(Operation *op, Lowering &l) {
  NormOperands o(op);
  nn::DimContext &ctx = l.dimContext();
  Kernel k(l, op, op->getName().stripDialect());
  Buffer x = k.read(o.x), scale = k.read(o.scale), out = k.write(o.result);
  Buffer bias = o.bias ? k.read(o.bias) : Buffer();
  unsigned rank = x.rank();
  nn::Dim n = l.product(x.dims, o.axis, rank), rows = l.product(x.dims, 0, o.axis);
  Type type = computeType(x.valueType);
  Ix size = k.dim(n);
  k.loop(k.begin, k.end, 1, [&](Ix row) {
    Ix base = row * size;
    auto value = [&](Ix i, const Step &) { return k.toFloat(k.load(x, base + i)); };
    Statistics s;
    if (o.centered) {
      s = rowStatistics(k, type, size, {}, true, o.epsilon, value);
    } else {
      Value squares = sumRow(k, type, size, {}, true, [&](Ix i, const Step &step) {
        return fmul(k, value(i, step), value(i, step));
      });
      s.scale = inverseRoot(k, fdiv(k, squares, asFloat(k, size, type)), o.epsilon);
    }
    k.loop(k.c(0), size, 1, [&](Ix i) {
      SmallVector<Ix> index = k.delinearize(base + i, x.dims);
      auto parameter = [&](const Buffer &p) {
        Ix offset = k.c(0);
        for (auto [at, stride] : llvm::zip(index, broadcastStrides(ctx, p.dims, x.dims)))
          offset = offset + at * k.dim(stride);
        return k.toFloat(k.load(p, offset));
      };
      Value v = value(i, {{i}, 1, {}});
      if (o.centered)
        v = fsub(k, v, s.mean);
      v = fmul(k, fmul(k, v, s.scale), parameter(scale));
      if (o.bias)
        v = fadd(k, v, parameter(bias));
      k.store(out, base + i, k.fromFloat(v, out.valueType));
    });
  });
  k.grain = 4;
  l.launch(k, rows);
  return success();
}

/// Whether a parameter is one element, or one for each normalized element.
bool isRowParameter(Lowering &l, Value p, Value x, int64_t axis) {
  const nn::Dims &own = l.dims(p);
  ArrayRef<nn::Dim> normalized = ArrayRef<nn::Dim>(l.dims(x)).drop_front(axis);
  if (l.numElements(p).isConst(1))
    return true;
  if (own.size() < normalized.size())
    return false;
  for (auto [i, d] : llvm::enumerate(own)) {
    // A dimension that is not 1 must be that of x.
    size_t lead = own.size() - normalized.size();
    bool matches = i < lead ? d.isConst(1) : d == normalized[i - lead] || d.isAtLeast(2);
    if (!matches)
      return false;
  }
  return true;
}

bool matchFast(Operation *op, Lowering &l) {
  NormOperands o(op);
  return isRowParameter(l, o.scale, o.x, o.axis) && (!o.bias || isRowParameter(l, o.bias, o.x, o.axis));
}

/// Whether a parameter is a constant of ones: the scale of a normalization whose scale is in the weights behind.
bool isOnes(Lowering &l, Value p) {
  auto data = l.constant(p);
  if (!data)
    return false;
  for (int64_t i = 0; i < data->size(); ++i)
    if (data->asDouble(i) != 1)
      return false;
  return true;
}

LogicalResult emitFast(Operation *op, Lowering &l) {
  NormOperands o(op);
  Kernel k(l, op, op->getName().stripDialect());
  bool scaled = !isOnes(l, o.scale);
  Buffer x = k.read(o.x), out = k.write(o.result), scale = scaled ? k.read(o.scale) : x;
  Buffer bias = o.bias ? k.read(o.bias) : Buffer();
  k.allowInPlace(o.x, o.result);
  unsigned rank = x.rank();
  nn::Dim n = l.product(x.dims, o.axis, rank), rows = l.product(x.dims, 0, o.axis);
  Type type = computeType(x.valueType);
  SmallVector<Type> storage = {x.storageType, out.storageType, scale.storageType};
  if (o.bias)
    storage.push_back(bias.storageType);
  VectorShape shape = rowShape(l, n, type, storage, 4);
  bool multiple = isMultipleOf(n, shape.lanes);
  Ix size = k.dim(n);
  int64_t perTask = n.isConst() ? std::max<int64_t>(1, 2048 / std::max<int64_t>(1, n.value())) : 1;

  k.loop(k.begin * perTask, (k.end * perTask).min(k.dim(rows)), 1, [&](Ix row) {
    Ix base = row * size;
    auto value = [&](Ix i, const Step &step) { return k.toFloat(loadStep(k, x, base + i, step)); };
    Statistics s;
    if (o.centered) {
      s = rowStatistics(k, type, size, shape, multiple, o.epsilon, value);
    } else {
      Value squares = sumRow(k, type, size, shape, multiple, [&](Ix i, const Step &step) {
        Value v = value(i, step);
        return fmul(k, v, v);
      });
      s.scale = inverseRoot(k, fdiv(k, squares, asFloat(k, size, type)), o.epsilon);
    }
    vectorLoop(k, k.c(0), size, shape, multiple, [&](const Step &step) {
      auto parameter = [&](const Buffer &p, Value operand, Ix i) {
        if (l.numElements(operand).isConst(1))
          return like(k, k.toFloat(k.load(p, k.c(0))), step);
        return k.toFloat(loadStep(k, p, i, step));
      };
      for (Ix i : step.at) {
        Value v = value(i, step);
        if (o.centered)
          v = fsub(k, v, like(k, s.mean, step));
        v = fmul(k, v, like(k, s.scale, step));
        if (scaled)
          v = fmul(k, v, parameter(scale, o.scale, i));
        if (o.bias)
          v = fadd(k, v, parameter(bias, o.bias, i));
        storeStep(k, out, base + i, k.fromFloat(v, out.valueType), step);
      }
    });
  });
  nn::Dim total = l.numElements(o.x);
  k.bytes = total * (2 * storageBytes(x));
  k.flops = total * 8;
  k.grain = perTask > 1 ? 2 : 1;
  l.launch(k, rows.ceilDiv(l.c(perTask)));
  return success();
}

RegisterEmitter layerReference({"nn.layer_norm", "layer-norm-reference", 0, nullptr, emitReference});
RegisterEmitter layer({"nn.layer_norm", "layer-norm", 10, matchFast, emitFast});
RegisterEmitter rmsReference({"nn.rms_norm", "rms-norm-reference", 0, nullptr, emitReference});
RegisterEmitter rms({"nn.rms_norm", "rms-norm", 10, matchFast, emitFast});

} // namespace
} // namespace nnopt::cpu
