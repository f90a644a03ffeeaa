//===- Attention.cpp - attention row by row and tiled --------------------------===//
//
// softmax(scale * q k^T + mask) v. The fast kernel takes a tile of query rows of one head: its scores
// against all keys the tile may see stay in memory of the thread (L1 for usual lengths), become
// probabilities there, and multiply the values. Keys are packed once per head and thread.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/contraction/Reference.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// What both kernels share.
struct Attention {
  Kernel &k;
  nn::AttentionOp op;
  nn::Dim batch, heads, queries, keyHeads, keys, width, valueWidth;
  Buffer q, keyBuffer, value, out;
  std::optional<Buffer> mask;
  Type type; // scores and sums

  Attention(Kernel &k, nn::AttentionOp op) : k(k), op(op) {
    Lowering &l = k.lowering;
    const nn::Dims qd = l.dims(op.getQ()), kd = l.dims(op.getK()), vd = l.dims(op.getV());
    batch = qd[0];
    heads = qd[1];
    queries = qd[2];
    width = qd[3];
    keyHeads = kd[1];
    keys = kd[2];
    valueWidth = vd[3];
    q = k.read(op.getQ());
    keyBuffer = k.read(op.getK());
    value = k.read(op.getV());
    if (op.getMask())
      mask = k.read(op.getMask());
    out = k.write(op.getResult());
    type = q.valueType.isF64() ? q.valueType : Type(k.b.getF32Type());
  }

  double scale() { return op.getScale().convertToDouble(); }
  double softcap() { return op.getSoftcap().convertToDouble(); }
  Value number(double x, int64_t lanes) { return lanes ? k.constant(k.vec(lanes, type), x) : k.constant(type, x); }

  /// Keys that query row `row` may see, before masking.
  Ix visible(Ix row) {
    Ix count = k.dim(keys);
    if (!op.getCausal())
      return count;
    Ix shift = op.getCausalFromEnd() ? count - k.dim(queries) : k.c(0);
    return (row + shift + 1).max(k.c(0)).min(count);
  }

  /// First element of the mask for a query, and the distance of neighbouring keys (0 or 1).
  struct MaskRow {
    Ix offset, step;
  };
  MaskRow maskRow(Ix image, Ix head, Ix row) {
    MaskRow result{k.c(0), k.c(0)};
    SmallVector<Ix> strides = k.strides(mask->dims);
    Ix at[] = {image, head, row};
    nn::Dim full[] = {batch, heads, queries, keys};
    size_t missing = 4 - mask->dims.size();
    for (size_t d = 0; d < mask->dims.size(); ++d) {
      nn::Dim size = mask->dims[d];
      Ix stride = size.isConst(1) ? k.c(0) : strides[d];
      if (!size.isConst(1) && size != full[missing + d])
        stride = k.selectIx(k.dim(size) == 1, k.c(0), stride);
      if (missing + d == 3)
        result.step = stride;
      else
        result.offset = result.offset + at[missing + d] * stride;
    }
    return result;
  }

  /// Scale, soft cap and mask of scores; `m`: the mask's elements for them, or null.
  Value adjust(Value s, Value m) {
    int64_t lanes = isa<VectorType>(s.getType()) ? cast<VectorType>(s.getType()).getNumElements() : 0;
    auto mul = [&](Value a, double b) -> Value { return arith::MulFOp::create(k.b, k.loc, a, number(b, lanes)); };
    if (scale() != 1)
      s = mul(s, scale());
    if (softcap() > 0)
      s = mul(math::TanhOp::create(k.b, k.loc, mul(s, 1 / softcap())), softcap());
    if (!m)
      return s;
    if (getElementTypeOrSelf(m.getType()).isInteger(1))
      return k.select(m, s, number(-infinity, lanes));
    return arith::AddFOp::create(k.b, k.loc, s, k.fromFloat(k.toFloat(m), s.getType()));
  }
};

} // namespace

//===----------------------------------------------------------------------===//
// Reference
//===----------------------------------------------------------------------===//

