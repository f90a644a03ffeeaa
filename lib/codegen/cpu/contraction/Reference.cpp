//===- Reference.cpp - contractions as plain loops ---------------------------===//
//
// Every type, layout and attribute: what the fast kernels are compared with. A task is one row of
// the result that accumulates in memory of the thread, with the contracted dimensions outside, so
// that the innermost loop runs over neighbouring results and LLVM can vectorize it.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Reference.h"
#include "lib/codegen/cpu/contraction/ConvShape.h"
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"

using namespace mlir;

namespace nnopt::cpu {

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

Value loadAs(Kernel &k, const Buffer &buf, Ix offset, Type accType) {
  Value v = k.load(buf, offset);
  if (v.getType() == accType)
    return v;
  if (isa<FloatType>(accType))
    return k.fromFloat(k.toFloat(v, buf.isUnsigned), accType);
  unsigned from = v.getType().getIntOrFloatBitWidth(), to = accType.getIntOrFloatBitWidth();
  if (from > to)
    return arith::TruncIOp::create(k.b, k.loc, accType, v);
  if (buf.isUnsigned || from == 1)
    return arith::ExtUIOp::create(k.b, k.loc, accType, v);
  return arith::ExtSIOp::create(k.b, k.loc, accType, v);
}

Value addProduct(Kernel &k, Value a, Value b, Value acc) {
  if (isa<FloatType>(getElementTypeOrSelf(a.getType())))
    return multiplyAdd(k, a, b, acc);
  Value product = arith::MulIOp::create(k.b, k.loc, a, b);
  return arith::AddIOp::create(k.b, k.loc, product, acc);
}

Value dotProduct(Kernel &k, const Buffer &a, Ix aOffset, Ix aStep, const Buffer &b, Ix bOffset, Ix bStep, Ix depth,
                 Value init) {
  Type type = init.getType();
  Ix done = k.c(0);
  Value sum = init;
  bool contiguous = aStep.constant() == 1 && bStep.constant() == 1;
  if (contiguous && isa<FloatType>(type) && a.valueType == type && b.valueType == type) {
    int64_t lanes = k.target().lanes(type.getIntOrFloatBitWidth() / 8);
    auto partial = [&](Ix i, Value acc) {
      return multiplyAdd(k, k.load(a, aOffset + i, lanes), k.load(b, bOffset + i, lanes), acc);
    };
    // Four sums at a time hide the latency of the additions.
    Value zero = k.constant(k.vec(lanes, type), 0);
    Ix wide = depth / (4 * lanes) * (4 * lanes);
    SmallVector<Value> parts = k.loop(k.c(0), wide, 4 * lanes, {zero, zero, zero, zero}, [&](Ix i, ValueRange in) {
      SmallVector<Value> next;
      for (int64_t u = 0; u < 4; ++u)
        next.push_back(partial(i + u * lanes, in[u]));
      return next;
    });
    Value left = arith::AddFOp::create(k.b, k.loc, parts[0], parts[1]);
    Value right = arith::AddFOp::create(k.b, k.loc, parts[2], parts[3]);
    Value all = arith::AddFOp::create(k.b, k.loc, left, right);
    done = depth / lanes * lanes;
    all = k.loop(wide, done, lanes, {all}, [&](Ix i, ValueRange in) { return SmallVector<Value>{partial(i, in[0])}; })[0];
    sum = vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::ADD, all, sum, arith::FastMathFlags::reassoc);
  }
  return k.loop(done, depth, 1, {sum}, [&](Ix i, ValueRange in) {
    Value x = loadAs(k, a, aOffset + i * aStep, type), y = loadAs(k, b, bOffset + i * bStep, type);
    return SmallVector<Value>{addProduct(k, x, y, in[0])};
  })[0];
}

/// Memory for a row of accumulators.
static Buffer accumulatorRow(Kernel &k, Type accType, nn::Dim count) {
  int64_t bytes = accType.getIntOrFloatBitWidth() / 8;
  return k.at(k.scratch(count * bytes), accType);
}

//===----------------------------------------------------------------------===//
// nn.matmul
//===----------------------------------------------------------------------===//

/// The zero point of an operand of a contraction: absent, one number, or one for each index.
namespace {
class ZeroPoint {
public:
  ZeroPoint(Kernel &k, Value zero, Type accType) : k(k), accType(accType) {
    if (zero)
      buffer = k.read(zero);
  }
  explicit operator bool() const { return buffer.has_value(); }
  /// `v` minus the zero point of `index`.
  Value subtract(Value v, Ix index) {
    if (!buffer)
      return v;
    Value zero = loadAs(k, *buffer, buffer->rank() ? index : k.c(0), accType);
    return arith::SubIOp::create(k.b, k.loc, v, zero);
  }

private:
  Kernel &k;
  Type accType;
  std::optional<Buffer> buffer;
};
} // namespace

