//===- Normalize.cpp - softmax, layer and RMS normalization -----------------===//

#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cpu/memory/Statistics.h"
#include "lib/codegen/cuda/Rows.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

//===----------------------------------------------------------------------===//
// nn.softmax along the innermost dimension
//
// Computed in f32 and rounded once, also where the reference rounds between the steps.
//===----------------------------------------------------------------------===//

bool matchSoftmax(Operation *op, Lowering &l) {
  auto softmax = cast<nn::SoftmaxOp>(op);
  const nn::Dims &dims = l.dims(softmax.getX());
  return areFloats(l, softmax.getX()) && l.product(dims, softmax.getAxis() + 1, dims.size()).isConst(1);
}

LogicalResult emitSoftmax(Operation *op, Lowering &l) {
  auto softmax = cast<nn::SoftmaxOp>(op);
  const nn::Dims &dims = l.dims(softmax.getX());
  nn::Dim n = dims[softmax.getAxis()];
  RowShape shape(l, n, {softmax.getX(), softmax.getResult()});
  Kernel k(l, op, softmax.getLog() ? "log_softmax" : "softmax", shape.threads);
  Buffer x = k.read(softmax.getX()), out = k.write(softmax.getResult());
  Type f32 = k.b.getF32Type();
  Ix base = k.block * k.dim(n);
  Row row(k, shape, x, base, k.dim(n), f32);
  // NaN may get lost here: it comes back when the maximum is subtracted.
  Value max = row.reduce(k.f32(-INFINITY), [](Value v) { return v; }, [&](Value a, Value b) {
    return k.select(arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, a, b), a, b);
  });
  auto exp = [&](Value v) -> Value { return math::ExpOp::create(k.b, k.loc, cpu::fsub(k, v, max)); };
  Value sum = row.reduce(k.f32(0), exp, [&](Value a, Value b) { return cpu::fadd(k, a, b); });
  Value last = softmax.getLog() ? Value(math::LogOp::create(k.b, k.loc, sum)) : cpu::fdiv(k, k.f32(1), sum);
  row.forEach([&](Ix column, ArrayRef<Value> elements) {
    SmallVector<Value> results;
    for (Value v : elements)
      results.push_back(k.fromFloat(softmax.getLog() ? cpu::fsub(k, cpu::fsub(k, v, max), last) : cpu::fmul(k, exp(v), last),
                                    out.valueType));
    k.storeLanes(out, base + column, results);
  });
  k.bytes = l.numElements(softmax.getX()) * (2 * cpu::storageBytes(x));
  k.launch(l.product(dims, 0, softmax.getAxis()));
  return success();
}

RegisterEmitter softmax({"nn.softmax", "cuda-softmax", 10, matchSoftmax, emitSoftmax});

//===----------------------------------------------------------------------===//
// nn.layer_norm, nn.rms_norm
//===----------------------------------------------------------------------===//

struct Norm {
  Value x, scale, bias, result;
  int64_t axis;
  double epsilon;
  bool centered; // subtracts the mean

  explicit Norm(Operation *op) {
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

/// Whether a parameter has one element for each of a row.
bool isRowParameter(Lowering &l, Value p, const Norm &norm) {
  const nn::Dims &own = l.dims(p), &x = l.dims(norm.x);
  return own.size() <= x.size() && l.numElements(p) == l.product(x, norm.axis, x.size()) && areFloats(l, p) &&
         llvm::all_of(llvm::seq<size_t>(0, own.size()), [&](size_t i) {
           nn::Dim d = x[x.size() - own.size() + i];
           return own[i] == d || (i + norm.axis < own.size() && own[i].isConst(1));
         });
}

bool matchNorm(Operation *op, Lowering &l) {
  Norm norm(op);
  return areFloats(l, norm.x) && isRowParameter(l, norm.scale, norm) &&
         (!norm.bias || isRowParameter(l, norm.bias, norm));
}

LogicalResult emitNorm(Operation *op, Lowering &l) {
  Norm norm(op);
  const nn::Dims &dims = l.dims(norm.x);
  nn::Dim n = l.product(dims, norm.axis, dims.size());
  SmallVector<Value> parameters = {norm.scale};
  if (norm.bias)
    parameters.push_back(norm.bias);
  RowShape shape(l, n, {norm.x, norm.result}, parameters);
  Kernel k(l, op, op->getName().stripDialect(), shape.threads);
  Buffer x = k.read(norm.x), scale = k.read(norm.scale), out = k.write(norm.result);
  Buffer bias = norm.bias ? k.read(norm.bias) : Buffer();
  Ix base = k.block * k.dim(n);
  Row row(k, shape, x, base, k.dim(n), k.b.getF32Type());
  auto add = [&](Value a, Value b) { return cpu::fadd(k, a, b); };
  Value count = cpu::asFloat(k, k.dim(n), k.b.getF32Type()), mean;
  if (norm.centered)
    mean = cpu::fdiv(k, row.reduce(k.f32(0), [](Value v) { return v; }, add), count);
  auto centered = [&](Value v) { return mean ? cpu::fsub(k, v, mean) : v; };
  Value squares = row.reduce(k.f32(0), [&](Value v) { return cpu::fmul(k, centered(v), centered(v)); }, add);
  Value factor = cpu::inverseRoot(k, cpu::fdiv(k, squares, count), norm.epsilon);
  row.forEach([&](Ix column, ArrayRef<Value> elements) {
    SmallVector<Value> results, scales = k.loadLanes(scale, column, elements.size()), biases;
    if (norm.bias)
      biases = k.loadLanes(bias, column, elements.size());
    for (auto [i, v] : llvm::enumerate(elements)) {
      Value r = cpu::fmul(k, cpu::fmul(k, centered(v), factor), k.toFloat(scales[i]));
      if (norm.bias)
        r = cpu::fadd(k, r, k.toFloat(biases[i]));
      results.push_back(k.fromFloat(r, out.valueType));
    }
    k.storeLanes(out, base + column, results);
  });
  k.bytes = l.numElements(norm.x) * (2 * cpu::storageBytes(x));
  k.launch(l.product(dims, 0, norm.axis));
  return success();
}

RegisterEmitter layerNorm({"nn.layer_norm", "cuda-layer-norm", 10, matchNorm, emitNorm});
RegisterEmitter rmsNorm({"nn.rms_norm", "cuda-rms-norm", 10, matchNorm, emitNorm});

} // namespace
} // namespace nnopt::cuda
