//===- AttentionTiled.cpp - attention by register tiles ---------------------===//
//
// softmax(scale * q k^T + mask) v. The kernel takes a tile of query rows of one head: its scores against all
// keys the tile may see stay in memory of the thread (L1 for usual lengths), become probabilities there, and
// multiply the values. Keys are packed once per head and thread. Operands are read through the transposes
// and splits that make heads of the columns of a matrix, and a transpose that puts heads back is written
// through.
//
// Products of bf16 (`bf16_products`): keys, values, queries and probabilities are rounded while they are packed or
// computed; scores, softmax and sums stay f32.
//
// Keys and values may be bytes with a scale for each row (ByteRows.h). Few queries multiply the bytes as they are; for many they
// become floats where keys are packed, and values copied, once per head.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/contraction/Attention.h"
#include "lib/codegen/cpu/contraction/ByteRows.h"
#include "lib/codegen/cpu/contraction/Pairs.h"
#include "lib/codegen/cpu/memory/Space.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// Query rows up to which packing the keys does not pay.
constexpr int64_t fewRows = 2;

/// A [batch, heads, rows, columns] operand or result in memory.
struct Heads {
  Value ptr;
  Ix image, head, row, column; // strides in elements

  Heads() = default;
  Heads(Kernel &k, Value buffer, nn::Dim offset, ArrayRef<nn::Dim> strides, Type type)
      : ptr(k.ptrAdd(buffer, k.dim(offset), type)), image(k.dim(strides[0])), head(k.dim(strides[1])),
        row(k.dim(strides[2])), column(k.dim(strides[3])) {}
  Ix at(Ix i, Ix h) const { return i * image + h * head; }
};

/// Keys and values of one head of an image, as floats or as bytes.
struct KeyHead {
  Value keys, values;
  std::optional<ByteRows> keyBytes, valueBytes;
};

struct TiledAttention : Attention {
  Tile tile;
  Value packed, scores; // keys as panels; a tile's scores
  Value copied;         // values with rows one after another, or null
  Value narrowQueries;  // a tile's queries in bf16, or null
  Value widened;        // a panel of keys that are bytes, as floats, or null
  Value queryRow;       // a row of q whose elements are no neighbours, in one piece, or null
  Ix pitch;             // of scores
  int64_t headWidth, valueWidthConst, bytes;
  Heads queryHeads, keyHeadsAt, valueHeads, outHeads;
  std::optional<Heads> keyScales, valueScales; // of bytes

  TiledAttention(Kernel &k, nn::AttentionOp op, Tile tile)
      : Attention(k, op, /*strided=*/true), tile(tile), headWidth(width.value()), valueWidthConst(valueWidth.value()),
        bytes(type.getIntOrFloatBitWidth() / 8) {
    queryHeads = read(0);
    keyHeadsAt = read(1);
    valueHeads = read(2);
    keyScales = readScales(1);
    valueScales = readScales(2);
    outHeads = write();
    scaleLater = !mask && softcap() == 0 && scale() > 0;
  }

  Heads read(unsigned operand) {
    StridedView view = readView(k.lowering, op->getOpOperand(operand));
    return Heads(k, k.read(view.base).ptr, view.offset, view.strides, elementOf(operand));
  }
  /// Of keys or values that are bytes.
  std::optional<Heads> readScales(unsigned operand) {
    nn::DequantizeOp rows = byteRowsOf(k.lowering, op->getOpOperand(operand));
    if (!rows)
      return std::nullopt;
    StridedView view = stridedView(k.lowering, rows.getScale());
    return Heads(k, k.read(view.base).ptr, view.offset, view.strides, type);
  }
  Type elementOf(unsigned operand) {
    return byteRowsOf(k.lowering, op->getOpOperand(operand)) ? Type(k.b.getI8Type()) : type;
  }
  KeyHead keyHead(Ix image, Ix head);
  Heads write();

