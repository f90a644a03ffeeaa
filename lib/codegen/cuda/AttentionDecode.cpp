//===- AttentionDecode.cpp - attention of few queries, as in decoding -------===//
//
// There are too few queries to fill the machine, and keys and values are read once: so the keys of a head are shared
// among blocks, each of which has a part of the softmax and of the sum; a second kernel combines the parts (Dao et al.
// 2023, "Flash-Decoding for long-context inference"). All queries and heads that read the same keys are rows of one block.
//
// Eight lanes have a key: each has some components of keys and values, and of the sums. Four keys side by side make a
// warp, and each group of lanes has a running maximum of its own; nothing is exchanged between them before the end.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Attention.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t threads = 128, keyLanes = 8, keysAtOnce = threads / keyLanes, keysEach = 2;
/// Blocks that fill a GPU, and the fewest keys that are worth one.
constexpr int64_t wantedBlocks = 264, minSplitKeys = 64, maxSplits = 32;

/// Which components of a row a lane has: vectors of `lanes`, every eighth one.
struct Components {
  int64_t head, lanes, vectors;
  explicit Components(const Heads &h) : head(h.head()), lanes(h.lanes) {
    vectors = llvm::divideCeil(head, lanes * keyLanes);
  }
  int64_t count() const { return vectors * lanes; }
  Ix at(Ix lane, int64_t vector) const { return (lane + vector * keyLanes) * lanes; }
  bool isWhole(int64_t vector) const { return (vector + 1) * keyLanes * lanes <= head; }
};

/// What all kernels agree on.
struct Splits {
  int64_t rows = 1; // of a block
  nn::Dim sharing;  // heads that read the same keys, times queries
  nn::Dim rowBlocks, count;

  Splits(nn::AttentionOp op, Lowering &l) {
    const nn::Dims &q = l.dims(op.getQ()), &key = l.dims(op.getK());
    int64_t head = std::max(q[3].value(), l.dims(op.getV())[3].value());
    sharing = q[1].floorDiv(key[1].max(l.c(1))) * q[2];
    if (!sharing.isConst(1))
      rows = head <= 64 ? 4 : head <= 128 ? 2 : 1;
    rowBlocks = sharing.ceilDiv(l.c(rows));
    nn::Dim others = key[0] * key[1] * rowBlocks;
    int64_t most = maxSplits / 2;
    if (others.isConst())
      most = std::clamp<int64_t>(llvm::divideCeil(wantedBlocks, std::max<int64_t>(1, others.value())), 1, maxSplits);
    count = key[2].ceilDiv(minSplitKeys).max(l.c(1)).min(l.c(most));
  }
};

class Part {
public:
  Part(nn::AttentionOp op, Lowering &l, const Splits &splits, const TempTensor &sums, const TempTensor &extremes)
      : k(l, op, "attention_part", threads), a(op, l, k), splits(splits), keyParts(a.key), valueParts(a.v),
        sums(k.write(sums)), extremes(k.write(extremes)) {
    Type f32 = k.b.getF32Type();
    int64_t warps = threads / warpSize;
    sumMemory = k.shared(f32, warps * splits.rows * valueParts.head);
    extremeMemory = k.shared(f32, warps * splits.rows * 2);
  }

  void emit(nn::Dim when) {
    Ix split = k.block % k.dim(splits.count), rest = k.block / k.dim(splits.count);
    Ix rowBlock = rest % k.dim(splits.rowBlocks);
    rest = rest / k.dim(splits.rowBlocks);
    Ix keyHeads = k.dim(a.key.dims[1]), keyHead = rest % keyHeads;
    batch = rest / keyHeads;
    warp = k.thread / warpSize;
    lane = k.thread % keyLanes;
    Ix group = k.dim(a.q.dims[1]) / keyHeads, sharing = k.dim(splits.sharing);
    for (int64_t r = 0; r < splits.rows; ++r) {
      Ix number = rowBlock * splits.rows + r, safe = number.min(sharing - 1);
      rows.push_back({number < sharing, keyHead * group + safe / a.queries, safe % a.queries});
    }
    loadQueries();
    keyMatrix = a.key.matrix(batch, keyHead), valueMatrix = a.v.matrix(batch, keyHead);

    Ix size = k.dim(a.key.dims[2].ceilDiv(splits.count)), low = split * size;
    high = (low + size).min(a.keys);
    SmallVector<Value> init;
    for (int64_t r = 0; r < splits.rows; ++r) {
      init.append({k.f32(-INFINITY), k.f32(0)});
      init.append(valueParts.count(), k.f32(0));
    }
    SmallVector<Value> state = k.loop(low, high, keysAtOnce * keysEach, init,
                                      [&](Ix first, ValueRange in) { return addKeys(first, in); });
    for (int64_t mask : {keyLanes, 2 * keyLanes})
      state = combineLanes(state, mask);
    combineWarps(state, split);
    k.flops = a.flops();
    nn::Dim elements = a.key.dims[0] * a.key.dims[1] * a.key.dims[2] * (a.key.head() + a.v.head());
    k.bytes = elements * cpu::storageBytes(a.key.buffer);
    k.launch(a.key.dims[0] * a.key.dims[1] * splits.rowBlocks * splits.count * when);
  }

private:
  struct RowOf {
    Value exists;
    Ix head, query;
  };
  int64_t stride() const { return 2 + valueParts.count(); } // values of a row's state

