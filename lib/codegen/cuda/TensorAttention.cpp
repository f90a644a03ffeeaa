//===- TensorAttention.cpp - attention of many queries on tensor cores ------===//
//
// One pass over the keys with a running maximum, whose scores never leave the registers (Dao 2023, "FlashAttention-2"): a
// warp has some queries with all of their sums, a block the queries of some warps, which share tiles of keys and values in
// shared memory. While a tile is multiplied, the next one is copied.
//
// What a lane has of a product's sums (Mma.h) are the words that it needs of a left operand: two pieces of scores, 8 keys
// wide, are one piece of weights of 16-bit elements. Of tf32, one piece is one, with keys in another order: the lane's two
// neighbours are its first and fifth element, so that values are taken in that order, too.
//
//===----------------------------------------------------------------------===//

#include "dialects/nn/Precision.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Attention.h"
#include "lib/codegen/cuda/TensorContraction.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t maxHead = 256, chunkBytes = 16, stages = 2;

/// What products of queries, keys and weights multiply; nothing where tensor cores do not.
std::optional<MmaTypes> typesOf(nn::AttentionOp op, Lowering &l) {
  auto typeOf = [&](Value v) { return l.shapes.info(v).elementType; };
  // tf32 has more bits than bf16, to which products of f32 may be rounded.
  bool tf32 = l.options.tf32 || op->hasAttr(nn::kBf16Products) || op->hasAttr(nn::kTf32Products);
  if (typeOf(op.getV()) != typeOf(op.getK()))
    return std::nullopt;
  std::optional<MmaTypes> types = mmaTypes(typeOf(op.getQ()), typeOf(op.getK()), tf32);
  return types && !types->isInteger() ? types : std::nullopt;
}

/// Bytes from row to row in shared memory: whole steps of an instruction, and a chunk so that the rows of a matrix that is
/// loaded (ldmatrix) lie in different banks: their distance is an odd number of chunks.
int64_t pitchOf(int64_t components, int64_t elementBytes) {
  return llvm::alignTo(components * elementBytes, 16 * elementBytes) + chunkBytes;
}

/// How the work is divided.
struct Shape {
  int64_t warps = 0, pieces = 1; // of 16 queries, of a warp
  int64_t keys = 0;              // of a tile
  int64_t queries() const { return warps * pieces * MmaTypes::rows; }

  /// No warps: there is not enough shared memory.
  Shape(nn::AttentionOp op, Lowering &l, const MmaTypes &types) {
    const Machine &machine = machineOf(l);
    const nn::Dims &q = l.dims(op.getQ());
    int64_t head = q[3].value(), valueHead = l.dims(op.getV())[3].value(), bytes = types.elementBytes();
    nn::Dim heads = q[0] * q[1];
    auto blocks = [&](int64_t queries) -> int64_t {
      if (!heads.isConst() || !q[2].isConst())
        return std::numeric_limits<int64_t>::max();
      return heads.value() * int64_t(llvm::divideCeil(q[2].value(), queries));
    };
    // Registers hold a piece's sums of values, which are as many as half of the components, and the scores of a tile.
    keys = valueHead > 128 || head * bytes > 256 ? 32 : 64;
    auto sharedBytes = [&](int64_t warps) {
      int64_t keyBytes = pitchOf(head, bytes), rows = stages * keys;
      return (warps * pieces * MmaTypes::rows + rows) * keyBytes + rows * pitchOf(valueHead, bytes);
    };
    for (; keys >= 16; keys /= 2)
      for (int64_t count : {8, 4, 2, 1}) {
        bool fills = count == 1 || blocks(count * MmaTypes::rows) >= machine.multiprocessors;
        if (!fills || sharedBytes(count) > machine.blockSharedBytes)
          continue;
        warps = count;
        // Twice the queries of a warp halve what it loads of keys and values.
        if (count == 8 && valueHead <= 64 && head * bytes <= 128) {
          warps = 4;
          pieces = 2;
        }
        return;
      }
  }
};

/// Rows of keys, values or queries in shared memory, in some stages.
class Rows {
public:
  Rows(Kernel &k, const Heads &from, int64_t rows, int64_t elementBytes, int64_t stages)
      : pitch(pitchOf(from.head(), elementBytes)), k(k), from(from), rows(rows),
        chunks(from.head() * elementBytes / chunkBytes) {
    // Steps of an instruction are two chunks: the products of the last one are zeros where rows have an odd number.
    filled = llvm::alignTo(chunks, 2);
    memory = k.shared(k.b.getI8Type(), stages * rows * pitch);
  }