/// One query row at a time: its scores are kept in memory of the thread.
static LogicalResult emitRows(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::AttentionOp>(operation);
  Kernel k(lowering, op, "attention_rows");
  Attention a(k, op);
  Type type = a.type;
  int64_t bytes = type.getIntOrFloatBitWidth() / 8;
  Buffer scores = k.at(k.scratch(a.keys * bytes), type);
  Buffer sums = k.at(k.scratch(a.valueWidth * bytes), type);
  Ix width = k.dim(a.width), valueWidth = k.dim(a.valueWidth), keyCount = k.dim(a.keys);

  k.loop(k.begin, k.end, 1, [&](Ix task) {
    SmallVector<Ix> at = k.delinearize(task, {a.batch, a.heads, a.queries});
    Ix keyHead = at[1] / (k.dim(a.heads) / k.dim(a.keyHeads).max(k.c(1)));
    Ix qRow = task * width;
    Ix matrix = (at[0] * k.dim(a.keyHeads) + keyHead) * keyCount;
    Ix keyMatrix = matrix * width, valueMatrix = matrix * valueWidth;
    Ix visible = a.visible(at[2]);
    Attention::MaskRow maskRow{k.c(0), k.c(0)};
    if (a.mask)
      maskRow = a.maskRow(at[0], at[1], at[2]);

    Value largest = k.loop(k.c(0), visible, 1, {a.number(-infinity, 0)}, [&](Ix j, ValueRange in) {
      Value s = dotProduct(k, a.q, qRow, k.c(1), a.keyBuffer, keyMatrix + j * width, k.c(1), width, a.number(0, 0));
      s = a.adjust(s, a.mask ? k.load(*a.mask, maskRow.offset + j * maskRow.step) : Value());
      k.store(scores, j, s);
      return SmallVector<Value>{arith::MaximumFOp::create(k.b, k.loc, in[0], s)};
    })[0];
    Value total = k.loop(k.c(0), visible, 1, {a.number(0, 0)}, [&](Ix j, ValueRange in) {
      Value shifted = arith::SubFOp::create(k.b, k.loc, k.load(scores, j), largest);
      Value e = math::ExpOp::create(k.b, k.loc, shifted);
      k.store(scores, j, e);
      return SmallVector<Value>{arith::AddFOp::create(k.b, k.loc, in[0], e)};
    })[0];
    k.loop(k.c(0), valueWidth, 1, [&](Ix d) { k.store(sums, d, a.number(0, 0)); });
    k.loop(k.c(0), visible, 1, [&](Ix j) {
      Value p = k.load(scores, j);
      k.loop(k.c(0), valueWidth, 1, [&](Ix d) {
        Value x = loadAs(k, a.value, valueMatrix + j * valueWidth + d, type);
        k.store(sums, d, multiplyAdd(k, p, x, k.load(sums, d)));
      });
    });
    k.loop(k.c(0), valueWidth, 1, [&](Ix d) {
      Value y = arith::DivFOp::create(k.b, k.loc, k.load(sums, d), total);
      k.store(a.out, task * valueWidth + d, k.fromFloat(y, a.out.valueType));
    });
  });
  k.flops = a.batch * a.heads * a.queries * a.keys * (a.width + a.valueWidth) * 2;
  double work = double(constantDim(a.keys).value_or(128)) * constantDim(a.width).value_or(64);
  k.grain = taskGrain(40 * work, 0);
  lowering.launch(k, a.batch * a.heads * a.queries);
  return success();
}

//===----------------------------------------------------------------------===//
// Tiled
//===----------------------------------------------------------------------===//

namespace {

/// Query rows up to which packing the keys does not pay.
constexpr int64_t fewRows = 2;

struct TiledAttention : Attention {
  Tile tile;
  Value packed, scores; // keys as panels; a tile's scores
  Ix pitch;             // of scores
  int64_t headWidth, valueWidthConst;

  TiledAttention(Kernel &k, nn::AttentionOp op, Tile tile)
      : Attention(k, op), tile(tile), headWidth(width.value()), valueWidthConst(valueWidth.value()) {}

  int64_t lanes() const { return tile.lanes; }
  Type f32() { return k.b.getF32Type(); }
  VectorType vector() { return k.vec(lanes(), f32()); }