  /// This lane's components of a row of `h`, 0 behind its end.
  SmallVector<Value> load(const Heads &h, const Components &parts, Ix row) {
    SmallVector<Value> values;
    for (int64_t i = 0; i < parts.vectors; ++i) {
      Ix at = parts.at(lane, i);
      auto read = [&] {
        SmallVector<Value> vector;
        if (parts.lanes > 1 && parts.lanes == h.lanes)
          vector = k.loadLanes(h.buffer, row + at, parts.lanes);
        else // queries may lie otherwise than keys
          for (int64_t j = 0; j < parts.lanes; ++j)
            vector.push_back(k.load(h.buffer, row + (at + j) * h.strides[3]));
        for (Value &v : vector)
          v = k.toFloat(v);
        return vector;
      };
      if (parts.isWhole(i))
        values.append(read());
      else
        values.append(k.ifElse(
            at < k.c(parts.head), SmallVector<Type>(parts.lanes, k.b.getF32Type()), read,
            [&] { return SmallVector<Value>(parts.lanes, k.f32(0)); }));
    }
    return values;
  }

  void loadQueries() {
    for (const RowOf &row : rows)
      queries.push_back(load(a.q, keyParts, a.q.matrix(batch, row.head) + row.query * a.q.strides[2]));
  }

  SmallVector<Value> addKeys(Ix first, ValueRange in) {
    SmallVector<Ix> at;
    SmallVector<SmallVector<Value>> keys, values;
    for (int64_t j = 0; j < keysEach; ++j) {
      at.push_back(first + k.thread / keyLanes + j * keysAtOnce);
      // Behind the last key the last one is read; its weight is 0.
      keys.push_back(load(a.key, keyParts, keyMatrix + at[j].min(a.keys - 1) * a.key.strides[2]));
    }
    for (int64_t j = 0; j < keysEach; ++j)
      values.push_back(load(a.v, valueParts, valueMatrix + at[j].min(a.keys - 1) * a.v.strides[2]));
    SmallVector<Value> next;
    for (auto [r, row] : llvm::enumerate(rows)) {
      ValueRange old = in.slice(r * stride(), stride());
      SmallVector<Value> scores;
      Value max = old[0];
      for (int64_t j = 0; j < keysEach; ++j) {
        Value sum = k.f32(0);
        for (auto [x, y] : llvm::zip(queries[r], keys[j]))
          sum = k.fma(x, y, sum);
        for (int64_t mask = keyLanes / 2; mask; mask /= 2)
          sum = cpu::fadd(k, sum, k.shuffleXor(sum, mask));
        Value s = a.ifVisible(a.score(sum, batch, row.head, row.query, at[j]), row.query, at[j]);
        scores.push_back(k.select(at[j] < high, s, k.f32(-INFINITY)));
        max = a.larger(max, scores.back());
      }
      Value base = a.base(max), shrink = a.exp(cpu::fsub(k, old[0], base)), total = cpu::fmul(k, old[1], shrink);
      SmallVector<Value> sums;
      for (Value sum : old.drop_front(2))
        sums.push_back(cpu::fmul(k, sum, shrink));
      for (int64_t j = 0; j < keysEach; ++j) {
        Value weight = a.exp(cpu::fsub(k, scores[j], base));
        total = cpu::fadd(k, total, weight);
        for (auto [sum, value] : llvm::zip(sums, values[j]))
          sum = k.fma(weight, value, sum);
      }
      next.append({max, total});
      next.append(sums);
    }
    return next;
  }

  /// Adds the states of the lanes whose numbers differ in `mask`.
  SmallVector<Value> combineLanes(ArrayRef<Value> state, int64_t mask) {
    SmallVector<Value> next;
    for (int64_t r = 0; r < splits.rows; ++r) {
      ArrayRef<Value> own = state.slice(r * stride(), stride());
      Value max = a.larger(own[0], k.shuffleXor(own[0], mask));
      Value shrink = a.exp(cpu::fsub(k, own[0], a.base(max)));
      next.push_back(max);
      for (Value v : own.drop_front()) {
        Value mine = cpu::fmul(k, v, shrink);
        next.push_back(cpu::fadd(k, mine, k.shuffleXor(mine, mask)));
      }
    }
    return next;
  }