  /// Begins to copy the rows from `first` of a head's matrix to a stage, zeros from `end` on.
  void fill(Ix stage, Ix matrix, Ix first, Ix end) {
    for (int64_t i = 0; i < llvm::divideCeil(rows * filled, k.threads); ++i) {
      Ix number = k.thread + i * k.threads, row = number / filled, chunk = number % filled;
      auto copy = [&] {
        Ix at = first + row;
        Value inside = at < end;
        if (filled != chunks)
          inside = k.land(inside, chunk < k.c(chunks));
        Value source = k.ptrAdd(from.buffer.ptr, matrix + at * from.strides[2] + chunk * from.lanes, from.buffer.storageType);
        copyAsync(k, address(stage, row * pitch + chunk * chunkBytes), source, chunkBytes, inside);
      };
      if ((i + 1) * k.threads > rows * filled)
        k.ifThen(number < k.c(rows * filled), copy);
      else
        copy();
    }
  }

  /// Where a byte of a stage is.
  Value address(Ix stage, Ix offset) { return k.ptrAdd(memory.ptr, stage * (rows * pitch) + offset, memory.storageType); }

  const int64_t pitch;

private:
  Kernel &k;
  const Heads &from;
  int64_t rows, chunks, filled;
  Buffer memory;
};

class Emission {
public:
  Emission(nn::AttentionOp op, Lowering &l, const MmaTypes &types, const Shape &shape)
      : k(l, op, "tensor_attention_" + types.text(), shape.warps * warpSize), a(op, l, k), out(a.result()), types(types),
        shape(shape), pieces(shape.pieces), keyTiles(shape.keys / MmaTypes::columns),
        valueTiles(llvm::divideCeil(a.v.head(), MmaTypes::columns)),
        depthSteps(llvm::divideCeil(a.q.head() * types.elementBytes(), MmaTypes::depthBytes)),
        queryRows(k, a.q, shape.queries(), types.elementBytes(), 1), keyRows(k, a.key, shape.keys, types.elementBytes(), stages),
        valueRows(k, a.v, shape.keys, types.elementBytes(), stages) {
    double scale = op.getScale().convertToDouble();
    scaleLater = !op.getMask() && op.getSoftcap().convertToDouble() <= 0 && scale > 0;
    constexpr double log2e = 1.4426950408889634;
    factor = k.f32(scaleLater ? scale * log2e : log2e);
  }

  /// Launches it if `when` is 1.
  void emit(nn::Dim when) {
    Lowering &l = a.l;
    k.letNextLaunchBegin();
    nn::Dim blocks = a.q.dims[2].ceilDiv(l.c(shape.queries()));
    Ix heads = k.dim(a.q.dims[1]), rest = k.block / k.dim(blocks);
    head = rest % heads, batch = rest / heads;
    // Of causal attentions, the last queries have most keys: they begin first.
    Ix first = (k.dim(blocks) - 1 - k.block % k.dim(blocks)) * shape.queries();
    Ix keyHead = head / (heads / k.dim(a.key.dims[1])), end = (first + shape.queries()).min(a.queries);
    lane = k.thread % warpSize;
    Ix warpRow = k.thread / warpSize * (pieces * MmaTypes::rows);
    firstQuery = first + warpRow + lane / 4;

    Ix keyEnd = a.visible(end - 1), allVisible = a.visible(first);
    Ix keyMatrix = a.key.matrix(batch, keyHead), valueMatrix = a.v.matrix(batch, keyHead);
    auto begin = [&](Ix tile) {
      Ix at = tile * shape.keys;
      k.ifThen(at < keyEnd, [&] {
        keyRows.fill(tile % stages, keyMatrix, at, keyEnd);
        valueRows.fill(tile % stages, valueMatrix, at, keyEnd);
      });
      commitCopies(k);
    };
    queryRows.fill(k.c(0), a.q.matrix(batch, head), first, a.queries);
    begin(k.c(0));
    waitForCopies(k, 0);
    k.barrier();
    // Of the four matrices of a piece of the left operand, the first two are of the same components.
    queryPlace = (warpRow + lane % 16) * queryRows.pitch + lane / 16 * chunkBytes;
    keepsQueries = depthSteps * pieces <= 8;
    for (int64_t d = 0; keepsQueries && d < depthSteps; ++d)
      kept.push_back(takeQueries(d));

    SmallVector<Value> init(pieces * valueTiles * 4, k.f32(0));
    init.append(pieces * 2, k.f32(-INFINITY));
    init.append(pieces * 2, k.f32(0));
    Ix tiles = (keyEnd + (shape.keys - 1)) / shape.keys;
    SmallVector<Value> state = k.loop(k.c(0), tiles, 1, init, [&](Ix tile, ValueRange in) {
      waitForCopies(k, 0);
      k.barrier(); // all have this tile, and no one reads the last one any more
      begin(tile + 1);
      return addTile(tile % stages, tile * shape.keys, allVisible, in);
    });
    store(state);
    k.flops = a.flops();
    k.launch(a.q.dims[0] * a.q.dims[1] * blocks * when);
  }

private:
  /// The words of all pieces of queries, of one step of components.
  SmallVector<SmallVector<Value>> takeQueries(int64_t step) {
    SmallVector<SmallVector<Value>> words;
    for (int64_t p = 0; p < pieces; ++p)
      words.push_back(take(queryRows, k.c(0), queryPlace + (p * MmaTypes::rows * queryRows.pitch + step * MmaTypes::depthBytes), false));
    return words;
  }