  int64_t lanes() const { return tile.lanes; }
  VectorType vector() { return k.vec(lanes(), type); }
  /// A row's results: sums over keys times its factor, 0 where that is no number and NaN counts as 0.
  Value finish(Value acc, Value factor) {
    Value y = arith::MulFOp::create(k.b, k.loc, acc, factor);
    if (op.getEmptyRows() != nn::EmptyRows::nan_to_zero)
      return y;
    Value valid = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OLT, factor, number(infinity, lanesOf(acc)));
    return k.select(valid, y, number(0, lanesOf(acc)));
  }
  void store(Ix at, Value y, Value mask) {
    Buffer buffer = k.at(outHeads.ptr, type);
    if (mask)
      k.storeMasked(buffer, at, y, mask);
    else
      k.store(buffer, at, y);
  }

  Value maskVector(const MaskRow &row, Ix column, Value inside);
  /// A tile of query rows while its scores are computed.
  struct Rows {
    Accumulate product; // of queries and keys
    SmallVector<MaskRow> masks;
    SmallVector<Ix> limits; // keys that each row sees
  };
  void storeScores(ValueRange acc, const Rows &rows, int64_t vectors, Ix column, ArrayRef<bool> checked);
  void scorePanel(const Rows &rows, Ix panel, int64_t vectors);
  /// Whether tiles multiply bf16.
  bool canNarrow() const;
  Value softmaxRow(Ix row, Ix width, bool narrow);
  Accumulate valueSums(Ix depth, Value values, Ix rowPitch, int64_t d, SmallVectorImpl<Value> &masks, bool narrow);
  void packKeys(const KeyHead &from, nn::Dim paddedKeys);
  void packByteKeys(const ByteRows &keyBytes, nn::Dim paddedKeys);
  Value copyValues(const KeyHead &from);
  void run(Ix image, Ix head, Ix firstRow, int64_t mr, bool exact, Value values, Ix rowPitch);
  void fewScores(Ix queryAt, Ix limit, const MaskRow &masked, const KeyHead &from);
  void fewByteScores(Ix queryAt, Ix limit, const MaskRow &masked, const ByteRows &keyBytes);
  void runFew(Ix image, Ix head, Ix row, const KeyHead &from);
};

KeyHead TiledAttention::keyHead(Ix image, Ix head) {
  KeyHead result;
  result.keys = k.ptrAdd(keyHeadsAt.ptr, keyHeadsAt.at(image, head), elementOf(1));
  result.values = k.ptrAdd(valueHeads.ptr, valueHeads.at(image, head), elementOf(2));
  auto bytes = [&](Value start, const Heads &rows, const Heads &scales, int64_t width) {
    return ByteRows{start, k.ptrAdd(scales.ptr, scales.at(image, head), type), rows.row, scales.row, width};
  };
  if (keyScales)
    result.keyBytes = bytes(result.keys, keyHeadsAt, *keyScales, headWidth);
  if (valueScales)
    result.valueBytes = bytes(result.values, valueHeads, *valueScales, valueWidthConst);
  return result;
}

/// Where results go.
Heads TiledAttention::write() {
  nn::DimContext &ctx = k.lowering.dimContext();
  Value result = op.getResult();
  nn::TransposeOp transpose = transposeWrittenBy(k.lowering, op);
  if (!transpose)
    return Heads(k, k.write(result).ptr, k.lowering.c(0), rowMajor(ctx, k.lowering.dims(result)), type);
  k.lowering.absorb(transpose);
  nn::Dims own = rowMajor(ctx, k.lowering.dims(transpose.getResult())), strides(4);
  for (auto [i, p] : llvm::enumerate(transpose.getPerm()))
    strides[p] = own[i];
  return Heads(k, k.write(transpose.getResult()).ptr, k.lowering.c(0), strides, type);
}

bool TiledAttention::canNarrow() const {
  // Whole vectors of neighbours.
  return productsAreNarrow() && k.target().bf16 && headWidth % tile.lanes == 0 && valueWidthConst % tile.lanes == 0 &&
         queryHeads.column.constant() == 1 && valueHeads.column.constant() == 1;
}

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

