//===- BatchNorm.cpp - inference batch normalization ------------------------===//
//
// y = x * a + b with a = scale / sqrt(variance + epsilon), b = bias - mean * a for each channel.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Statistics.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

struct BatchNorm {
  nn::BatchNormOp op;
  Lowering &l;
  Kernel k;
  Buffer x, scale, bias, mean, variance, out;
  Type type;
  double epsilon;
  unsigned channelAxis;

  BatchNorm(Operation *operation, Lowering &l)
      : op(cast<nn::BatchNormOp>(operation)), l(l), k(l, operation, "batch_norm"), x(k.read(op.getX())),
        scale(k.read(op.getScale())), bias(k.read(op.getBias())), mean(k.read(op.getMean())),
        variance(k.read(op.getVariance())), out(k.write(op.getResult())), type(computeType(x.valueType)),
        epsilon(op.getEpsilon().convertToDouble()),
        channelAxis(op.getChannelsLast() ? x.rank() - 1 : std::min(1u, x.rank() - 1)) {
    k.bytes = l.numElements(op.getX()) * (2 * storageBytes(x));
  }

  Value parameter(const Buffer &p, Ix c, const Step &step) {
    Value v = k.toFloat(loadStep(k, p, c, step));
    if (getElementTypeOrSelf(v.getType()) == type)
      return v;
    return k.fromFloat(v, type);
  }
  /// a and b of the channels from c on.
  std::pair<Value, Value> affine(Ix c, const Step &step) {
    Value a = fmul(k, parameter(scale, c, step), inverseRoot(k, parameter(variance, c, step), epsilon));
    return {a, fsub(k, parameter(bias, c, step), fmul(k, parameter(mean, c, step), a))};
  }

  LogicalResult emitReference() {
    k.loop(k.begin, k.end, 1, [&](Ix i) {
      auto [a, b] = affine(k.delinearize(i, x.dims)[channelAxis], {{i}, 1, {}});
      k.store(out, i, k.fromFloat(fadd(k, fmul(k, k.toFloat(k.load(x, i)), a), b), out.valueType));
    });
    k.grain = 1024;
    l.launch(k, l.numElements(op.getX()));
    return success();
  }

  LogicalResult emitFast() {
    k.allowInPlace(op.getX(), op.getResult());
    nn::DimContext &ctx = l.dimContext();
    nn::Dim channels = x.dims[channelAxis], inner = l.product(x.dims, channelAxis + 1, x.rank());
    Space space;
    bool lanesAreChannels = inner.isConst(1);
    nn::Dim outer = l.product(x.dims, 0, channelAxis);
    if (lanesAreChannels) {
      space.sizes = {outer, channels};
      space.strides = {{channels, l.c(1)}, {l.c(0), l.c(1)}};
    } else {
      space.sizes = {outer, channels, inner};
      space.strides = {rowMajor(ctx, space.sizes), {l.c(0), l.c(1), l.c(0)}};
    }
    SmallVector<Type> storage = {x.storageType, out.storageType};
    if (lanesAreChannels)
      for (const Buffer &p : {scale, bias, mean, variance})
        storage.push_back(p.storageType);
    nn::Dim row = space.sizes.back();
    VectorShape shape = rowShape(l, row, type, storage, 4);
    bool multiple = isMultipleOf(row, shape.lanes);
    Tasks tasks = divide(l, space, 2048, shape.lanes);
    k.grain = 2;
    auto apply = [&](Ix base, Ix low, Ix high, function_ref<std::pair<Value, Value>(Ix, const Step &)> affineOf) {
      vectorLoop(k, low, high, shape, multiple, [&](const Step &step) {
        for (Ix i : step.at) {
          auto [a, b] = affineOf(i, step);
          Value v = fadd(k, fmul(k, k.toFloat(loadStep(k, x, base + i, step)), a), b);
          storeStep(k, out, base + i, k.fromFloat(v, out.valueType), step);
        }
      });
    };
    if (!lanesAreChannels) {
      forRows(k, space, tasks, [&](ArrayRef<Ix> offsets, Ix low, Ix high) {
        auto [a, b] = affine(offsets[1], {{offsets[1]}, 1, {}});
        apply(offsets[0], low, high, [&, a = a, b = b](Ix, const Step &step) {
          return std::pair<Value, Value>{like(k, a, step), like(k, b, step)};
        });
      });
    } else {
      // a and b are computed once for all rows of this call.
      nn::Dim bytes = channels * (type.getIntOrFloatBitWidth() / 8);
      Buffer as = k.at(k.scratch(bytes), type), bs = k.at(k.scratch(bytes), type);
      vectorLoop(k, k.c(0), k.dim(channels), shape, multiple, [&](const Step &step) {
        for (Ix i : step.at) {
          auto [a, b] = affine(i, step);
          storeStep(k, as, i, a, step);
          storeStep(k, bs, i, b, step);
        }
      });
      forRows(k, space, tasks, [&](ArrayRef<Ix> offsets, Ix low, Ix high) {
        apply(offsets[0], low, high, [&](Ix i, const Step &step) {
          return std::pair<Value, Value>{loadStep(k, as, i, step), loadStep(k, bs, i, step)};
        });
      });
    }
    l.launch(k, tasks.count);
    return success();
  }
};

LogicalResult emitReference(Operation *op, Lowering &l) { return BatchNorm(op, l).emitReference(); }
LogicalResult emitFast(Operation *op, Lowering &l) { return BatchNorm(op, l).emitFast(); }

RegisterEmitter reference({"nn.batch_norm", "batch-norm-reference", 0, nullptr, emitReference});
RegisterEmitter fast({"nn.batch_norm", "batch-norm", 10, nullptr, emitFast});

} // namespace
} // namespace nnopt::cpu