  Value maskVector(const MaskRow &row, Ix column, Value inside);
  void storeScores(ValueRange acc, ArrayRef<MaskRow> maskRows, ArrayRef<Ix> limits, Ix column, bool checked);
  Value softmaxRow(Ix row, Ix width);
  void run(Ix image, Ix head, Ix firstRow, Value values);
  void runFew(Ix image, Ix head, Ix row, Value keysAt, Value values);
};

/// Mask elements of `lanes` keys from `column`; `inside`: keys that exist (null: all).
Value TiledAttention::maskVector(const MaskRow &row, Ix column, Value inside) {
  auto all = [&] {
    return inside ? k.loadMasked(*mask, row.offset + column, lanes(), inside)
                  : k.load(*mask, row.offset + column, lanes());
  };
  auto one = [&] { return k.splat(k.load(*mask, row.offset), lanes()); };
  if (std::optional<int64_t> step = row.step.constant())
    return *step ? all() : one();
  return k.ifElse(
      row.step == 0, {k.vec(lanes(), mask->valueType)}, [&] { return SmallVector<Value>{one()}; },
      [&] { return SmallVector<Value>{all()}; })[0];
}

/// Writes a tile of scores from key `column` on; keys that a row may not see get -infinity.
void TiledAttention::storeScores(ValueRange acc, ArrayRef<MaskRow> maskRows, ArrayRef<Ix> limits, Ix column,
                                 bool checked) {
  for (size_t i = 0; i < limits.size(); ++i) {
    for (int64_t j = 0; j < tile.nv; ++j) {
      Ix at = column + j * lanes();
      Value inside = checked ? k.mask(limits[i] - at, lanes()) : Value();
      Value s = adjust(acc[i * tile.nv + j], mask ? maskVector(maskRows[i], at, inside) : Value());
      if (inside)
        s = k.select(inside, s, number(-infinity, lanes()));
      k.storeAt(scores, pitch * int64_t(i) + at, s);
    }
  }
}

/// Turns `width` scores of a row, a multiple of the vector width, into e^(s - max); returns their sum.
Value TiledAttention::softmaxRow(Ix row, Ix width) {
  Value start = k.ptrAdd(scores, pitch * row, f32());
  Value largest = k.loop(k.c(0), width, lanes(), {number(-infinity, lanes())}, [&](Ix j, ValueRange in) {
    Value s = k.loadAt(start, j, vector());
    return SmallVector<Value>{arith::MaxNumFOp::create(k.b, k.loc, in[0], s)};
  })[0];
  Value top = vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::MAXNUMF, largest);
  Value shift = k.splat(top, lanes());
  Value sums = k.loop(k.c(0), width, lanes(), {number(0, lanes())}, [&](Ix j, ValueRange in) {
    Value s = arith::SubFOp::create(k.b, k.loc, k.loadAt(start, j, vector()), shift);
    Value e = math::ExpOp::create(k.b, k.loc, s);
    k.storeAt(start, j, e);
    return SmallVector<Value>{arith::AddFOp::create(k.b, k.loc, in[0], e)};
  })[0];
  return vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::ADD, sums, number(0, 0),
                                     arith::FastMathFlags::reassoc);
}

/// A tile of query rows. Past the last row the last one is computed again and not stored.
void TiledAttention::run(Ix image, Ix head, Ix firstRow, Value values) {
  Ix rowCount = k.dim(queries), nr = k.c(tile.nr());
  Ix headRows = (image * k.dim(heads) + head) * rowCount;
  SmallVector<Ix> limits;
  SmallVector<MaskRow> maskRows;
  Accumulate scoreTile;
  for (int64_t i = 0; i < tile.mr; ++i) {
    Ix row = (firstRow + i).min(rowCount - 1);
    scoreTile.rows.push_back(k.ptrAdd(q.ptr, (headRows + row) * headWidth, f32()));
    limits.push_back(visible(row));
    if (mask)
      maskRows.push_back(maskRow(image, head, row));
  }
  // Later rows see more keys.
  Ix least = limits.front(), most = limits.back();
  Ix panels = (most + (tile.nr() - 1)) / tile.nr();
  scoreTile.element = f32();
  scoreTile.nv = tile.nv;
  scoreTile.lanes = lanes();
  scoreTile.depth = k.c(headWidth);
  k.loop(k.c(0), panels, 1, [&](Ix panel) {
    Accumulate inner = scoreTile;
    inner.panel = k.ptrAdd(packed, panel * (headWidth * tile.nr()), f32());
    SmallVector<Value> acc(tile.mr * tile.nv, number(0, lanes()));
    acc = emitAccumulate(k, inner, acc);
    Ix column = panel * tile.nr();
    k.ifThen((column + nr) <= least, [&] { storeScores(acc, maskRows, limits, column, false); },
             [&] { storeScores(acc, maskRows, limits, column, true); });
  });
  Ix padded = panels * tile.nr();
  Value sums = k.ptrAdd(scores, pitch * tile.mr, f32());
  k.loop(k.c(0), k.c(tile.mr), 1, [&](Ix i) {
    Value inverse = arith::DivFOp::create(k.b, k.loc, number(1, 0), softmaxRow(i, padded));
    k.storeAt(sums, i, inverse);
  });

  for (int64_t d = 0; d < valueWidthConst; d += tile.nr()) {
    Accumulate inner;
    inner.element = f32();
    inner.lanes = lanes();
    inner.nv = std::min<int64_t>(tile.nv, llvm::divideCeil(valueWidthConst - d, lanes()));
    inner.depth = most;
    inner.panel = k.ptrAdd(values, k.c(d), f32());
    inner.pitch = k.c(valueWidthConst);
    inner.aligned = false;
    SmallVector<Value> masks(inner.nv);
    if (int64_t rest = valueWidthConst - d; rest < inner.nv * lanes())
      masks.back() = k.mask(k.c(rest % lanes()), lanes());
    inner.masks = masks;
    for (int64_t i = 0; i < tile.mr; ++i)
      inner.rows.push_back(k.ptrAdd(scores, pitch * i, f32()));
    SmallVector<Value> acc(tile.mr * inner.nv, number(0, lanes()));
    acc = emitAccumulate(k, inner, acc);
    for (int64_t i = 0; i < tile.mr; ++i) {
      auto store = [&] {
        Value factor = k.splat(k.loadAt(sums, k.c(i), f32()), lanes());
        for (int64_t j = 0; j < inner.nv; ++j) {
          Value y = arith::MulFOp::create(k.b, k.loc, acc[i * inner.nv + j], factor);
          Ix at = (headRows + firstRow + i) * valueWidthConst + (d + j * lanes());
          if (masks[j])
            k.storeMasked(out, at, y, masks[j]);
          else
            k.store(out, at, y);
        }
      };
      if (i == 0)
        store();
      else
        k.ifThen((firstRow + i) < rowCount, store);
    }
  }
}

