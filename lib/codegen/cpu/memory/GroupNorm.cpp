//===- GroupNorm.cpp - group (and instance) normalization -------------------===//

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Statistics.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// x seen as [batch, groups, channels of a group, positions] (channels first).
struct GroupNorm {
  nn::GroupNormOp op;
  Lowering &l;
  Kernel k;
  Buffer x, scale, bias, out;
  Type type;
  double epsilon;
  bool channelsLast;
  nn::Dim batch, channels, perGroup, positions;
  int64_t groups;

  GroupNorm(Operation *operation, Lowering &l)
      : op(cast<nn::GroupNormOp>(operation)), l(l), k(l, operation, "group_norm"), x(k.read(op.getX())),
        scale(k.read(op.getScale())), bias(k.read(op.getBias())), out(k.write(op.getResult())),
        type(computeType(x.valueType)), epsilon(op.getEpsilon().convertToDouble()), channelsLast(op.getChannelsLast()),
        groups(op.getNumGroups()) {
    unsigned rank = x.rank();
    batch = x.dims[0];
    channels = x.dims[channelsLast ? rank - 1 : 1];
    positions = channelsLast ? l.product(x.dims, 1, rank - 1) : l.product(x.dims, 2, rank);
    perGroup = channels.floorDiv(groups);
    nn::Dim total = l.numElements(op.getX());
    k.bytes = total * (2 * storageBytes(x));
    k.flops = total * 8;
  }

  /// scale * rstd and bias - mean * scale * rstd of channel c.
  std::pair<Value, Value> affine(Value scaleValue, Value biasValue, Value mean, Value rstd) {
    Value a = fmul(k, scaleValue, rstd);
    return {a, fsub(k, biasValue, fmul(k, mean, a))};
  }

  LogicalResult emitReference() {
    Ix s = k.dim(positions), per = k.dim(perGroup), c = k.dim(channels), count = k.dim(perGroup * positions);
    k.loop(k.begin, k.end, 1, [&](Ix task) {
      Ix n = task / groups, first = task % groups * per;
      // Element i of the group: channel first + i / s, position i % s.
      auto offset = [&](Ix i) {
        Ix channel = first + i / s, position = i % s;
        return channelsLast ? (n * s + position) * c + channel : (n * c + channel) * s + position;
      };
      Statistics stats = rowStatistics(k, type, count, {}, true, epsilon,
                                       [&](Ix i, const Step &) { return k.toFloat(k.load(x, offset(i))); });
      k.loop(k.c(0), count, 1, [&](Ix i) {
        Ix channel = first + i / s;
        Value v = fmul(k, fsub(k, k.toFloat(k.load(x, offset(i))), stats.mean), stats.scale);
        v = fadd(k, fmul(k, v, k.toFloat(k.load(scale, channel))), k.toFloat(k.load(bias, channel)));
        k.store(out, offset(i), k.fromFloat(v, out.valueType));
      });
    });
    l.launch(k, batch * groups);
    return success();
  }

  LogicalResult emitFast() {
    k.allowInPlace(op.getX(), op.getResult());
    if (channelsLast)
      emitChannelsLast();
    else
      emitChannelsFirst();
    return success();
  }

  // The elements of a group are contiguous.
  void emitChannelsFirst() {
    nn::Dim n = perGroup * positions;
    VectorShape shape = rowShape(l, n, type, {x.storageType, out.storageType}, 4);
    VectorShape channelShape = rowShape(l, positions, type, {x.storageType, out.storageType}, 4);
    Ix size = k.dim(n), s = k.dim(positions), per = k.dim(perGroup);
    k.loop(k.begin, k.end, 1, [&](Ix task) {
      Ix base = task * size;
      auto value = [&](Ix i, const Step &step) { return k.toFloat(loadStep(k, x, base + i, step)); };
      Statistics stats =
          rowStatistics(k, type, size, shape, isMultipleOf(n, shape.lanes), epsilon, value);
      Ix first = task % groups * per;
      k.loop(k.c(0), per, 1, [&](Ix c) {
        Value a, b;
        std::tie(a, b) = affine(k.toFloat(k.load(scale, first + c)), k.toFloat(k.load(bias, first + c)), stats.mean,
                                stats.scale);
        Ix low = c * s;
        vectorLoop(k, low, low + s, channelShape, isMultipleOf(positions, channelShape.lanes), [&](const Step &step) {
          for (Ix i : step.at) {
            Value v = fadd(k, fmul(k, value(i, step), like(k, a, step)), like(k, b, step));
            storeStep(k, out, base + i, k.fromFloat(v, out.valueType), step);
          }
        });
      });
    });
    l.launch(k, batch * groups);
  }

