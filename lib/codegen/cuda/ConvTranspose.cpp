//===- ConvTranspose.cpp - transposed convolutions of channels-last images --===//
//
// A thread has some neighbouring channels of one position of the result: it gathers the taps that fall on a position of the
// input. Neighbouring threads have neighbouring channels, so that they read whole lines of weights, and one input for all.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cuda/Epilogue.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t threads = 128;

bool match(Operation *operation, Lowering &l) {
  auto op = cast<nn::ConvTransposeOp>(operation);
  return op.getChannelsLast() && areFloats(l, {op.getX(), op.getW(), op.getResult()}) && l.constant(op.getW()) &&
         l.numElements(op.getW()).isConst() && !l.numElements(op.getW()).isConst(0) && canRunEpilogue(op.getEpilogue());
}

struct Emission {
  nn::ConvTransposeOp op;
  Lowering &l;
  Kernel k;
  nn::Dims inDims;
  int64_t spatial, in, out, groups, taps = 1; // in, out: channels of a group
  SmallVector<int64_t> kernel;
  Buffer x, w;
  Epilogue epilogue;

  Emission(nn::ConvTransposeOp op, Lowering &l)
      : op(op), l(l), k(l, op, "conv_transpose", threads), inDims(l.dims(op.getX())), spatial(inDims.size() - 2), x(k.read(op.getX())),
        epilogue(k, op) {
    const nn::Dims &wDims = l.dims(op.getW());
    groups = op.getGroup();
    in = wDims[0].value() / groups, out = wDims[1].value();
    for (nn::Dim d : ArrayRef(wDims).drop_front(2)) {
      kernel.push_back(d.value());
      taps *= d.value();
    }
    // As [group][tap][input channel][output channel].
    nn::ConstantData data = *l.constant(op.getW());
    std::vector<float> raw = data.asFloats(), packed(raw.size());
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t i = 0; i < in; ++i)
        for (int64_t o = 0; o < out; ++o)
          for (int64_t t = 0; t < taps; ++t)
            packed[((g * taps + t) * in + i) * out + o] = raw[((g * in + i) * out + o) * taps + t];
    w = k.weights(packed);
  }

  LogicalResult emit() {
    int64_t lanes = out % 4 == 0 ? epilogue.lanes() : 1;
    nn::Dims positions(ArrayRef(l.dims(op.getResult())).drop_back());
    nn::Dim count = nn::product(l.dimContext(), positions), total = count * (groups * out / lanes);
    Ix i = k.block * threads + k.thread;
    k.ifThen(i < k.dim(total), [&] {
      Ix channel = i % (groups * out / lanes) * lanes, position = i / (groups * out / lanes);
      SmallVector<Ix> at = k.delinearize(position, positions);
      Ix group = channel / out;
      SmallVector<Value> sums(lanes, k.f32(0));
      sums = gather(0, at, at[0], k.c(0), group, channel % out, sums);
      epilogue.store(position, channel, sums);
    });
    k.flops = l.numElements(op.getX()) * (2 * taps * out);
    k.launch(total.ceilDiv(l.c(threads)));
    return success();
  }

private:
  /// Adds the taps along the spatial dimensions from `d` on; `source`: position in the input so far.
  SmallVector<Value> gather(int64_t d, ArrayRef<Ix> at, Ix source, Ix tap, Ix group, Ix channel, SmallVector<Value> sums) {
    if (d == spatial) {
      Ix row = source * (groups * in) + group * in, weights = (group * taps + tap) * (in * out) + channel;
      return k.loop(k.c(0), k.c(in), 1, sums, [&](Ix c, ValueRange acc) {
        SmallVector<Value> next;
        Value v = k.toFloat(k.load(x, row + c));
        for (auto [sum, weight] : llvm::zip(acc, k.loadLanes(w, weights + c * out, acc.size())))
          next.push_back(k.fma(v, weight, sum));
        return next;
      });
    }
    int64_t stride = op.getStrides()[d], pad = op.getPads()[d], dilation = op.getDilations()[d];
    Ix size = k.dim(inDims[1 + d]);
    SmallVector<Type> types(sums.size(), k.b.getF32Type());
    // Result o gets input i where o + pad - t * dilation = i * stride.
    return k.loop(k.c(0), k.c(kernel[d]), 1, sums, [&](Ix t, ValueRange acc) {
      Ix position = at[1 + d] + pad - t * dilation, safe = position.max(k.c(0));
      Value hit = k.land(k.c(0) <= position, k.land(safe % stride == 0, safe / stride < size));
      return k.ifElse(
          hit, types,
          [&] { return gather(d + 1, at, source * size + safe / stride, tap * kernel[d] + t, group, channel, SmallVector<Value>(acc)); },
          [&] { return SmallVector<Value>(acc); });
    });
  }
};

LogicalResult emit(Operation *op, Lowering &l) { return Emission(cast<nn::ConvTransposeOp>(op), l).emit(); }

RegisterEmitter convTranspose({"nn.conv_transpose", "cuda-conv-transpose", 10, match, emit});

} // namespace
} // namespace nnopt::cuda
