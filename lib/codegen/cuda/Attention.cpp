//===- Attention.cpp - softmax(scale q k^T + mask) v ------------------------===//
//
// One pass over the keys with a running maximum (Milakov and Gimelshein, "Online normalizer calculation for
// softmax"): a warp has one query, a block the queries of neighbouring warps, which share tiles of keys and
// values in shared memory. In scores a lane is a key; in sums of values a lane is every 32nd component.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Kernel.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t warps = 8, tileKeys = warpSize, maxHead = 256;

bool match(Operation *op, Lowering &l) {
  auto attention = cast<nn::AttentionOp>(op);
  auto isF32 = [&](Value v) { return l.shapes.info(v).elementType.isF32(); };
  if (!isF32(attention.getQ()) || !isF32(attention.getK()) || !isF32(attention.getV()) || attention.getEmptyRows() == nn::EmptyRows::zero)
    return false;
  for (Value v : {attention.getQ(), attention.getV()})
    if (nn::Dim d = l.dims(v)[3]; !d.isConst() || d.value() > maxHead || d.value() < 1)
      return false;
  return !attention.getMask() || isF32(attention.getMask()) || l.shapes.info(attention.getMask()).elementType.isInteger(1);
}

/// An operand or the result, [batch, heads, sequence, head], wherever its elements are.
struct Heads {
  Buffer buffer;
  nn::Dims dims;
  SmallVector<Ix> strides;
  /// Offset of a head's matrix.
  Ix matrix(Ix batch, Ix head) const { return batch * strides[0] + head * strides[1]; }
};

struct Emission {
  nn::AttentionOp op;
  Lowering &l;
  Kernel k;
  Heads q, key, v, out;
  Buffer mask, queryMemory, keyMemory, valueMemory, weightMemory;
  int64_t head, valueHead;
  Ix warp, lane, batch, heading, query, queries, keys; // heading: number of the head

  Emission(nn::AttentionOp op, Lowering &l)
      : op(op), l(l), k(l, op, "attention", warps * warpSize), q(read(0)), key(read(1)), v(read(2)),
        head(q.dims[3].value()), valueHead(v.dims[3].value()) {
    // Where heads are put beside each other afterwards, that is done in writing.
    nn::TransposeOp transpose = cpu::transposeWrittenBy(l, op);
    out.dims = l.dims(op.getResult());
    if (transpose) {
      l.absorb(transpose);
      out.buffer = k.write(transpose.getResult());
      SmallVector<Ix> strides = k.strides(l.dims(transpose.getResult()));
      out.strides.resize(4);
      for (auto [i, p] : llvm::enumerate(transpose.getPerm()))
        out.strides[p] = strides[i];
    } else {
      out.buffer = k.write(op.getResult());
      out.strides = k.strides(out.dims);
    }
    if (op.getMask())
      mask = k.read(op.getMask());
    Type f32 = k.b.getF32Type();
    queryMemory = k.shared(f32, warps * head);
    keyMemory = k.shared(f32, tileKeys * (head + 1)); // lanes read down a column: one bank each
    valueMemory = k.shared(f32, tileKeys * valueHead);
    weightMemory = k.shared(f32, warps * tileKeys);
  }

  Heads read(unsigned operand) {
    cpu::StridedView view = cpu::readView(l, op->getOpOperand(operand));
    Heads h{k.read(view.base), l.dims(op->getOperand(operand)), {}};
    h.buffer.ptr = k.ptrAdd(h.buffer.ptr, k.dim(view.offset), h.buffer.storageType);
    for (nn::Dim s : view.strides)
      h.strides.push_back(k.dim(s));
    return h;
  }

  Value cmp(arith::CmpFPredicate p, Value a, Value b) { return arith::CmpFOp::create(k.b, k.loc, p, a, b); }
  Value exp(Value x) { return math::ExpOp::create(k.b, k.loc, x); }
  Value larger(Value a, Value b) { return k.select(cmp(arith::CmpFPredicate::OGT, a, b), a, b); }

  /// Copies rows [first, first + tileKeys) of the head's matrix into shared memory, all threads together.
  void loadTile(const Heads &from, Ix matrix, int64_t width, const Buffer &to, int64_t pitch, Ix first) {
    k.loop(k.thread, k.c(tileKeys * width), k.threads, [&](Ix i) {
      Ix row = i / width, column = i % width;
      // Behind the last key the last one is read; its weight is 0.
      Ix at = (first + row).min(keys - 1);
      k.store(to, row * pitch + column, k.load(from.buffer, matrix + at * from.strides[2] + column * from.strides[3]));
    });
  }