  SmallVector<Value> take(Rows &rows, Ix stage, Ix offset, bool transposed) {
    SmallVector<Value> words = loadMatrices(k, rows.address(stage, offset), transposed);
    if (types.isTf32())
      for (Value &word : words)
        word = roundToTf32(k, word);
    return words;
  }

  Value asWord(Value f32) { return LLVM::BitcastOp::create(k.b, k.loc, k.b.getI32Type(), f32); }

  using Sums = SmallVector<std::array<Value, 4>>; // of pieces of the result

  /// Products of all queries of the warp with the keys of a stage: [piece of queries][piece of keys].
  SmallVector<Sums> products(Ix stage) {
    std::array<Value, 4> zeros;
    zeros.fill(k.f32(0));
    SmallVector<Sums> sums(pieces, Sums(keyTiles, zeros));
    // Here matrices of the same keys are neighbours.
    Ix place = (lane % 8 + lane / 16 * 8) * keyRows.pitch + lane / 8 % 2 * chunkBytes;
    for (int64_t d = 0; d < depthSteps; ++d) {
      SmallVector<SmallVector<Value>> queries = keepsQueries ? kept[d] : takeQueries(d);
      for (int64_t j = 0; j < keyTiles; j += 2) {
        SmallVector<Value> words = take(keyRows, stage, place + (j * 8 * keyRows.pitch + d * MmaTypes::depthBytes), false);
        for (int64_t p = 0; p < pieces; ++p)
          for (int64_t i = 0; i < 2; ++i)
            multiplyAdd(k, types, queries[p], ArrayRef(words).slice(2 * i, 2), sums[p][j + i]);
      }
    }
    return sums;
  }

  /// The query of sums 0 and 1 (half 0) or 2 and 3 of a piece, and the key of one of them.
  Ix queryOf(int64_t piece, int64_t half) { return firstQuery + (piece * MmaTypes::rows + half * 8); }
  Ix keyOf(Ix first, int64_t tile, int64_t i) { return first + lane % 4 * 2 + (tile * 8 + i % 2); }

  template <typename Fn> void forEachScore(SmallVector<Sums> &scores, Fn fn) {
    for (int64_t p = 0; p < pieces; ++p)
      for (int64_t j = 0; j < keyTiles; ++j)
        for (int64_t i = 0; i < 4; ++i)
          fn(scores[p][j][i], p, j, i);
  }

