//===- Attention.cpp - softmax(scale q k^T + mask) v ------------------------===//
//
// One pass over the keys with a running maximum (Milakov and Gimelshein, "Online normalizer calculation for
// softmax"): a warp has one query, a block the queries of neighbouring warps, which share tiles of keys and
// values in shared memory. In scores a lane is a key; in sums of values a lane is every 32nd component.
// Few queries, as in decoding, have kernels of their own (AttentionDecode.cpp), and so do types that tensor cores multiply
// (TensorAttention.cpp).
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cuda/Attention.h"
#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cuda {

//===----------------------------------------------------------------------===//
// What the kernels share
//===----------------------------------------------------------------------===//

Attention::Attention(nn::AttentionOp op, Lowering &l, Kernel &k) : op(op), l(l), k(k), q(read(0)), key(read(1)), v(read(2)) {
  if (op.getMask())
    mask = k.read(op.getMask());
  queries = k.dim(q.dims[2]), keys = k.dim(key.dims[2]);
}

/// As many elements as 16 bytes hold, where rows of `base` from `offset` on lie at multiples of them, else one.
static int64_t lanesOf(Lowering &l, Value base, nn::Dim offset, const nn::Dims &dims, ArrayRef<nn::Dim> strides) {
  int64_t widest = 16 / nn::elementBytes(l.shapes.info(base).elementType);
  bool aligned = isAligned(l, base) && isMultiple(offset, widest) && isMultiple(dims[3], widest) && strides[3].isConst(1);
  for (nn::Dim s : strides.drop_back())
    aligned &= isMultiple(s, widest);
  return aligned ? widest : 1;
}

int64_t componentLanes(Lowering &l, OpOperand &operand) {
  cpu::StridedView view = cpu::readView(l, operand);
  return lanesOf(l, view.base, view.offset, l.dims(operand.get()), view.strides);
}

Heads Attention::read(unsigned operand) {
  cpu::StridedView view = cpu::readView(l, op->getOpOperand(operand));
  Heads h{k.read(view.base), l.dims(op->getOperand(operand)), {}};
  h.buffer.ptr = k.ptrAdd(h.buffer.ptr, k.dim(view.offset), h.buffer.storageType);
  for (nn::Dim s : view.strides)
    h.strides.push_back(k.dim(s));
  h.lanes = componentLanes(l, op->getOpOperand(operand));
  return h;
}

Heads Attention::result() {
  Heads out;
  out.dims = l.dims(op.getResult());
  Value written = op.getResult();
  nn::Dims strides = cpu::rowMajor(l.dimContext(), out.dims);
  if (nn::TransposeOp transpose = cpu::transposeWrittenBy(l, op)) {
    l.absorb(transpose);
    written = transpose.getResult();
    nn::Dims own = cpu::rowMajor(l.dimContext(), l.dims(written));
    for (auto [i, p] : llvm::enumerate(transpose.getPerm()))
      strides[p] = own[i];
  }
  out.buffer = k.write(written);
  for (nn::Dim s : strides)
    out.strides.push_back(k.dim(s));
  out.lanes = lanesOf(l, written, l.c(0), out.dims, strides);
  return out;
}

static Value cmp(Kernel &k, arith::CmpFPredicate p, Value a, Value b) { return arith::CmpFOp::create(k.b, k.loc, p, a, b); }
static Value isNone(Kernel &k, Value v) { return cmp(k, arith::CmpFPredicate::OEQ, v, k.f32(-INFINITY)); }

Value Attention::exp(Value x) { return math::ExpOp::create(k.b, k.loc, x); }
Value Attention::larger(Value a, Value b) { return k.select(cmp(k, arith::CmpFPredicate::OGT, a, b), a, b); }
Value Attention::base(Value max) { return k.select(isNone(k, max), k.f32(0), max); }

