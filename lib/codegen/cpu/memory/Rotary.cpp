//===- Rotary.cpp - rotary position embedding -------------------------------===//
//
// A task is one row of the last dimension. Both halves of a row (or neighbouring elements) are read and written
// together, straight from where a transpose or split left them.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

struct Rotary {
  Kernel &k;
  nn::RotaryOp op;
  Buffer x, cos, sin, out;
  Type type;
  Ix half;

  /// `lanes` elements of both parts of the pairs from `pair` on of a row at `offset`; 0: one of each.
  std::pair<Value, Value> load(const Buffer &buffer, Ix offset, Ix pair, int64_t lanes) {
    auto at = [&](Ix i, int64_t n) {
      Value v = n ? k.load(buffer, i, n) : k.load(buffer, i);
      return k.fromFloat(k.toFloat(v), n ? Type(k.vec(n, type)) : type);
    };
    if (!op.getInterleaved())
      return {at(offset + pair, lanes), at(offset + half + pair, lanes)};
    if (!lanes)
      return {at(offset + pair * 2, 0), at(offset + pair * 2 + 1, 0)};
    auto both = vector::DeinterleaveOp::create(k.b, k.loc, at(offset + pair * 2, 2 * lanes));
    return {both.getRes1(), both.getRes2()};
  }
  /// The same of angles, of which there may be one for each pair.
  std::pair<Value, Value> angles(const Buffer &buffer, Ix offset, Ix pair, int64_t lanes) {
    const nn::Dims &dims = buffer.dims;
    if (dims.back() == k.lowering.dims(op.getX()).back())
      return load(buffer, offset, pair, lanes);
    Value v = lanes ? k.load(buffer, offset + pair, lanes) : k.load(buffer, offset + pair);
    v = k.fromFloat(k.toFloat(v), lanes ? Type(k.vec(lanes, type)) : type);
    return {v, v};
  }
  void store(Ix offset, Ix pair, Value first, Value second, int64_t lanes) {
    auto put = [&](Ix i, Value v) {
      auto vector = dyn_cast<VectorType>(v.getType());
      k.store(out, i, k.fromFloat(v, vector ? Type(k.vec(vector.getNumElements(), out.valueType)) : out.valueType));
    };
    if (!op.getInterleaved()) {
      put(offset + pair, first);
      put(offset + half + pair, second);
    } else if (lanes) {
      put(offset + pair * 2, vector::InterleaveOp::create(k.b, k.loc, first, second));
    } else {
      put(offset + pair * 2, first);
      put(offset + pair * 2 + 1, second);
    }
  }
  /// (a, b) becomes (a cos - b sin, b cos + a sin).
  void turn(ArrayRef<Ix> offsets, Ix pair, int64_t lanes) {
    auto [a, b] = load(x, offsets[0], pair, lanes);
    auto [c, c2] = angles(cos, offsets[1], pair, lanes);
    auto [s, s2] = angles(sin, offsets[2], pair, lanes);
    Value first = fsub(k, fmul(k, a, c), fmul(k, b, s)), second = fadd(k, fmul(k, b, c2), fmul(k, a, s2));
    store(offsets[3], pair, first, second, lanes);
  }
};

LogicalResult emit(Operation *operation, Lowering &l, bool isReference) {
  auto op = cast<nn::RotaryOp>(operation);
  Kernel k(l, op, isReference ? "rotary_loops" : "rotary");
  const nn::Dims dims = l.dims(op.getX());
  nn::DimContext &ctx = l.dimContext();
  nn::Dims rows(ArrayRef(dims).drop_back());
  SmallVector<nn::Dims> strides;
  auto addStrides = [&](nn::Dims own) {
    own.pop_back();
    strides.push_back(own);
  };

  StridedView view = readView(l, op->getOpOperand(0));
  Buffer x = k.read(view.base);
  x.ptr = k.ptrAdd(x.ptr, k.dim(view.offset), x.storageType);
  x.dims = dims;
  addStrides(view.strides);
  for (Value v : {op.getCos(), op.getSin()})
    // All of the last dimension is a row: only those before it broadcast.
    addStrides(broadcastStrides(ctx, l.dims(v), dims));
  Rotary r{k, op, x, k.read(op.getCos()), k.read(op.getSin()), k.write(op.getResult()), computeType(x.valueType), Ix()};
  addStrides(rowMajor(ctx, dims));
  nn::Dim half = dims.back().floorDiv(2);
  r.half = k.dim(half);
  int64_t lanes = isReference ? 1 : l.target.lanes(r.type.getIntOrFloatBitWidth() / 8);
  Ix whole = r.half / lanes * lanes;
  forEachIndex(k, rows, strides, k.begin, k.end, {}, [&](ArrayRef<Ix> offsets, ValueRange) {
    if (lanes > 1)
      k.loop(k.c(0), whole, lanes, [&](Ix pair) { r.turn(offsets, pair, lanes); });
    k.loop(lanes > 1 ? whole : k.c(0), r.half, 1, [&](Ix pair) { r.turn(offsets, pair, 0); });
    return SmallVector<Value>();
  });
  nn::Dim count = nn::product(ctx, dims);
  k.flops = count * 3;
  k.bytes = count * (2 * storageBytes(x));
  k.grain = std::max<int64_t>(1, 4096 / (dims.back().isConst() ? dims.back().value() : 64));
  l.launch(k, nn::product(ctx, rows));
  return success();
}

RegisterEmitter reference({"nn.rotary", "rotary-loops", 0, nullptr,
                           [](Operation *op, Lowering &l) { return emit(op, l, /*isReference=*/true); }});
RegisterEmitter fast({"nn.rotary", "rotary", 10, nullptr,
                      [](Operation *op, Lowering &l) { return emit(op, l, /*isReference=*/false); }});

} // namespace
} // namespace nnopt::cpu