  /// Makes scores of products.
  void finishScores(SmallVector<Sums> &scores, Ix first, Ix allVisible) {
    if (!scaleLater)
      forEachScore(scores, [&](Value &s, int64_t p, int64_t j, int64_t i) {
        s = a.score(s, batch, head, queryOf(p, i / 2), keyOf(first, j, i));
      });
    // Few tiles have keys that a query of the block must not see.
    SmallVector<Value> all, checked;
    forEachScore(scores, [&](Value &s, int64_t, int64_t, int64_t) { all.push_back(s); });
    checked = k.ifElse(
        allVisible < first + shape.keys, SmallVector<Type>(all.size(), k.b.getF32Type()),
        [&] {
          SmallVector<Value> visible;
          SmallVector<Ix> ends;
          for (int64_t p = 0; p < pieces; ++p)
            for (int64_t half = 0; half < 2; ++half)
              ends.push_back(a.visible(queryOf(p, half)));
          forEachScore(scores, [&](Value &s, int64_t p, int64_t j, int64_t i) {
            visible.push_back(k.select(keyOf(first, j, i) < ends[2 * p + i / 2], s, k.f32(-INFINITY)));
          });
          return visible;
        },
        [&] { return all; });
    int64_t next = 0;
    forEachScore(scores, [&](Value &s, int64_t, int64_t, int64_t) { s = checked[next++]; });
  }

  Value exp2(Value v) { return math::Exp2Op::create(k.b, k.loc, v); }

  /// Adds the keys of a tile. `in`: sums of values [piece][tile of components][4], then maxima and sums of weights of the
  /// lane's keys [piece][half].
  SmallVector<Value> addTile(Ix stage, Ix first, Ix allVisible, ValueRange in) {
    SmallVector<Sums> weights = products(stage);
    finishScores(weights, first, allVisible);
    int64_t sumCount = pieces * valueTiles * 4;
    SmallVector<Value> sums(in.take_front(sumCount)), maxima, totals;
    for (int64_t p = 0; p < pieces; ++p)
      for (int64_t half = 0; half < 2; ++half) {
        Value old = in[sumCount + 2 * p + half], max = old;
        for (auto &tile : weights[p])
          for (int64_t i : {2 * half, 2 * half + 1})
            max = a.larger(tile[i], max);
        for (int64_t mask : {1, 2}) // the lanes that have the same query
          max = a.larger(max, k.shuffleXor(max, mask));
        Value base = cpu::fmul(k, a.base(max), factor);
        Value minusBase = cpu::fsub(k, k.f32(0), base);
        Value shrink = exp2(k.fma(old, factor, minusBase));
        Value total = cpu::fmul(k, in[sumCount + 2 * (pieces + p) + half], shrink);
        for (auto &tile : weights[p])
          for (int64_t i : {2 * half, 2 * half + 1}) {
            tile[i] = exp2(k.fma(tile[i], factor, minusBase));
            total = cpu::fadd(k, total, tile[i]);
          }
        for (int64_t n = 0; n < valueTiles; ++n)
          for (int64_t i : {2 * half, 2 * half + 1}) {
            Value &sum = sums[(p * valueTiles + n) * 4 + i];
            sum = cpu::fmul(k, sum, shrink);
          }
        maxima.push_back(max);
        totals.push_back(total);
      }
    types.isTf32() ? addValuesOfWords(stage, weights, sums) : addValues(stage, weights, sums);
    sums.append(maxima);
    sums.append(totals);
    return sums;
  }

  MutableArrayRef<Value> sumsOf(SmallVector<Value> &sums, int64_t piece, int64_t tile) {
    return MutableArrayRef(sums).slice((piece * valueTiles + tile) * 4, 4);
  }

  /// Adds weights times values, of 16 bits.
  void addValues(Ix stage, const SmallVector<Sums> &weights, SmallVector<Value> &sums) {
    // Values lie across the contracted dimension: rows are keys.
    Ix place = lane % 16 * valueRows.pitch + lane / 16 * chunkBytes;
    for (int64_t j = 0; j < keyTiles; j += 2) {
      SmallVector<SmallVector<Value>> left(pieces);
      for (int64_t p = 0; p < pieces; ++p)
        for (int64_t tile : {j, j + 1})
          for (int64_t half : {0, 2})
            left[p].push_back(packHalves(k, types, weights[p][tile][half], weights[p][tile][half + 1]));
      for (int64_t n = 0; n < valueTiles; n += 2) {
        SmallVector<Value> words = take(valueRows, stage, place + (j * 8 * valueRows.pitch + n * chunkBytes), true);
        for (int64_t i = 0; i < 2 && n + i < valueTiles; ++i)
          for (int64_t p = 0; p < pieces; ++p)
            multiplyAdd(k, types, left[p], ArrayRef(words).slice(2 * i, 2), sumsOf(sums, p, n + i));
      }
    }
  }