/// Writes a tile of scores from key `column` on; in vectors that are `checked`, keys that a row may not see get
/// -infinity.
void TiledAttention::storeScores(ValueRange acc, const Rows &rows, int64_t vectors, Ix column,
                                 ArrayRef<bool> checked) {
  for (size_t i = 0; i < rows.limits.size(); ++i) {
    for (int64_t j = 0; j < vectors; ++j) {
      Ix at = column + j * lanes();
      Value inside = checked[j] ? k.mask(rows.limits[i] - at, lanes()) : Value();
      Value s = adjust(acc[i * vectors + j], mask ? maskVector(rows.masks[i], at, inside) : Value());
      if (inside)
        s = k.select(inside, s, number(-infinity, lanes()));
      k.storeAt(scores, pitch * int64_t(i) + at, s);
    }
  }
}

/// Scores of the first `vectors` vectors of a panel of keys.
void TiledAttention::scorePanel(const Rows &rows, Ix panel, int64_t vectors) {
  Accumulate inner = rows.product;
  inner.nv = vectors;
  inner.pitch = k.c(tile.nr());
  inner.panel = k.ptrAdd(packed, panel * (headWidth * tile.nr()), type);
  SmallVector<Value> acc(rows.limits.size() * vectors, number(0, lanes()));
  acc = emitAccumulate(k, inner, acc);
  Ix column = panel * tile.nr();
  SmallVector<bool> none(vectors, false), last = none, all(vectors, true);
  last.back() = true;
  if (!op.getCausal()) {
    // All rows see all keys, which end inside of the last vector of the last panel, if anywhere.
    if (vectors == tile.nv && keys.isConst() && keys.value() % tile.nr() == 0)
      return storeScores(acc, rows, vectors, column, none);
    if (panel.constant() || vectors < tile.nv)
      return storeScores(acc, rows, vectors, column, last);
  }
  k.ifThen((column + vectors * lanes()) <= rows.limits.front(), // later rows see more keys
           [&] { storeScores(acc, rows, vectors, column, none); },
           [&] { storeScores(acc, rows, vectors, column, op.getCausal() ? all : last); });
}

/// Turns `width` scores of a row, a multiple of the vector width, into e^(s - max) = 2^((s - max) log2 e);
/// returns their sum. `narrow`: they become bf16, from the row's begin on.
Value TiledAttention::softmaxRow(Ix row, Ix width, bool narrow) {
  Value start = k.ptrAdd(scores, pitch * row, type);
  Value largest = k.loop(k.c(0), width, lanes(), {number(-infinity, lanes())}, [&](Ix j, ValueRange in) {
    Value s = k.loadAt(start, j, vector());
    return SmallVector<Value>{arith::MaxNumFOp::create(k.b, k.loc, in[0], s)};
  })[0];
  Value top = vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::MAXNUMF, largest);
  Value shift = k.splat(shiftOf(top), lanes());
  Value sums = k.loop(k.c(0), width, lanes(), {number(0, lanes())}, [&](Ix j, ValueRange in) {
    Value s = arith::SubFOp::create(k.b, k.loc, k.loadAt(start, j, vector()), shift);
    Value factor = number((scaleLater ? scale() : 1) * llvm::numbers::log2e, lanes());
    Value e = math::Exp2Op::create(k.b, k.loc, arith::MulFOp::create(k.b, k.loc, s, factor));
    k.storeAt(start, j, narrow ? k.fromFloat(e, k.vec(lanes(), k.b.getBF16Type())) : e);
    return SmallVector<Value>{arith::AddFOp::create(k.b, k.loc, in[0], e)};
  })[0];
  return vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::ADD, sums, number(0, 0),
                                     arith::FastMathFlags::reassoc);
}

/// The sums over `depth` keys of probabilities times columns [d, d + nr) of the values.
Accumulate TiledAttention::valueSums(Ix depth, Value values, Ix rowPitch, int64_t d, SmallVectorImpl<Value> &masks,
                                     bool narrow) {
  Accumulate sums;
  sums.element = narrow ? Type(k.b.getI32Type()) : type;
  sums.perStep = narrow ? 2 : 1;
  sums.lanes = lanes();
  sums.nv = std::min<int64_t>(tile.nv, llvm::divideCeil(valueWidthConst - d, lanes()));
  sums.depth = narrow ? (depth + 1) / 2 * 2 : depth; // of a last single pair the second half is zeros
  sums.panel = k.ptrAdd(values, k.c(d), type);
  sums.pitch = rowPitch;
  sums.aligned = false;
  masks.assign(sums.nv, Value());
  if (int64_t rest = valueWidthConst - d; rest < sums.nv * lanes())
    masks.back() = k.mask(k.c(rest % lanes()), lanes());
  sums.masks = masks;
  return sums;
}