Value Attention::score(Value sum, Ix batch, Ix head, Ix query, Ix at) {
  sum = cpu::fmul(k, sum, k.f32(op.getScale().convertToDouble()));
  if (double cap = op.getSoftcap().convertToDouble(); cap > 0)
    sum = cpu::fmul(k, k.f32(cap), math::TanhOp::create(k.b, k.loc, cpu::fdiv(k, sum, k.f32(cap))));
  Value none = k.f32(-INFINITY);
  if (op.getMask()) {
    Ix position[] = {batch, head, query.min(queries - 1), at.min(keys - 1)};
    nn::Dims own = mask.dims;
    while (own.size() < 4)
      own.insert(own.begin(), l.c(1));
    SmallVector<Ix> strides = k.strides(own);
    Ix offset = k.c(0);
    for (unsigned d = 0; d < 4; ++d)
      if (!own[d].isConst(1))
        offset = offset + k.selectIx(k.dim(own[d]) == 1, k.c(0), position[d]) * strides[d];
    Value m = k.load(mask, offset);
    if (mask.valueType.isInteger(1)) {
      sum = k.select(m, sum, op.getMaskValue() ? k.f32(op.getMaskValue()->convertToDouble()) : none);
    } else {
      m = k.toFloat(m);
      sum = cpu::fadd(k, sum, m);
      // What a mask excludes may be NaN.
      if (op.getEmptyRows() == nn::EmptyRows::zero)
        sum = k.select(isNone(k, m), none, sum);
    }
  }
  return sum;
}

Ix Attention::visible(Ix query) {
  if (!op.getCausal())
    return keys;
  Ix end = op.getCausalFromEnd() ? query + (keys - queries) + 1 : query + 1;
  return end.max(k.c(0)).min(keys);
}

Value Attention::ifVisible(Value score, Ix query, Ix at) { return k.select(at < visible(query), score, k.f32(-INFINITY)); }

Value Attention::normalized(Value sum, Value total) {
  Value r = cpu::fdiv(k, sum, total);
  switch (op.getEmptyRows()) {
  case nn::EmptyRows::nan:
    return r;
  case nn::EmptyRows::nan_to_zero:
    return k.select(cmp(k, arith::CmpFPredicate::OGT, total, k.f32(0)), r, k.f32(0));
  case nn::EmptyRows::zero:
    return k.select(cmp(k, arith::CmpFPredicate::OEQ, total, k.f32(0)), sum, r);
  }
  llvm_unreachable("all kinds are handled");
}

nn::Dim Attention::flops() const {
  return q.dims[0] * q.dims[1] * q.dims[2] * key.dims[2] * (2 * (q.head() + v.head()));
}

//===----------------------------------------------------------------------===//
// Many queries
//===----------------------------------------------------------------------===//

namespace {

constexpr int64_t warps = 8, tileKeys = warpSize, maxHead = 256;

bool match(Operation *op, Lowering &l) {
  auto attention = cast<nn::AttentionOp>(op);
  for (Value v : {attention.getQ(), attention.getK(), attention.getV()})
    if (nn::Dim d = l.dims(v)[3]; !areFloats(l, v) || !d.isConst() || d.value() > maxHead || d.value() < 1)
      return false;
  return !attention.getMask() || areFloats(l, attention.getMask()) || l.shapes.info(attention.getMask()).elementType.isInteger(1);
}

struct Emission {
  Kernel k;
  Attention a;
  Heads out;
  Buffer queryMemory, keyMemory, valueMemory, weightMemory;
  int64_t head, valueHead;
  Ix warp, lane, batch, heading, query; // heading: number of the head

  Emission(nn::AttentionOp op, Lowering &l)
      : k(l, op, "attention", warps * warpSize), a(op, l, k), out(a.result()), head(a.q.head()), valueHead(a.v.head()) {
    Type f32 = k.b.getF32Type();
    queryMemory = k.shared(f32, warps * head);
    keyMemory = k.shared(f32, tileKeys * (head + 1)); // lanes read down a column: one bank each
    valueMemory = k.shared(f32, tileKeys * valueHead);
    weightMemory = k.shared(f32, warps * tileKeys);
  }

  /// Copies rows [first, first + tileKeys) of the head's matrix into shared memory, all threads together.
  void loadTile(const Heads &from, Ix matrix, const Buffer &to, int64_t pitch, Ix first) {
    int64_t width = from.head(), lanes = from.lanes;
    k.loop(k.thread, k.c(tileKeys * width / lanes), k.threads, [&](Ix i) {
      Ix row = i / (width / lanes), column = i % (width / lanes) * lanes;
      // Behind the last key the last one is read; its weight is 0.
      Ix at = (first + row).min(a.keys - 1);
      SmallVector<Value> values =
          k.loadLanes(from.buffer, matrix + at * from.strides[2] + column * from.strides[3], lanes);
      for (auto [j, value] : llvm::enumerate(values))
        k.store(to, row * pitch + column + int64_t(j), k.toFloat(value));
    });
  }