  /// The same of tf32.
  void addValuesOfWords(Ix stage, const SmallVector<Sums> &weights, SmallVector<Value> &sums) {
    constexpr int64_t wordBytes = 4;
    // Four rows that are two apart, as keys of the lanes are, lie in different eighths of the banks.
    Ix place = lane % 4 * (2 * valueRows.pitch) + lane / 4 * wordBytes;
    for (int64_t j = 0; j < keyTiles; ++j) {
      SmallVector<SmallVector<Value>> left(pieces);
      for (int64_t p = 0; p < pieces; ++p)
        for (int64_t i : {0, 2, 1, 3})
          left[p].push_back(roundToTf32(k, asWord(weights[p][j][i])));
      for (int64_t n = 0; n < valueTiles; ++n) {
        SmallVector<Value> right;
        for (int64_t i = 0; i < 2; ++i) {
          Ix at = place + ((j * 8 + i) * valueRows.pitch + n * 8 * wordBytes);
          right.push_back(roundToTf32(k, k.loadAt(valueRows.address(stage, at), k.c(0), k.b.getI32Type(), wordBytes)));
        }
        for (int64_t p = 0; p < pieces; ++p)
          multiplyAdd(k, types, left[p], right, sumsOf(sums, p, n));
      }
    }
  }

  void store(ArrayRef<Value> state) {
    int64_t sumCount = pieces * valueTiles * 4, valueHead = a.v.head();
    bool pairs = out.lanes > 1;
    for (int64_t p = 0; p < pieces; ++p)
      for (int64_t half = 0; half < 2; ++half) {
        Value total = state[sumCount + 2 * (pieces + p) + half];
        for (int64_t mask : {1, 2})
          total = cpu::fadd(k, total, k.shuffleXor(total, mask));
        Ix query = queryOf(p, half);
        k.ifThen(query < a.queries, [&] {
          Ix row = out.matrix(batch, head) + query * out.strides[2];
          for (int64_t n = 0; n < valueTiles; ++n) {
            SmallVector<Value> values;
            for (int64_t i : {0, 1})
              values.push_back(k.fromFloat(a.normalized(state[(p * valueTiles + n) * 4 + 2 * half + i], total), out.buffer.valueType));
            Ix column = lane % 4 * 2 + n * 8;
            auto put = [&] {
              if (pairs)
                return k.storeLanes(out.buffer, row + column, values);
              k.store(out.buffer, row + column * out.strides[3], values[0]);
              k.store(out.buffer, row + (column + 1) * out.strides[3], values[1]);
            };
            if ((n + 1) * 8 > valueHead) // which is even: rows have whole chunks
              k.ifThen(column < k.c(valueHead), put);
            else
              put();
          }
        });
      }
  }

  Kernel k;
  Attention a;
  Heads out;
  MmaTypes types;
  Shape shape;
  int64_t pieces, keyTiles, valueTiles, depthSteps;
  Rows queryRows, keyRows, valueRows;
  bool scaleLater, keepsQueries = false; // scores are scaled in the exponential
  Value factor;                          // of exponents of 2
  Ix lane, batch, head, firstQuery, queryPlace;
  SmallVector<SmallVector<SmallVector<Value>>> kept; // words of queries, where there are registers for all
};

} // namespace

bool isForTensorCores(nn::AttentionOp op, Lowering &l) {
  std::optional<MmaTypes> types = typesOf(op, l);
  if (!types)
    return false;
  // Rows are copied in whole chunks.
  for (unsigned operand = 0; operand < 3; ++operand)
    if (nn::Dim head = l.dims(op->getOperand(operand))[3];
        componentLanes(l, op->getOpOperand(operand)) == 1 || head.value() > maxHead)
      return false;
  return Shape(op, l, *types).warps > 0;
}

void emitOnTensorCores(nn::AttentionOp op, Lowering &l, nn::Dim when) {
  MmaTypes types = *typesOf(op, l);
  Emission(op, l, types, Shape(op, l, types)).emit(when);
}

} // namespace nnopt::cuda