  // Lanes are channels. A task does some groups of one image: sums by channel, then by group, the
  // same for squared differences, then one multiply and add for each element. The values by
  // channel are in scratch memory: mean, then factor and summand.
  void emitChannelsLast() {
    int64_t together = 1;
    if (perGroup.isConst())
      for (int64_t g = 1; g <= groups; ++g)
        if (groups % g == 0 && g * perGroup.value() <= 128)
          together = g;
    nn::Dim width = perGroup * together;
    VectorShape shape =
        rowShape(l, width, type, {x.storageType, out.storageType, scale.storageType, bias.storageType}, 4);
    bool multiple = isMultipleOf(width, shape.lanes);
    int64_t bytes = type.getIntOrFloatBitWidth() / 8;
    Buffer means = k.at(k.scratch(width * bytes), type), factors = k.at(k.scratch(width * bytes), type);
    Ix w = k.dim(width), per = k.dim(perGroup), c = k.dim(channels), s = k.dim(positions);
    Value count = asFloat(k, per * s, type);
    int64_t chunks = groups / together;

    k.loop(k.begin, k.end, 1, [&](Ix task) {
      Ix first = task % chunks * w, base = task / chunks * s * c + first;
      auto value = [&](Ix position, Ix channel, const Step &step) {
        return k.toFloat(loadStep(k, x, base + position * c + channel, step));
      };
      // Sums over the positions, for each channel.
      auto channelSums = [&](const Buffer &to, function_ref<Value(Value, Ix, const Step &)> term) {
        vectorLoop(k, k.c(0), w, shape, multiple, [&](const Step &step) {
          SmallVector<Value> init(step.at.size(), like(k, floatConstant(k, type, 0), step));
          SmallVector<Value> sums = k.loop(k.c(0), s, 1, init, [&](Ix position, ValueRange accs) {
            SmallVector<Value> next;
            for (auto [u, i] : llvm::enumerate(step.at))
              next.push_back(fadd(k, accs[u], term(value(position, i, step), i, step)));
            return next;
          });
          for (auto [i, v] : llvm::zip(step.at, sums))
            storeStep(k, to, i, v, step);
        });
      };
      // Replaces the sums of a group's channels by finish(their sum).
      auto byGroup = [&](const Buffer &values, function_ref<Value(Value)> finish) {
        k.loop(k.c(0), k.c(together), 1, [&](Ix g) {
          Ix low = g * per;
          Value sum = k.loop(low, low + per, 1, ValueRange{floatConstant(k, type, 0)}, [&](Ix i, ValueRange acc) {
            return SmallVector<Value>{fadd(k, acc[0], k.load(values, i))};
          })[0];
          Value v = finish(sum);
          k.loop(low, low + per, 1, [&](Ix i) { k.store(values, i, v); });
        });
      };
      channelSums(means, [](Value v, Ix, const Step &) { return v; });
      byGroup(means, [&](Value sum) { return fdiv(k, sum, count); });
      channelSums(factors, [&](Value v, Ix i, const Step &step) {
        Value d = fsub(k, v, loadStep(k, means, i, step));
        return fmul(k, d, d);
      });
      byGroup(factors, [&](Value sum) { return inverseRoot(k, fdiv(k, sum, count), epsilon); });
      vectorLoop(k, k.c(0), w, shape, multiple, [&](const Step &step) {
        for (Ix i : step.at) {
          auto [a, b] = affine(k.toFloat(loadStep(k, scale, first + i, step)),
                               k.toFloat(loadStep(k, bias, first + i, step)), loadStep(k, means, i, step),
                               loadStep(k, factors, i, step));
          storeStep(k, factors, i, a, step);
          storeStep(k, means, i, b, step);
        }
      });
      k.loop(k.c(0), s, 1, [&](Ix position) {
        vectorLoop(k, k.c(0), w, shape, multiple, [&](const Step &step) {
          for (Ix i : step.at) {
            Value v = fadd(k, fmul(k, value(position, i, step), loadStep(k, factors, i, step)),
                           loadStep(k, means, i, step));
            storeStep(k, out, base + position * c + i, k.fromFloat(v, out.valueType), step);
          }
        });
      });
    });
    l.launch(k, batch * chunks);
  }
};

LogicalResult emitReference(Operation *op, Lowering &l) { return GroupNorm(op, l).emitReference(); }
LogicalResult emitFast(Operation *op, Lowering &l) { return GroupNorm(op, l).emitFast(); }

RegisterEmitter reference({"nn.group_norm", "group-norm-reference", 0, nullptr, emitReference});
RegisterEmitter fast({"nn.group_norm", "group-norm", 10, nullptr, emitFast});

} // namespace
} // namespace nnopt::cpu