/// A tile of `mr` query rows. Unless there are exactly that many the last row of all is computed again past
/// the end, and not stored.
void TiledAttention::run(Ix image, Ix head, Ix firstRow, int64_t mr, bool exact, Value values, Ix rowPitch) {
  Ix rowCount = k.dim(queries);
  Rows rows;
  for (int64_t i = 0; i < mr; ++i) {
    Ix row = exact ? firstRow + i : (firstRow + i).min(rowCount - 1);
    rows.product.rows.push_back(k.ptrAdd(queryHeads.ptr, queryHeads.at(image, head) + row * queryHeads.row, type));
    rows.limits.push_back(visible(row));
    if (mask)
      rows.masks.push_back(maskRow(image, head, row));
  }
  if (narrowQueries) {
    for (auto [i, row] : llvm::enumerate(rows.product.rows)) {
      Value to = k.ptrAdd(narrowQueries, k.c(int64_t(i) * headWidth), k.b.getBF16Type());
      narrowRow(k, row, to, k.c(headWidth), lanes());
      row = to;
    }
    rows.product.perStep = 2;
  }
  rows.product.element = narrowQueries ? Type(k.b.getI32Type()) : type;
  rows.product.rowStep = queryHeads.column;
  rows.product.lanes = lanes();
  rows.product.depth = k.c(headWidth);
  // Whole panels, then as many vectors of the last one as hold keys that the last row sees.
  Ix most = rows.limits.back();
  Ix vectors = (most + (lanes() - 1)) / lanes(), panels = vectors / tile.nv, rest = vectors % tile.nv;
  k.loop(k.c(0), panels, 1, [&](Ix panel) { scorePanel(rows, panel, tile.nv); });
  for (int64_t n = 1; n < tile.nv; ++n) {
    if (!rest.constant())
      k.ifThen(rest == n, [&] { scorePanel(rows, panels, n); });
    else if (*rest.constant() == n)
      scorePanel(rows, panels, n);
  }
  Ix padded = vectors * lanes();
  Value sums = k.ptrAdd(scores, pitch * tile.mr, type);
  k.loop(k.c(0), k.c(mr), 1, [&](Ix i) {
    Value inverse = arith::DivFOp::create(k.b, k.loc, number(1, 0), divisorOf(softmaxRow(i, padded, bool(narrowQueries))));
    k.storeAt(sums, i, inverse);
  });

  for (int64_t d = 0; d < valueWidthConst; d += tile.nr()) {
    SmallVector<Value> masks;
    Accumulate inner = valueSums(most, values, rowPitch, d, masks, bool(narrowQueries));
    for (int64_t i = 0; i < mr; ++i)
      inner.rows.push_back(k.ptrAdd(scores, pitch * i, type));
    SmallVector<Value> acc(mr * inner.nv, number(0, lanes()));
    acc = emitAccumulate(k, inner, acc);
    for (int64_t i = 0; i < mr; ++i) {
      auto storeRow = [&] {
        Value factor = k.splat(k.loadAt(sums, k.c(i), type), lanes());
        Ix at = outHeads.at(image, head) + (firstRow + i) * outHeads.row + d;
        for (int64_t j = 0; j < inner.nv; ++j)
          store(at + j * lanes(), finish(acc[i * inner.nv + j], factor), masks[j]);
      };
      if (i == 0 || exact)
        storeRow();
      else
        k.ifThen((firstRow + i) < rowCount, storeRow);
    }
  }
}

/// Scores of one query row, whose first element is `queryAt`, and of keys that are not packed.
void TiledAttention::fewScores(Ix queryAt, Ix limit, const MaskRow &masked, const KeyHead &from) {
  if (from.keyBytes)
    return fewByteScores(queryAt, limit, masked, *from.keyBytes);
  Buffer keyRows = k.at(from.keys, type), queryRows = k.at(queryHeads.ptr, type);
  k.loop(k.c(0), limit, 1, [&](Ix j) {
    Value s = dotProduct(k, queryRows, queryAt, queryHeads.column, keyRows, j * keyHeadsAt.row, keyHeadsAt.column,
                         k.c(headWidth), number(0, 0));
    k.storeAt(scores, j, adjust(s, mask ? k.load(*mask, masked.offset + j * masked.step) : Value()));
  });
  k.loop(limit, (limit + (lanes() - 1)) / lanes() * lanes(), 1, [&](Ix j) { k.storeAt(scores, j, number(-infinity, 0)); });
}