  /// Adds the states of all warps and writes them as the part of the split.
  void combineWarps(ArrayRef<Value> state, Ix split) {
    int64_t head = valueParts.head, warps = threads / warpSize, count = splits.rows;
    k.ifThen(k.thread % warpSize < k.c(keyLanes), [&] {
      for (int64_t r = 0; r < count; ++r) {
        ArrayRef<Value> own = state.slice(r * stride(), stride());
        Ix line = warp * count + r;
        k.ifThen(lane == 0, [&] {
          k.store(extremeMemory, line * 2, own[0]);
          k.store(extremeMemory, line * 2 + 1, own[1]);
        });
        for (int64_t i = 0; i < valueParts.vectors; ++i) {
          Ix at = valueParts.at(lane, i);
          auto store = [&] { k.storeLanes(sumMemory, line * head + at, own.slice(2 + i * valueParts.lanes, valueParts.lanes)); };
          if (valueParts.isWhole(i))
            store();
          else
            k.ifThen(at < k.c(head), store);
        }
      }
    });
    k.barrier();
    for (int64_t r = 0; r < int64_t(rows.size()); ++r) {
      auto &row = rows[r];
      Value max = k.f32(-INFINITY), total = k.f32(0);
      SmallVector<Value> maxima, factors;
      for (int64_t w = 0; w < warps; ++w) {
        maxima.push_back(k.load(extremeMemory, k.c((w * count + r) * 2)));
        max = a.larger(max, maxima.back());
      }
      for (int64_t w = 0; w < warps; ++w) {
        factors.push_back(a.exp(cpu::fsub(k, maxima[w], a.base(max))));
        total = k.fma(k.load(extremeMemory, k.c((w * count + r) * 2 + 1)), factors[w], total);
      }
      Ix place = ((batch * k.dim(a.q.dims[1]) + row.head) * a.queries + row.query) * k.dim(splits.count) + split;
      k.ifThen(row.exists, [&] {
        k.ifThen(k.thread == 0, [&] {
          k.store(extremes, place * 2, max);
          k.store(extremes, place * 2 + 1, total);
        });
        k.loop(k.thread, k.c(head), threads, [&](Ix d) {
          Value sum = k.f32(0);
          for (int64_t w = 0; w < warps; ++w)
            sum = k.fma(k.load(sumMemory, d + (w * count + r) * head), factors[w], sum);
          k.store(sums, place * head + d, sum);
        });
      });
    }
  }

  Kernel k;
  Attention a;
  const Splits &splits;
  Components keyParts, valueParts; // queries have the components of keys
  Buffer sums, extremes, sumMemory, extremeMemory;
  Ix batch, warp, lane, high, keyMatrix, valueMatrix;
  SmallVector<RowOf> rows;
  SmallVector<SmallVector<Value>> queries;
};

/// Adds up the parts of a query: a thread has a component.
void emitCombine(nn::AttentionOp op, Lowering &l, const Splits &splits, const TempTensor &sums, const TempTensor &extremes,
                 nn::Dim when) {
  int64_t head = l.dims(op.getV())[3].value();
  Kernel k(l, op, "attention_combine", llvm::alignTo(head, warpSize));
  Attention a(op, l, k);
  Heads out = a.result();
  Buffer sumBuffer = k.read(sums), extremeBuffer = k.read(extremes);
  SmallVector<Ix> at = k.delinearize(k.block, ArrayRef(out.dims).drop_back());
  Ix first = k.block * k.dim(splits.count), count = k.dim(splits.count);
  k.ifThen(k.thread < k.c(head), [&] {
    Value max = k.loop(k.c(0), count, 1, {k.f32(-INFINITY)}, [&](Ix s, ValueRange in) {
      return SmallVector<Value>{a.larger(in[0], k.load(extremeBuffer, (first + s) * 2))};
    })[0];
    Value base = a.base(max);
    SmallVector<Value> total = k.loop(k.c(0), count, 1, {k.f32(0), k.f32(0)}, [&](Ix s, ValueRange in) {
      Value factor = a.exp(cpu::fsub(k, k.load(extremeBuffer, (first + s) * 2), base));
      Value sum = k.fma(k.load(sumBuffer, (first + s) * head + k.thread), factor, in[0]);
      return SmallVector<Value>{sum, k.fma(k.load(extremeBuffer, (first + s) * 2 + 1), factor, in[1])};
    });
    Ix row = out.matrix(at[0], at[1]) + at[2] * out.strides[2];
    Value r = k.fromFloat(a.normalized(total[0], total[1]), out.buffer.valueType);
    k.store(out.buffer, row + k.thread * out.strides[3], r);
  });
  nn::Dim queries = l.product(out.dims, 0, 3);
  k.bytes = queries * splits.count * ((head + 2) * 4);
  k.launch(queries * when);
}

} // namespace

void emitFewQueries(nn::AttentionOp op, Lowering &l, nn::Dim when) {
  Splits splits(op, l);
  Type f32 = Float32Type::get(op.getContext());
  const nn::Dims dims = l.dims(op.getResult());
  // Not needed where there are more queries.
  nn::Dim parts = dims[0] * dims[1] * dims[2].min(l.c(maxFewQueries)) * splits.count;
  TempTensor sums = l.temp(f32, {parts, dims[3]}), extremes = l.temp(f32, {parts, l.c(2)});
  Part(op, l, splits, sums, extremes).emit(when);
  emitCombine(op, l, splits, sums, extremes, when);
}

} // namespace nnopt::cuda