  /// The score of this lane's key, -infinity where it takes no part.
  Value score(Ix at) {
    Value sum = k.f32(0);
    for (int64_t i = 0; i < head; ++i)
      sum = k.fma(k.load(queryMemory, warp * head + i), k.load(keyMemory, lane * (head + 1) + i), sum);
    sum = cpu::fmul(k, sum, k.f32(op.getScale().convertToDouble()));
    if (double cap = op.getSoftcap().convertToDouble(); cap > 0)
      sum = cpu::fmul(k, k.f32(cap), math::TanhOp::create(k.b, k.loc, cpu::fdiv(k, sum, k.f32(cap))));
    Value none = k.f32(-INFINITY), takesPart = at < keys;
    if (op.getMask()) {
      Ix position[] = {batch, heading, query.min(queries - 1), at.min(keys - 1)};
      nn::Dims own = mask.dims;
      while (own.size() < 4)
        own.insert(own.begin(), l.c(1));
      SmallVector<Ix> strides = k.strides(own);
      Ix offset = k.c(0);
      for (unsigned d = 0; d < 4; ++d)
        if (!own[d].isConst(1))
          offset = offset + k.selectIx(k.dim(own[d]) == 1, k.c(0), position[d]) * strides[d];
      Value m = k.load(mask, offset);
      if (mask.valueType.isF32())
        sum = cpu::fadd(k, sum, m);
      else
        sum = k.select(m, sum, op.getMaskValue() ? k.f32(op.getMaskValue()->convertToDouble()) : none);
    }
    if (op.getCausal()) {
      Ix last = op.getCausalFromEnd() ? query + (keys - queries) : query;
      takesPart = k.land(takesPart, at <= last);
    }
    return k.select(takesPart, sum, none);
  }

  LogicalResult emit() {
    warp = k.thread / warpSize, lane = k.thread % warpSize;
    queries = k.dim(q.dims[2]), keys = k.dim(key.dims[2]);
    nn::Dim tiles = q.dims[2].ceilDiv(l.c(warps));
    Ix rest = k.block / k.dim(tiles), heads = k.dim(q.dims[1]), sharedHeads = k.dim(key.dims[1]);
    heading = rest % heads, batch = rest / heads;
    query = k.block % k.dim(tiles) * warps + warp;
    Ix sharedHead = heading / (heads / sharedHeads);
    Ix keyMatrix = key.matrix(batch, sharedHead), valueMatrix = v.matrix(batch, sharedHead);

    Ix queryRow = q.matrix(batch, heading) + query.min(queries - 1) * q.strides[2];
    k.loop(lane, k.c(head), warpSize, [&](Ix i) {
      k.store(queryMemory, warp * head + i, k.load(q.buffer, queryRow + i * q.strides[3]));
    });

    int64_t parts = llvm::divideCeil(valueHead, warpSize);
    SmallVector<Value> init(parts, k.f32(0)); // sums of values, then the maximum and the sum of weights
    init.append({k.f32(-INFINITY), k.f32(0)});
    SmallVector<Value> state = k.loop(k.c(0), keys, tileKeys, init, [&](Ix first, ValueRange in) {
      k.barrier(); // the last tile is not needed any more
      loadTile(key, keyMatrix, head, keyMemory, head + 1, first);
      loadTile(v, valueMatrix, valueHead, valueMemory, valueHead, first);
      k.barrier();
      Value s = score(first + lane);
      Value old = in[parts], max = larger(old, k.reduceWarp(s, [&](Value a, Value b) { return larger(a, b); }));
      // Before the first key that takes part everything is 0, not e^(inf - inf).
      Value base = k.select(cmp(arith::CmpFPredicate::OEQ, max, k.f32(-INFINITY)), k.f32(0), max);
      Value weight = exp(cpu::fsub(k, s, base)), shrink = exp(cpu::fsub(k, old, base));
      Value total = k.reduceWarp(weight, [&](Value a, Value b) { return cpu::fadd(k, a, b); });
      k.store(weightMemory, k.thread, weight);
      k.barrier();
      SmallVector<Value> next;
      for (int64_t p = 0; p < parts; ++p)
        next.push_back(cpu::fmul(k, in[p], shrink));
      for (int64_t j = 0; j < tileKeys; ++j) {
        Value w = k.load(weightMemory, warp * tileKeys + j);
        for (int64_t p = 0; p < parts; ++p) {
          Ix column = lane + p * warpSize;
          bool whole = (p + 1) * warpSize <= valueHead;
          Ix safe = whole ? column : column.min(k.c(valueHead - 1));
          next[p] = k.fma(w, k.load(valueMemory, safe + j * valueHead), next[p]);
        }
      }
      next.push_back(max);
      next.push_back(k.fma(in[parts + 1], shrink, total));
      return next;
    });
    k.ifThen(query < queries, [&] {
      Ix row = out.matrix(batch, heading) + query * out.strides[2];
      Value sum = state[parts + 1];
      for (int64_t p = 0; p < parts; ++p) {
        Ix column = lane + p * warpSize;
        Value r = cpu::fdiv(k, state[p], sum);
        if (op.getEmptyRows() == nn::EmptyRows::nan_to_zero)
          r = k.select(cmp(arith::CmpFPredicate::OGT, sum, k.f32(0)), r, k.f32(0));
        k.ifThen(column < k.c(valueHead), [&] { k.store(out.buffer, row + column * out.strides[3], r); });
      }
    });
    nn::Dim pairs = q.dims[0] * q.dims[1] * q.dims[2] * key.dims[2];
    k.flops = pairs * (2 * (head + valueHead));
    k.launch(q.dims[0] * q.dims[1] * tiles);
    return success();
  }
};

LogicalResult emit(Operation *op, Lowering &l) { return Emission(cast<nn::AttentionOp>(op), l).emit(); }

RegisterEmitter attention({"nn.attention", "cuda-attention", 10, match, emit});

} // namespace
} // namespace nnopt::cuda