  /// The score of this lane's key.
  Value score(Ix at) {
    Value sum = k.f32(0);
    for (int64_t i = 0; i < head; ++i)
      sum = k.fma(k.load(queryMemory, warp * head + i), k.load(keyMemory, lane * (head + 1) + i), sum);
    return a.ifVisible(a.score(sum, batch, heading, query, at), query, at);
  }

  /// Launches it if `when` is 1.
  void emit(nn::Dim when) {
    Lowering &l = a.l;
    warp = k.thread / warpSize, lane = k.thread % warpSize;
    nn::Dim tiles = a.q.dims[2].ceilDiv(l.c(warps));
    Ix rest = k.block / k.dim(tiles), heads = k.dim(a.q.dims[1]), sharedHeads = k.dim(a.key.dims[1]);
    heading = rest % heads, batch = rest / heads;
    query = k.block % k.dim(tiles) * warps + warp;
    Ix sharedHead = heading / (heads / sharedHeads);
    Ix keyMatrix = a.key.matrix(batch, sharedHead), valueMatrix = a.v.matrix(batch, sharedHead);

    Ix queryRow = a.q.matrix(batch, heading) + query.min(a.queries - 1) * a.q.strides[2];
    k.loop(lane, k.c(head), warpSize, [&](Ix i) {
      k.store(queryMemory, warp * head + i, a.load(a.q, queryRow + i * a.q.strides[3]));
    });

    int64_t parts = llvm::divideCeil(valueHead, warpSize);
    SmallVector<Value> init(parts, k.f32(0)); // sums of values, then the maximum and the sum of weights
    init.append({k.f32(-INFINITY), k.f32(0)});
    SmallVector<Value> state = k.loop(k.c(0), a.keys, tileKeys, init, [&](Ix first, ValueRange in) {
      k.barrier(); // the last tile is not needed any more
      loadTile(a.key, keyMatrix, keyMemory, head + 1, first);
      loadTile(a.v, valueMatrix, valueMemory, valueHead, first);
      k.barrier();
      Value s = score(first + lane);
      Value old = in[parts], max = a.larger(old, k.reduceWarp(s, [&](Value x, Value y) { return a.larger(x, y); }));
      Value base = a.base(max);
      Value weight = a.exp(cpu::fsub(k, s, base)), shrink = a.exp(cpu::fsub(k, old, base));
      Value total = k.reduceWarp(weight, [&](Value x, Value y) { return cpu::fadd(k, x, y); });
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
    k.ifThen(query < a.queries, [&] {
      Ix row = out.matrix(batch, heading) + query * out.strides[2];
      for (int64_t p = 0; p < parts; ++p) {
        Ix column = lane + p * warpSize;
        Value r = k.fromFloat(a.normalized(state[p], state[parts + 1]), out.buffer.valueType);
        k.ifThen(column < k.c(valueHead), [&] { k.store(out.buffer, row + column * out.strides[3], r); });
      }
    });
    k.flops = a.flops();
    k.launch(a.q.dims[0] * a.q.dims[1] * tiles * when);
  }
};

LogicalResult emit(Operation *op, Lowering &l) {
  auto attention = cast<nn::AttentionOp>(op);
  nn::Dim queries = l.dims(attention.getQ())[2];
  // 1 for few queries, 0 for more, perhaps known at run time only.
  nn::Dim few = l.c(maxFewQueries).floorDiv(queries.max(l.c(1))).min(l.c(1));
  if (!few.isConst(0))
    emitFewQueries(attention, l, few);
  if (!few.isConst(1))
    isForTensorCores(attention, l) ? emitOnTensorCores(attention, l, l.c(1) - few)
                                   : Emission(attention, l).emit(l.c(1) - few);
  return success();
}

RegisterEmitter attention({"nn.attention", "cuda-attention", 10, match, emit});

} // namespace
} // namespace nnopt::cuda
