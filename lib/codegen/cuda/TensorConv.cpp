//===- TensorConv.cpp - convolutions on tensor cores ------------------------===//
//
// An implicit matrix product, as in Conv.cpp: rows are positions of the result, the contracted
// dimension runs through taps and input channels, which are gathered while they are copied to
// shared memory.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cuda/ConvWindow.h"
#include "lib/codegen/cuda/TensorContraction.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

bool match(Operation *op, Lowering &l) {
  auto conv = cast<nn::ConvOp>(op);
  std::optional<MmaTypes> types = tensorTypes(conv, l, conv.getXZero(), conv.getWZero());
  if (!types || !conv.getChannelsLast() || !l.constant(conv.getW()))
    return false;
  cpu::ConvShape s(conv, l);
  // A group is a product of its own: with few channels most of a tile would be empty.
  constexpr int64_t leastChannels = 8;
  if (s.groups > 1 ? std::min(s.inPerGroup, s.outPerGroup) < leastChannels
                   : s.inPerGroup < 1 || s.outPerGroup < 1)
    return false;
  // What is outside counts as the zero point, which must be known then, and must not count in sums
  // of rows.
  bool checked = llvm::any_of(s.dims, [](const cpu::ConvDim &d) { return d.checked; });
  if (conv.getXZero() && checked && !l.constant(conv.getXZero()))
    return false;
  return !conv.getWZero() || !needsRowSums(*types, *l.constant(conv.getWZero()));
}

LogicalResult emit(Operation *op, Lowering &l) {
  auto conv = cast<nn::ConvOp>(op);
  cpu::ConvShape s(conv, l);
  TensorContraction c;
  c.op = conv;
  c.name = "conv_" + s.text();
  c.types = *tensorTypes(conv, l, conv.getXZero(), conv.getWZero());
  c.m = s.positions(l);
  c.n = l.c(s.outPerGroup);
  int64_t in = s.inPerGroup, out = s.outPerGroup, taps = s.taps(), depth = taps * in;
  c.depth = l.c(depth);
  c.count = l.c(s.groups);
  c.tile = TensorTile::choose(op, machineOf(l), c.types, c.m, c.n, c.depth, c.count);
  c.flops = s.flops(l);
  c.leftZero = conv.getXZero();
  c.alignedColumns = s.groups == 1 || out % 8 == 0 ? 8 : out % 4 == 0 ? 4 : 1;
  c.place = [&](Kernel &k, Ix index, Ix row, Ix column) {
    return std::pair(row, index * out + column);
  };

  std::optional<nn::ConstantData> data = l.constant(conv.getW()), zero;
  if (conv.getWZero())
    zero = l.constant(conv.getWZero());
  TensorWeights weights(
      c.types, *data, s.groups, out, depth, c.tile,
      [&](int64_t group, int64_t o, int64_t d) {
        return ((group * out + o) * in + d % in) * taps + d / in;
      },
      zero ? &*zero : nullptr);
  c.weights = &weights;
  c.weightsOf = [](Kernel &, Ix index) { return index; };

  c.left = [&](Kernel &k, Ix group) {
    TensorOperand operand;
    operand.buffer = k.read(conv.getX());
    operand.needsRounding = c.types.isTf32();
    int64_t bytes = c.types.elementBytes();
    operand.piece = pieceBytes(l.c(in), bytes, isAligned(l, conv.getX()));
    if (std::optional<nn::ConstantData> known =
            conv.getXZero() ? l.constant(conv.getXZero()) : std::nullopt;
        known && known->asInt(0))
      operand.outside =
          k.weights(std::vector<char>(16, char(known->asInt(0))), k.b.getI8Type(), {16});
    Images images{k, s};
    Ix rows = k.dim(c.m);
    operand.prepare = [=](Ix row) {
      // Behind the last row the last one is read, and not used.
      Window window = images.window(row.min(rows - 1));
      SmallVector<Ix> prepared = {window.image + group * in};
      prepared.append(window.start.begin(), window.start.end());
      return prepared;
    };
    operand.locate = [=, &k](ArrayRef<Ix> prepared, Ix d) -> std::pair<Ix, Value> {
      Window window{prepared[0], SmallVector<Ix, 3>(prepared.drop_front())};
      bool single = taps == 1;
      SmallVector<Ix> tap =
          single ? SmallVector<Ix>(s.dims.size(), k.c(0)) : k.delinearize(d / in, images.tapDims());
      auto [offset, inside] = images.tap(window, tap);
      if (depth * bytes % c.tile.depthBytes) {
        Value valid = d < depth;
        inside = inside ? k.land(valid, inside) : valid;
      }
      return {offset + (single ? d : d % in), inside};
    };
    return operand;
  };
  return emitTensorContraction(l, c);
}

RegisterEmitter conv({"nn.conv", "cuda-tensor-conv", 30, match, emit});

} // namespace
} // namespace nnopt::cuda