static LogicalResult emitMatMul(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  MatMulShape shape(op, lowering);
  Type resultType = lowering.shapes.info(op.getResult()).elementType;
  Type accType = accumulatorType(lowering.shapes.info(op.getA()).elementType, resultType, &op.getEpilogue());
  Kernel k(lowering, op, "matmul_loops_" + dimText(shape.m) + "x" + dimText(shape.n) + "x" + dimText(shape.depth));
  Buffer a = k.read(op.getA()), b = k.read(op.getB());
  ZeroPoint aZero(k, op.getAZero(), accType), bZero(k, op.getBZero(), accType);
  // Without a batch of its own B takes all rows of A, numbered through; their zero points repeat.
  nn::Dim zeroRows = op.getAZero() && lowering.dims(op.getAZero()).size() == 1 ? lowering.dims(op.getAZero())[0] : shape.m;
  Finish finish(k, op, op.getBias(), accType, shape.bVector);
  Buffer acc = accumulatorRow(k, accType, shape.n);
  Ix m = k.dim(shape.m), n = k.dim(shape.n), depth = k.dim(shape.depth);
  k.loop(k.begin, k.end, 1, [&](Ix row) {
    Ix index = row / m, i = row % m;
    Ix aRow = shape.batchOffset(k, index, shape.aBatch, shape.m * shape.depth);
    Ix bMatrix = shape.batchOffset(k, index, shape.bBatch, shape.depth * shape.n);
    Ix aStep = shape.transposeA ? m : k.c(1);
    aRow = aRow + (shape.transposeA ? i : i * depth);
    auto aAt = [&](Ix t) { return aZero.subtract(loadAs(k, a, aRow + t * aStep, accType), i % k.dim(zeroRows)); };
    auto bAt = [&](Ix t, Ix j) {
      Ix offset = shape.transposeB ? j * depth + t : t * n + j;
      return bZero.subtract(loadAs(k, b, bMatrix + offset, accType), j);
    };
    if (shape.transposeB && !aZero && !bZero) {
      k.loop(k.c(0), n, 1, [&](Ix j) {
        k.store(acc, j, dotProduct(k, a, aRow, aStep, b, bMatrix + j * depth, k.c(1), depth, finish.biasScalar(j)));
      });
    } else {
      k.loop(k.c(0), n, 1, [&](Ix j) { k.store(acc, j, finish.biasScalar(j)); });
      k.loop(k.c(0), depth, 1, [&](Ix t) {
        Value x = aAt(t);
        k.loop(k.c(0), n, 1, [&](Ix j) { k.store(acc, j, addProduct(k, x, bAt(t, j), k.load(acc, j))); });
      });
    }
    k.loop(k.c(0), n, 1, [&](Ix j) { finish.storeOne(row, j, 0, Value(), k.load(acc, j)); });
  });
  k.flops = shape.outer * shape.m * shape.n * shape.depth * 2;
  double work = double(constantDim(shape.n).value_or(64)) * constantDim(shape.depth).value_or(64);
  k.grain = taskGrain(20 * work, 0);
  // Without columns there is nothing to store.
  lowering.launch(k, shape.outer * shape.m * (shape.n.isConst(0) ? 0 : 1));
  return success();
}

static RegisterEmitter matmul({"nn.matmul", "matmul-loops", 0, nullptr, emitMatMul});

//===----------------------------------------------------------------------===//
// nn.conv, nn.conv_transpose
//===----------------------------------------------------------------------===//

namespace {

/// What the two reference convolutions share: a task is a row of the result along the last spatial
/// dimension for one output channel.
struct PlainConv {
  Kernel &k;
  nn::Dims xDims, wDims, yDims; // as in memory
  bool channelsLast;
  size_t spatial;
  Buffer x, w;
  Type accType;
  Buffer acc;
  std::optional<Buffer> bias;
  Finish finish;

  PlainConv(Kernel &k, nn::LinearOp op, bool channelsLast)
      : k(k), xDims(k.lowering.dims(op.getActivation())), wDims(k.lowering.dims(op.getWeight())),
        yDims(k.lowering.dims(op->getResult(0))), channelsLast(channelsLast), spatial(xDims.size() - 2),
        x(k.read(op.getActivation())), w(k.read(op.getWeight())),
        accType(accumulatorType(x.valueType, k.lowering.shapes.info(op->getResult(0)).elementType, &op.getEpilogue())),
        acc(accumulatorRow(k, accType, yDims[yDims.size() - (channelsLast ? 2 : 1)])),
        finish(k, op, Value(), accType) {
    if (op.getBias())
      bias = k.read(op.getBias());
  }