/// One query row without packed keys: a decoding step reads keys and values once.
void TiledAttention::runFew(Ix image, Ix head, Ix row, Value keysAt, Value values) {
  Ix headRow = (image * k.dim(heads) + head) * k.dim(queries) + row;
  Ix limit = visible(row);
  MaskRow masked{k.c(0), k.c(0)};
  if (mask)
    masked = maskRow(image, head, row);
  Buffer keyRows = k.at(keysAt, f32());
  k.loop(k.c(0), limit, 1, [&](Ix j) {
    Value s = dotProduct(k, q, headRow * headWidth, k.c(1), keyRows, j * headWidth, k.c(1), k.c(headWidth), number(0, 0));
    k.storeAt(scores, j, adjust(s, mask ? k.load(*mask, masked.offset + j * masked.step) : Value()));
  });
  Ix padded = (limit + (lanes() - 1)) / lanes() * lanes();
  k.loop(limit, padded, 1, [&](Ix j) { k.storeAt(scores, j, number(-infinity, 0)); });
  Value inverse = arith::DivFOp::create(k.b, k.loc, number(1, 0), softmaxRow(k.c(0), padded));
  for (int64_t d = 0; d < valueWidthConst; d += tile.nr()) {
    int64_t nv = std::min<int64_t>(tile.nv, llvm::divideCeil(valueWidthConst - d, lanes()));
    SmallVector<Value> masks(nv), acc(nv, number(0, lanes()));
    if (int64_t rest = valueWidthConst - d; rest < nv * lanes())
      masks.back() = k.mask(k.c(rest % lanes()), lanes());
    Accumulate inner;
    inner.element = f32();
    inner.lanes = lanes();
    inner.nv = nv;
    inner.depth = limit;
    inner.panel = k.ptrAdd(values, k.c(d), f32());
    inner.pitch = k.c(valueWidthConst);
    inner.aligned = false;
    inner.masks = masks;
    inner.rows = {scores};
    acc = emitAccumulate(k, inner, acc);
    for (int64_t j = 0; j < nv; ++j) {
      Value y = arith::MulFOp::create(k.b, k.loc, acc[j], k.splat(inverse, lanes()));
      Ix at = headRow * valueWidthConst + (d + j * lanes());
      if (masks[j])
        k.storeMasked(out, at, y, masks[j]);
      else
        k.store(out, at, y);
    }
  }
}

} // namespace

static bool matchTiled(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::AttentionOp>(operation);
  for (Value v : {op.getQ(), op.getK(), op.getV()}) {
    if (!lowering.shapes.info(v).elementType.isF32() || !lowering.dims(v)[3].isConst())
      return false;
  }
  // The number of query heads per key head has to be known to be exact.
  nn::Dim heads = lowering.dims(op.getQ())[1], keyHeads = lowering.dims(op.getK())[1];
  return lowering.dims(op.getQ())[3].value() > 0 && (heads == keyHeads || (heads.isConst() && keyHeads.isConst()));
}