/// A vector of keys at a time, so that their sums are one.
void TiledAttention::fewByteScores(Ix queryAt, Ix limit, const MaskRow &masked, const ByteRows &keyBytes) {
  Value query = k.ptrAdd(queryHeads.ptr, queryAt, type);
  if (queryRow) {
    k.loop(k.c(0), k.c(headWidth), 1, [&](Ix d) { k.storeAt(queryRow, d, k.loadAt(query, d * queryHeads.column, type)); });
    query = queryRow;
  }
  auto vectorAt = [&](Ix j, Value inside) {
    Value s = byteRowProducts(k, query, keyBytes, j, limit, lanes(), inside);
    s = adjust(s, mask ? maskVector(masked, j, inside) : Value());
    k.storeAt(scores, j, inside ? k.select(inside, s, number(-infinity, lanes())) : s);
  };
  Ix whole = limit / lanes() * lanes();
  k.loop(k.c(0), whole, lanes(), [&](Ix j) { vectorAt(j, Value()); });
  k.ifThen(whole < limit, [&] { vectorAt(whole, k.mask(limit - whole, lanes())); });
}

/// One query row without packed keys: a decoding step reads keys and values once.
void TiledAttention::runFew(Ix image, Ix head, Ix row, const KeyHead &from) {
  Ix limit = visible(row);
  MaskRow masked{k.c(0), k.c(0)};
  if (mask)
    masked = maskRow(image, head, row);
  fewScores(queryHeads.at(image, head) + row * queryHeads.row, limit, masked, from);
  Ix padded = (limit + (lanes() - 1)) / lanes() * lanes();
  Value inverse = arith::DivFOp::create(k.b, k.loc, number(1, 0), divisorOf(softmaxRow(k.c(0), padded, /*narrow=*/false)));
  Ix at = outHeads.at(image, head) + row * outHeads.row;
  if (from.valueBytes) {
    sumByteRows(k, scores, *from.valueBytes, limit, lanes(),
                [&](int64_t d, Value sums) { store(at + d, finish(sums, k.splat(inverse, lanesOf(sums))), Value()); });
    return;
  }
  for (int64_t d = 0; d < valueWidthConst; d += tile.nr()) {
    SmallVector<Value> masks;
    Accumulate inner = valueSums(limit, from.values, valueHeads.row, d, masks, /*narrow=*/false);
    inner.rows = {scores};
    SmallVector<Value> acc(inner.nv, number(0, lanes()));
    acc = emitAccumulate(k, inner, acc);
    for (int64_t j = 0; j < inner.nv; ++j)
      store(at + d + j * lanes(), finish(acc[j], k.splat(inverse, lanes())), masks[j]);
  }
}

/// The keys of a head as panels of columns.
void TiledAttention::packKeys(const KeyHead &from, nn::Dim paddedKeys) {
  if (from.keyBytes)
    return packByteKeys(*from.keyBytes, paddedKeys);
  bool columns = keyHeadsAt.column.constant() != 1;
  k.loop(k.c(0), k.dim(paddedKeys) / tile.nr(), 1, [&](Ix panel) {
    PanelAt at;
    at.column = panel * tile.nr();
    at.nv = tile.nv;
    // Rows past the end are clamped: any mask says that there are some. Columns are not read there.
    at.masks.assign(at.nv, Value());
    if (paddedKeys != keys)
      for (int64_t j = 0; j < at.nv; ++j)
        at.masks[j] = k.mask(columns ? k.dim(keys) - at.column - j * lanes() : k.c(1), lanes());
    Value to = k.ptrAdd(packed, panel * (headWidth * tile.nr()), type);
    packPanel(k, from.keys, k.c(headWidth), k.dim(keys), columns ? keyHeadsAt.column : keyHeadsAt.row, !columns, to, at,
              lanes(), type);
    if (narrowQueries)
      pairRows(k, to, k.c(tile.nr()), k.c(headWidth), tile.nr(), to, lanes());
  });
}