  unsigned axis(size_t d) const { return d + (channelsLast ? 1 : 2); }
  nn::Dim inDim(size_t d) const { return xDims[axis(d)]; }
  nn::Dim outDim(size_t d) const { return yDims[axis(d)]; }
  nn::Dim inChannels() const { return xDims[channelsLast ? spatial + 1 : 1]; }
  nn::Dim outChannels() const { return yDims[channelsLast ? spatial + 1 : 1]; }

  /// Image, channel and the leading spatial dimensions.
  nn::Dims taskDims() const {
    nn::Dims dims{yDims[0], outChannels()};
    for (size_t d = 0; d + 1 < spatial; ++d)
      dims.push_back(outDim(d));
    return dims;
  }
  Ix inputStride(size_t d) {
    nn::Dim stride = channelsLast ? inChannels() : k.lowering.c(1);
    for (size_t e = d + 1; e < spatial; ++e)
      stride = stride * inDim(e);
    return k.dim(stride);
  }
  Ix channelStride() {
    if (channelsLast)
      return k.c(1);
    nn::Dim stride = k.lowering.c(1);
    for (size_t d = 0; d < spatial; ++d)
      stride = stride * inDim(d);
    return k.dim(stride);
  }
  Ix imageStride() { return k.dim(k.lowering.product(xDims, 1, xDims.size())); }

  void begin(Ix channel) {
    Value v = bias ? loadAs(k, *bias, channel, accType) : k.constant(accType, 0);
    k.loop(k.c(0), k.dim(outDim(spatial - 1)), 1, [&](Ix q) { k.store(acc, q, v); });
  }
  void end(ArrayRef<Ix> task) {
    Ix width = k.dim(outDim(spatial - 1));
    if (channelsLast) {
      Ix row = task[0];
      for (size_t d = 0; d + 1 < spatial; ++d)
        row = row * k.dim(outDim(d)) + task[2 + d];
      row = row * width;
      k.loop(k.c(0), width, 1, [&](Ix q) { finish.storeOne(row + q, task[1], 0, Value(), k.load(acc, q)); });
      return;
    }
    Ix row = task[0] * k.dim(outChannels()) + task[1];
    for (size_t d = 0; d + 1 < spatial; ++d)
      row = row * k.dim(outDim(d)) + task[2 + d];
    k.loop(k.c(0), width, 1, [&](Ix q) { finish.storeOne(row, q, 0, Value(), k.load(acc, q)); });
  }
  void launch(Kernel &kernel, double workPerTask) {
    kernel.grain = taskGrain(20 * workPerTask, 0);
    nn::Dims dims = taskDims();
    // A row without elements has nothing to store.
    kernel.lowering.launch(kernel, k.lowering.product(dims, 0, dims.size()) * (outDim(spatial - 1).isConst(0) ? 0 : 1));
  }
};

} // namespace

static LogicalResult emitConv(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvOp>(operation);
  Kernel k(lowering, op, "conv_loops");
  PlainConv conv(k, op, op.getChannelsLast());
  // Padding holds the zero point of x: it adds nothing.
  ZeroPoint xZero(k, op.getXZero(), conv.accType), wZero(k, op.getWZero(), conv.accType);
  size_t spatial = conv.spatial;
  Ix perGroup = k.dim(conv.wDims[1]);
  Ix outPerGroup = k.dim(conv.wDims[0].floorDiv(op.getGroup()));
  Ix channelStride = conv.channelStride();
  k.loop(k.begin, k.end, 1, [&](Ix task) {
    SmallVector<Ix> at = k.delinearize(task, conv.taskDims());
    Ix channel = at[1];
    Ix firstIn = channel / outPerGroup * perGroup;
    conv.begin(channel);
    k.loop(k.c(0), perGroup, 1, [&](Ix c) {
      Ix image = at[0] * conv.imageStride() + (firstIn + c) * channelStride;
      // Kernel positions dimension by dimension; the last one runs along the row.
      std::function<void(size_t, Ix, Ix)> level = [&](size_t d, Ix offset, Ix weight) {
        int64_t stride = op.getStrides()[d], pad = op.getPads()[d], dilation = op.getDilations()[d];
        Ix size = k.dim(conv.wDims[2 + d]), in = k.dim(conv.inDim(d)), step = conv.inputStride(d);
        k.loop(k.c(0), size, 1, [&](Ix t) {
          Ix index = weight * size + t;
          if (d + 1 < spatial) {
            Ix position = at[2 + d] * stride + t * dilation - pad;
            k.ifThen(position.inRange(in), [&] { level(d + 1, offset + position * step, index); });
            return;
          }
          Value w = wZero.subtract(loadAs(k, conv.w, index, conv.accType), channel);
          // Results q with 0 <= q * stride + shift < in.
          Ix shift = t * dilation - pad;
          Ix low = ((k.c(0) - shift).max(k.c(0)) + (stride - 1)) / stride;
          Ix high = (((in - shift).max(k.c(0)) + (stride - 1)) / stride).min(k.dim(conv.outDim(d)));
          k.loop(low, high, 1, [&](Ix q) {
            Value x = xZero.subtract(loadAs(k, conv.x, offset + (q * stride + shift) * step, conv.accType), k.c(0));
            k.store(conv.acc, q, addProduct(k, x, w, k.load(conv.acc, q)));
          });
        });
      };
      level(0, image, channel * perGroup + c);
    });
    conv.end(at);
  });
  double work = constantDim(conv.outDim(spatial - 1)).value_or(64);
  for (nn::Dim d : ArrayRef(conv.wDims).drop_front())
    work *= constantDim(d).value_or(3);
  nn::Dim flops = lowering.numElements(op.getResult()) * 2;
  for (nn::Dim d : ArrayRef(conv.wDims).drop_front())
    flops = flops * d;
  k.flops = flops;
  conv.launch(k, work);
  return success();
}