static LogicalResult emitTiled(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::AttentionOp>(operation);
  const nn::Dims q = lowering.dims(op.getQ()), keysDims = lowering.dims(op.getK());
  TileQuery query;
  query.rows = constantDim(q[2]);
  query.columns = constantDim(keysDims[2]);
  query.depth = q[3].value();
  query.maxRows = 8;
  Tile tile = chooseTile(lowering.target, query);
  // Both products use the tile; the second is as wide as a head.
  if (lowering.target.vectorRegisters >= 32) {
    tile.nv = std::max<int64_t>(tile.nv, std::min<int64_t>(4, llvm::divideCeil(*query.depth, tile.lanes)));
    while (tile.mr > 1 && tile.mr * tile.nv + tile.nv + 1 > lowering.target.vectorRegisters)
      --tile.mr;
  }

  Kernel k(lowering, op, "attention_" + dimText(q[1]) + "x" + dimText(q[2]) + "x" + dimText(keysDims[2]) + "x" + dimText(q[3]));
  TiledAttention a(k, op, tile);
  nn::Dim paddedKeys = a.keys.ceilDiv(lowering.c(tile.nr())) * tile.nr();
  nn::Dim pitch = paddedKeys + tile.lanes; // a line more: rows do not share cache sets
  a.packed = k.scratch(paddedKeys * (a.headWidth * 4));
  a.scores = k.scratch((pitch * tile.mr + tile.lanes) * 4);
  a.pitch = k.dim(pitch);

  // Task: (image, key head, query head of the group, tile of rows).
  int64_t group = a.heads == a.keyHeads ? 1 : a.heads.value() / a.keyHeads.value();
  nn::Dim rowTiles = a.queries.ceilDiv(lowering.c(tile.mr)), perHead = rowTiles * group;
  Ix tasks = k.dim(perHead), keyHeads = k.dim(a.keyHeads), keyCount = k.dim(a.keys);
  bool maybeFew = !a.queries.isAtLeast(fewRows + 1), alwaysFew = a.queries.isConst() && a.queries.value() <= fewRows;
  k.loop(k.begin / tasks, (k.end - 1).max(k.begin) / tasks + 1, 1, [&](Ix segment) {
    Ix image = segment / keyHeads, keyHead = segment % keyHeads;
    Ix low = (k.begin - segment * tasks).max(k.c(0)), high = (k.end - segment * tasks).min(tasks);
    Value keysAt = k.ptrAdd(a.keyBuffer.ptr, segment * keyCount * a.headWidth, a.f32());
    Value values = k.ptrAdd(a.value.ptr, segment * keyCount * a.valueWidthConst, a.f32());
    auto forTasks = [&](function_ref<void(Ix, Ix)> body) {
      k.loop(low, high, 1, [&](Ix task) {
        Ix head = keyHead * group + (group == 1 ? k.c(0) : task / k.dim(rowTiles));
        body(head, (group == 1 ? task : task % k.dim(rowTiles)) * tile.mr);
      });
    };
    auto few = [&] {
      forTasks([&](Ix head, Ix firstRow) {
        k.loop(firstRow, (firstRow + tile.mr).min(k.dim(a.queries)), 1,
               [&](Ix row) { a.runFew(image, head, row, keysAt, values); });
      });
    };
    auto many = [&] {
      k.loop(k.c(0), k.dim(paddedKeys) / tile.nr(), 1, [&](Ix panel) {
        PanelAt at;
        at.column = panel * tile.nr();
        at.nv = tile.nv;
        // Any mask: columns past the end are clamped.
        at.masks.assign(at.nv, paddedKeys == a.keys ? Value() : k.mask(k.c(1), tile.lanes));
        packPanel(k, keysAt, k.c(a.headWidth), keyCount, /*transposed=*/true,
                  k.ptrAdd(a.packed, panel * (a.headWidth * tile.nr()), a.f32()), at, tile.lanes, a.f32());
      });
      forTasks([&](Ix head, Ix firstRow) { a.run(image, head, firstRow, values); });
    };
    if (alwaysFew)
      few();
    else if (!maybeFew)
      many();
    else
      k.ifThen(k.dim(a.queries) <= k.c(fewRows), few, many);
  });

  k.flops = a.batch * a.heads * a.queries * a.keys * (a.width + a.valueWidth) * 2;
  k.bytes = (a.batch * a.heads * a.queries + a.batch * a.keyHeads * a.keys) * (a.width + a.valueWidth) * 4;
  double keyEstimate = constantDim(a.keys).value_or(256);
  k.grain = taskGrain(2.0 * tile.mr * keyEstimate * (a.headWidth + a.valueWidthConst + 40), 0);
  lowering.launch(k, a.batch * a.keyHeads * perHead);
  return success();
}

static RegisterEmitter rows({"nn.attention", "attention-rows", 0, nullptr, emitRows});
static RegisterEmitter tiled({"nn.attention", "attention-tiled", 10, matchTiled, emitTiled});

} // namespace nnopt::cpu