/// The same for bytes, panel by panel through memory that stays in L1.
void TiledAttention::packByteKeys(const ByteRows &keyBytes, nn::Dim paddedKeys) {
  k.loop(k.c(0), k.dim(paddedKeys) / tile.nr(), 1, [&](Ix panel) {
    Ix first = panel * tile.nr();
    widenByteRows(k, keyBytes, first, (k.dim(keys) - first).min(k.c(tile.nr())), widened, lanes());
    PanelAt at; // columns past the last key hold anything
    at.column = k.c(0);
    at.nv = tile.nv;
    at.masks.assign(at.nv, Value());
    Value to = k.ptrAdd(packed, panel * (headWidth * tile.nr()), type);
    packPanel(k, widened, k.c(headWidth), k.c(tile.nr()), k.c(headWidth), /*transposed=*/true, to, at, lanes(), type);
    if (narrowQueries)
      pairRows(k, to, k.c(tile.nr()), k.c(headWidth), tile.nr(), to, lanes());
  });
}

/// Copies the values of a head so that every tile of queries finds them in one piece.
Value TiledAttention::copyValues(const KeyHead &from) {
  if (from.valueBytes)
    widenByteRows(k, *from.valueBytes, k.c(0), k.dim(keys), copied, lanes());
  if (narrowQueries)
    pairRows(k, from.valueBytes ? copied : from.values, from.valueBytes ? k.c(valueWidthConst) : valueHeads.row, k.dim(keys),
             valueWidthConst, copied, lanes());
  if (from.valueBytes || narrowQueries)
    return copied;
  int64_t whole = valueWidthConst / lanes() * lanes();
  k.loop(k.c(0), k.dim(keys), 1, [&](Ix row) {
    Value source = k.ptrAdd(from.values, row * valueHeads.row, type), to = k.ptrAdd(copied, row * valueWidthConst, type);
    for (int64_t d = 0; d < whole; d += lanes())
      k.storeAt(to, k.c(d), k.loadAt(source, k.c(d), vector(), bytes), bytes);
    for (int64_t d = whole; d < valueWidthConst; ++d)
      k.storeAt(to, k.c(d), k.loadAt(source, k.c(d), type));
  });
  return copied;
}

} // namespace