static LogicalResult emitConvTranspose(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvTransposeOp>(operation);
  Kernel k(lowering, op, "conv_transpose_loops");
  PlainConv conv(k, op, op.getChannelsLast());
  size_t spatial = conv.spatial;
  Ix outPerGroup = k.dim(conv.wDims[1]);
  Ix perGroup = k.dim(conv.inChannels().floorDiv(op.getGroup()));
  Ix channelStride = conv.channelStride();
  k.loop(k.begin, k.end, 1, [&](Ix task) {
    SmallVector<Ix> at = k.delinearize(task, conv.taskDims());
    Ix channel = at[1];
    Ix firstIn = channel / outPerGroup * perGroup, inGroup = channel % outPerGroup;
    conv.begin(channel);
    k.loop(k.c(0), perGroup, 1, [&](Ix c) {
      Ix image = at[0] * conv.imageStride() + (firstIn + c) * channelStride;
      std::function<void(size_t, Ix, Ix)> level = [&](size_t d, Ix offset, Ix weight) {
        int64_t stride = op.getStrides()[d], pad = op.getPads()[d], dilation = op.getDilations()[d];
        Ix size = k.dim(conv.wDims[2 + d]), in = k.dim(conv.inDim(d)), step = conv.inputStride(d);
        Ix out = k.dim(conv.outDim(d));
        k.loop(k.c(0), size, 1, [&](Ix t) {
          Ix index = weight * size + t;
          if (d + 1 < spatial) {
            // Result o gets input i where o + pad - t * dilation = i * stride.
            Ix position = at[2 + d] + pad - t * dilation;
            Ix nonNegative = position.max(k.c(0));
            Value hit = k.land(k.c(0) <= position, k.land(nonNegative % stride == 0, nonNegative / stride < in));
            k.ifThen(hit, [&] { level(d + 1, offset + nonNegative / stride * step, index); });
            return;
          }
          Value w = loadAs(k, conv.w, index, conv.accType);
          // Inputs i with 0 <= i * stride + shift < out.
          Ix shift = t * dilation - pad;
          Ix low = ((k.c(0) - shift).max(k.c(0)) + (stride - 1)) / stride;
          Ix high = (((out - shift).max(k.c(0)) + (stride - 1)) / stride).min(in);
          k.loop(low, high, 1, [&](Ix i) {
            Value x = loadAs(k, conv.x, offset + i * step, conv.accType);
            Ix q = i * stride + shift;
            k.store(conv.acc, q, addProduct(k, x, w, k.load(conv.acc, q)));
          });
        });
      };
      level(0, image, (firstIn + c) * outPerGroup + inGroup);
    });
    conv.end(at);
  });
  double work = constantDim(conv.inDim(spatial - 1)).value_or(64) * constantDim(conv.inChannels()).value_or(64);
  nn::Dim flops = lowering.numElements(op.getX()) * 2;
  for (nn::Dim d : ArrayRef(conv.wDims).drop_front())
    flops = flops * d;
  k.flops = flops;
  conv.launch(k, work);
  return success();
}

static RegisterEmitter conv({"nn.conv", "conv-loops", 0, nullptr, emitConv});
static RegisterEmitter convTranspose({"nn.conv_transpose", "conv-transpose-loops", 0, nullptr, emitConvTranspose});

} // namespace nnopt::cpu