bool isTiledAttention(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::AttentionOp>(operation);
  for (Value v : {op.getQ(), op.getK(), op.getV()}) {
    Type type = lowering.shapes.info(v).elementType;
    if ((!type.isF32() && !type.isF64()) || type != lowering.shapes.info(op.getQ()).elementType ||
        !lowering.dims(v)[3].isConst())
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
  query.elementBytes = lowering.shapes.info(op.getQ()).elementType.getIntOrFloatBitWidth() / 8;
  query.maxRows = 8;
  Tile tile = chooseTile(lowering, op, query);
  // Both products use the tile; the second is as wide as a head.
  if (lowering.target.vectorRegisters >= 32) {
    tile.nv = std::max<int64_t>(tile.nv, std::min<int64_t>(4, llvm::divideCeil(*query.depth, tile.lanes)));
    while (tile.mr > 1 && tile.mr * tile.nv + tile.nv + 1 > lowering.target.vectorRegisters)
      --tile.mr;
  }

  Kernel k(lowering, op, "attention_" + dimText(q[1]) + "x" + dimText(q[2]) + "x" + dimText(keysDims[2]) + "x" + dimText(q[3]));
  TiledAttention a(k, op, tile);
  bool maybeFew = !a.queries.isAtLeast(fewRows + 1), alwaysFew = a.queries.isConst() && a.queries.value() <= fewRows;
  nn::Dim paddedKeys = a.keys.ceilDiv(lowering.c(tile.nr())) * tile.nr();
  nn::Dim pitch = paddedKeys + tile.lanes; // a line more: rows do not share cache sets
  a.packed = k.scratch(paddedKeys * (a.headWidth * a.bytes));
  a.scores = k.scratch((pitch * tile.mr + tile.lanes) * a.bytes);
  // A copy of values that are rows of a wider matrix pays from a few tiles of queries on.
  bool narrow = a.canNarrow();
  bool copies = narrow || a.valueScales || (a.valueHeads.row.constant() != a.valueWidthConst &&
                           !(a.queries.isConst() && a.queries.value() < 3 * tile.mr));
  if (copies)
    a.copied = k.scratch((a.keys + 1) * (a.valueWidthConst * a.bytes));
  if (narrow)
    a.narrowQueries = k.scratch(lowering.c(tile.mr * a.headWidth * 2));
  if (a.keyScales && !alwaysFew)
    a.widened = k.scratch(lowering.c(tile.nr() * a.headWidth * a.bytes));
  if (a.keyScales && a.queryHeads.column.constant() != 1)
    a.queryRow = k.scratch(lowering.c(a.headWidth * a.bytes));
  a.pitch = k.dim(pitch);

  // Task: (image, key head, query head of the group, tile of rows).
  int64_t group = a.heads == a.keyHeads ? 1 : a.heads.value() / a.keyHeads.value();
  nn::Dim rowTiles = a.queries.ceilDiv(lowering.c(tile.mr)), perHead = rowTiles * group;
  Ix tasks = k.dim(perHead), keyHeads = k.dim(a.keyHeads);
  k.loop(k.begin / tasks, (k.end - 1).max(k.begin) / tasks + 1, 1, [&](Ix segment) {
    Ix image = segment / keyHeads, keyHead = segment % keyHeads;
    Ix low = (k.begin - segment * tasks).max(k.c(0)), high = (k.end - segment * tasks).min(tasks);
    KeyHead from = a.keyHead(image, keyHead);
    auto forTasks = [&](function_ref<void(Ix, Ix)> body) {
      k.loop(low, high, 1, [&](Ix task) {
        Ix head = keyHead * group + (group == 1 ? k.c(0) : task / k.dim(rowTiles));
        body(head, (group == 1 ? task : task % k.dim(rowTiles)) * tile.mr);
      });
    };
    auto few = [&] {
      forTasks([&](Ix head, Ix firstRow) {
        k.loop(firstRow, (firstRow + tile.mr).min(k.dim(a.queries)), 1,
               [&](Ix row) { a.runFew(image, head, row, from); });
      });
    };
    auto many = [&] {
      a.packKeys(from, paddedKeys);
      Value rows = copies ? a.copyValues(from) : from.values;
      Ix rowPitch = copies ? k.c(a.valueWidthConst) : a.valueHeads.row;
      forTasks([&](Ix head, Ix firstRow) {
        auto whole = [&] { a.run(image, head, firstRow, tile.mr, a.queries.isConst(), rows, rowPitch); };
        int64_t rest = a.queries.isConst() ? a.queries.value() % tile.mr : 0;
        if (!rest)
          return whole();
        k.ifThen((firstRow + tile.mr) <= k.dim(a.queries), whole,
                 [&] { a.run(image, head, firstRow, rest, true, rows, rowPitch); });
      });
    };
    if (alwaysFew)
      few();
    else if (!maybeFew)
      many();
    else
      k.ifThen(k.dim(a.queries) <= k.c(fewRows), few, many);
  });

  k.flops = a.batch * a.heads * a.queries * a.keys * (a.width + a.valueWidth) * 2;
  auto rowBytes = [&](nn::Dim width, bool ofBytes) { return ofBytes ? width + a.bytes : width * a.bytes; };
  k.bytes = a.batch * a.heads * a.queries * (a.width + a.valueWidth) * a.bytes +
            a.batch * a.keyHeads * a.keys * (rowBytes(a.width, bool(a.keyScales)) + rowBytes(a.valueWidth, bool(a.valueScales)));
  double keyEstimate = constantDim(a.keys).value_or(256);
  k.grain = taskGrain(2.0 * tile.mr * keyEstimate * (a.headWidth + a.valueWidthConst + 40), 0);
  lowering.launch(k, a.batch * a.keyHeads * perHead);
  return success();
}

static RegisterEmitter tiled({"nn.attention", "attention-tiled", 10, isTiledAttention, emitTiled});

} // namespace nnopt::cpu
