//===- NarrowWeights.cpp - panels of weights in fewer bits ------------------===//

#include "lib/codegen/cpu/contraction/NarrowWeights.h"

#include "lib/codegen/cpu/contraction/NarrowProduct.h"

using namespace mlir;

namespace nnopt::cpu {

std::optional<nn::NarrowWeights> narrowWeights(Lowering &lowering, OpOperand &operand) {
  Device *device = lowering.options.device;
  if (device ? !device->takesNarrowWeights(operand) : lowering.options.optLevel == 0)
    return std::nullopt;
  std::optional<nn::NarrowWeights> weights;
  if (auto matmul = dyn_cast<nn::MatMulOp>(operand.getOwner()); matmul && &operand == &matmul.getBMutable())
    weights = nn::NarrowWeights::get(matmul, /*of16Bit=*/device);
  else if (auto gather = dyn_cast<nn::GatherOp>(operand.getOwner()); gather && &operand == &gather.getXMutable())
    weights = nn::NarrowWeights::get(gather);
  auto isKnown = [&](Value v) { return !v || lowering.constant(v); };
  if (!weights || !isKnown(weights->values) || !isKnown(weights->scale) || !isKnown(weights->zero))
    return std::nullopt;
  return weights;
}

nn::DequantizeOp byteRows(Lowering &lowering, nn::MatMulOp op) {
  // Sums of groups are 32-bit integers.
  constexpr int64_t kMostSteps = (int64_t(1) << 31) / (255 * 128);
  nn::DequantizeOp rows = nn::NarrowWeights::byteRows(op);
  if (!rows || lowering.options.device || !lowering.target.isX86 || !lowering.target.avx2 || lowering.constant(rows.getX()))
    return {};
  std::optional<nn::NarrowWeights> weights = narrowWeights(lowering, op.getBMutable());
  if (!weights || weights->group > kMostSteps)
    return {};
  const nn::Dims &dims = lowering.dims(rows.getX()), &scales = lowering.dims(rows.getScale());
  return ArrayRef(dims).drop_back() == ArrayRef(scales).drop_back() ? rows : nn::DequantizeOp();
}

static unsigned bitsOf(const nn::NarrowWeights &w) { return nn::elementTypeOf(w.values.getType()).getIntOrFloatBitWidth(); }
static bool isNibble(const nn::NarrowWeights &w) { return bitsOf(w) <= 4; }

/// What makes 4-bit and 8-bit weights unsigned that bytes are multiplied with.
constexpr int64_t kNibbleOffset = 8, kByteOffset = 128;

/// Unsigned integers move down by half of their range, their zero points with them.
static int64_t offsetOf(const nn::NarrowWeights &w) {
  Type type = nn::elementTypeOf(w.values.getType());
  return type.isUnsignedInteger() ? int64_t(1) << (bitsOf(w) - 1) : 0;
}

int64_t NarrowPanels::partUnit(const nn::NarrowWeights &w) {
  int64_t unit = w.group < w.depth ? w.group : 8;
  return w.depth % unit == 0 ? unit : 0;
}

double NarrowPanels::columnBytes(const nn::NarrowWeights &w) {
  double values = double(w.depth) * (isNibble(w) ? 0.5 : bitsOf(w) / 8.0);
  return values + (w.isFloat() ? 0 : 4.0 * double(w.groups()));
}

//===----------------------------------------------------------------------===//
// Packing
//===----------------------------------------------------------------------===//

NarrowPanels::NarrowPanels(Kernel &k, const nn::NarrowWeights &w, const Tile &tile, Rows rows)
    : k(k), tile(tile), depth(w.depth), group(w.group), rowKind(rows) {
  packValues(w);
  if (!w.isFloat())
    packParameters(w);
}

void NarrowPanels::packWords(const nn::NarrowWeights &w, int64_t bits, int64_t offset, function_ref<int64_t(int64_t)> placeOf) {
  nn::ConstantData data = *k.lowering.constant(w.values);
  ArrayRef<char> bytes = data.bytes();
  stored = k.b.getI32Type();
  perRow = 32 / bits;
  int64_t words = llvm::divideCeil(w.depth, perRow);
  uint32_t mask = (uint32_t(1) << bits) - 1;
  std::vector<uint32_t> columns(w.columns * words);
  for (int64_t d = 0; d < w.depth; ++d)
    for (int64_t n = 0; n < w.columns; ++n)
      columns[n * words + d / perRow] |= (uint32_t(bytes[w.at(d, n)] - offset) & mask) << placeOf(d % perRow);
  PanelSource source;
  source.columns = w.columns;
  source.channels = source.columnStride = words;
  panels = k.weights(packPanels(source, ArrayRef(reinterpret_cast<const char *>(columns.data()), columns.size() * 4), 4, tile),
                     stored, {words * int64_t(llvm::alignTo(w.columns, tile.lanes))});
}

void NarrowPanels::packValues(const nn::NarrowWeights &w) {
  if (rowKind == Rows::Bytes && isNibble(w))
    return packWords(w, 4, offsetOf(w) - kNibbleOffset, [](int64_t step) { return step % 4 * 8 + step / 4 * 4; });
  if (rowKind == Rows::Bytes)
    return packWords(w, 8, offsetOf(w) - kByteOffset, [](int64_t step) { return step * 8; });
  if (isNibble(w))
    return packWords(w, 4, offsetOf(w), [](int64_t step) { return step * 4; });
  nn::ConstantData data = *k.lowering.constant(w.values);
  ArrayRef<char> bytes = data.bytes();
  int64_t offset = offsetOf(w);
  PanelSource source;
  source.columns = w.columns;
  source.channels = w.depth;
  source.columnStride = w.columnStride;
  source.channelStride = w.depthStride;
  Type type = nn::elementTypeOf(w.values.getType());
  if (type.isF16() && k.target().isX86 && !k.target().avx2) {
    // There is no instruction that widens them.
    std::vector<float> floats = data.asFloats();
    stored = k.b.getF32Type();
    panels = k.weights(packPanels(source, ArrayRef(reinterpret_cast<const char *>(floats.data()), floats.size() * 4), 4, tile),
                       stored, {w.depth * int64_t(llvm::alignTo(w.columns, tile.lanes))});
    return;
  }
  // LLVM has functions of a library in mind for bf16; shifting bits needs none.
  stored = !w.isFloat() ? Type(k.b.getI8Type()) : type.isBF16() ? Type(k.b.getI16Type()) : type;
  int64_t width = bitsOf(w) / 8;
  std::vector<char> packed = packPanels(source, bytes, width, tile);
  if (offset)
    for (char &byte : packed)
      byte ^= char(0x80);
  panels = k.weights(packed, stored, {int64_t(packed.size()) / width});
}

void NarrowPanels::packParameters(const nn::NarrowWeights &w) {
  int64_t groups = w.groups();
  PanelSource source;
  source.columns = w.columns;
  source.channels = groups;
  source.columnStride = groups;
  auto pack = [&](auto values, Type type) {
    int64_t bytes = sizeof(values[0]);
    ArrayRef<char> raw(reinterpret_cast<const char *>(values.data()), values.size() * bytes);
    return k.weights(packPanels(source, raw, bytes, tile), type, {groups * int64_t(llvm::alignTo(w.columns, tile.lanes))});
  };
  nn::ConstantData scaleData = *k.lowering.constant(w.scale);
  std::vector<float> scaleValues(w.columns * groups);
  for (int64_t n = 0; n < w.columns; ++n)
    for (int64_t g = 0; g < groups; ++g)
      scaleValues[n * groups + g] = float(scaleData.asDouble(w.scaleAt(g, n)));
  scales = pack(scaleValues, k.b.getF32Type());
  // A weight is scale (q - offset - (zero - offset)).
  int64_t offset = offsetOf(w);
  std::vector<int8_t> zeroValues(w.columns * groups, int8_t(-offset));
  if (w.zero) {
    nn::ConstantData zeroData = *k.lowering.constant(w.zero);
    for (int64_t n = 0; n < w.columns; ++n)
      for (int64_t g = 0; g < groups; ++g)
        zeroValues[n * groups + g] = int8_t(zeroData.asInt(w.zeroAt(g, n)) - offset);
  }
  if (llvm::any_of(zeroValues, [](int8_t v) { return v != 0; }))
    zeros = pack(zeroValues, k.b.getI8Type());
}

//===----------------------------------------------------------------------===//
// Widening in registers
//===----------------------------------------------------------------------===//

Value NarrowPanels::panelAt(const PanelAt &at, Ix position) {
  int64_t rows = llvm::divideCeil(depth, perRow);
  return k.ptrAdd(panels.ptr, at.column * rows + position / perRow * (at.nv * tile.lanes), stored);
}

Value NarrowPanels::nextPanel(const PanelAt &at, const Part &part) {
  return k.ptrAdd(panelAt(at, part.firstDepth), k.c(tile.nr() * llvm::divideCeil(depth, perRow)), stored);
}

Value NarrowPanels::loadRow(const PanelAt &at, Value panel, Ix index, int64_t j) {
  int64_t bytes = stored.getIntOrFloatBitWidth() / 8;
  return k.loadAt(panel, index * (at.nv * tile.lanes) + j * tile.lanes, k.vec(tile.lanes, stored), tile.lanes * bytes);
}

Value NarrowPanels::value(Value row, int64_t step) {
  VectorType floats = k.vec(tile.lanes, k.b.getF32Type());
  if (stored.isInteger(16)) {
    Value wide = arith::ExtUIOp::create(k.b, k.loc, k.vec(tile.lanes, k.b.getI32Type()), row);
    Value bits = arith::ShLIOp::create(k.b, k.loc, wide, k.constant(wide.getType(), 16));
    return arith::BitcastOp::create(k.b, k.loc, floats, bits);
  }
  if (perRow == 1)
    return k.toFloat(row);
  auto shift = [&](auto op, int64_t by) -> Value {
    return by ? decltype(op)::create(k.b, k.loc, row, k.constant(row.getType(), double(by))).getResult() : row;
  };
  if (k.target().avx512 && tile.lanes == 16) {
    // A table of the sixteen values: vpermps looks at the low four bits of an index alone.
    SmallVector<float> table;
    for (int i = 0; i < 16; ++i)
      table.push_back(float(i < 8 ? i : i - 16));
    Value values = arith::ConstantOp::create(k.b, k.loc, DenseElementsAttr::get(floats, ArrayRef<float>(table)));
    Value index = shift(arith::ShRUIOp(), step * 4);
    return LLVM::CallIntrinsicOp::create(k.b, k.loc, floats, k.b.getStringAttr("llvm.x86.avx512.permvar.sf.512"),
                                         ValueRange{values, index})
        .getResults();
  }
  row = shift(arith::ShLIOp(), 28 - step * 4);
  return arith::SIToFPOp::create(k.b, k.loc, floats, shift(arith::ShRSIOp(), 28));
}

NarrowPanels::Parameters NarrowPanels::parameters(const PanelAt &at, Ix g) {
  Parameters p;
  int64_t groups = llvm::divideCeil(depth, group), width = at.nv * tile.lanes;
  for (auto [buffer, list] : {std::pair(&scales, &p.scales), std::pair(&zeros, &p.zeros)})
    for (int64_t j = 0; *buffer && j < at.nv; ++j)
      list->push_back(k.toFloat(k.load(**buffer, at.column * groups + g * width + j * tile.lanes, tile.lanes)));
  return p;
}

SmallVector<Value> NarrowPanels::forGroups(const Part &part, ValueRange init, Group body) {
  if (group >= depth)
    return body(k.c(0), k.c(0), part.depth, init);
  // Parts are whole groups, but for the last one of a depth that is no multiple.
  Ix first = part.firstDepth / group;
  SmallVector<Value> values = k.loop(k.c(0), part.depth / group, 1, init, [&](Ix g, ValueRange in) {
    return body(first + g, g * group, k.c(group), in);
  });
  if (int64_t rest = depth % group)
    values = body(k.c(depth / group), k.c(depth - rest), k.c(rest), values);
  return values;
}

//===----------------------------------------------------------------------===//
// The loops
//===----------------------------------------------------------------------===//

SmallVector<Value> NarrowPanels::accumulate(const PanelAt &at, const Part &part, ArrayRef<Value> rows, ValueRange acc) {
  int64_t mr = rows.size(), nv = at.nv, tileVectors = mr * nv;
  Type f32 = k.b.getF32Type();
  // With few rows the scale is multiplied to sums; several sums of each result hide the latency of multiply-adds.
  bool late = scales && mr <= 2;
  int64_t sums = late ? std::max<int64_t>(1, 8 / tileVectors) : 1;
  int64_t unroll = perRow > 1 ? perRow : tileVectors * sums >= 16 ? 1 : tileVectors * sums >= 8 ? 2 : 4;
  unroll = std::max(unroll, sums);
  SmallVector<Value> zeroSums(tileVectors * sums, k.constant(k.vec(tile.lanes, f32), 0));
  Value panel = panelAt(at, part.firstDepth);
  return forGroups(part, acc, [&](Ix g, Ix first, Ix steps, ValueRange in) {
    Parameters p = parameters(at, g);
    Value groupPanel = k.ptrAdd(panel, first / perRow * (nv * tile.lanes), stored);
    // Steps [index, index + count), at the beginning of a row of the panel.
    auto run = [&](Ix index, int64_t count, ValueRange before) {
      SmallVector<Value> next(before), row;
      for (int64_t u = 0; u < count; ++u) {
        if (u % perRow == 0) {
          row.clear();
          for (int64_t j = 0; j < nv; ++j)
            row.push_back(loadRow(at, groupPanel, index / perRow + u / perRow, j));
        }
        SmallVector<Value> weights;
        for (int64_t j = 0; j < nv; ++j) {
          Value w = value(row[j], u % perRow);
          if (!p.zeros.empty())
            w = arith::SubFOp::create(k.b, k.loc, w, p.zeros[j]);
          if (scales && !late)
            w = arith::MulFOp::create(k.b, k.loc, w, p.scales[j]);
          weights.push_back(w);
        }
        for (int64_t i = 0; i < mr; ++i) {
          Value x = k.splat(k.loadAt(rows[i], first + index + u, f32), tile.lanes);
          for (int64_t j = 0; j < nv; ++j) {
            Value &sum = next[u % sums * tileVectors + i * nv + j];
            sum = multiplyAdd(k, x, weights[j], sum);
          }
        }
      }
      return next;
    };
    SmallVector<Value> values(late ? ValueRange(zeroSums) : in);
    Ix whole = steps / unroll * unroll;
    values = k.loop(k.c(0), whole, unroll, values, [&](Ix index, ValueRange before) { return run(index, unroll, before); });
    if (std::optional<int64_t> known = steps.constant()) {
      if (int64_t rest = *known % unroll)
        values = run(whole, rest, values);
    } else {
      // Parts of whole units: only rows of one step can be left.
      values = k.loop(whole, steps, perRow, values, [&](Ix index, ValueRange before) { return run(index, perRow, before); });
    }
    if (!late)
      return values;
    SmallVector<Value> result;
    for (int64_t t = 0; t < tileVectors; ++t) {
      Value sum = values[t];
      for (int64_t s = 1; s < sums; ++s)
        sum = arith::AddFOp::create(k.b, k.loc, sum, values[s * tileVectors + t]);
      result.push_back(multiplyAdd(k, p.scales[t % nv], sum, in[t]));
    }
    return result;
  });
}

SmallVector<Value> NarrowPanels::multiplyBytes(const PanelAt &at, ArrayRef<Value> rows, ArrayRef<Value> sums) {
  int64_t mr = rows.size(), nv = at.nv, tileVectors = mr * nv, groups = llvm::divideCeil(depth, group);
  bool nibbles = perRow == 8;
  Type i32 = k.b.getI32Type();
  VectorType ints = k.vec(tile.lanes, i32), floats = k.vec(tile.lanes, k.b.getF32Type());
  int64_t offset = nibbles ? kNibbleOffset : kByteOffset;
  // Several sums of each result hide the latency of products.
  int64_t sets = std::max<int64_t>(1, 8 / tileVectors), unroll = tileVectors >= 16 ? 1 : tileVectors >= 8 ? 2 : 4;
  Value panel = panelAt(at, k.c(0));
  SmallVector<Value> none(tileVectors, k.constant(floats, 0));
  return forGroups({k.c(0), k.c(depth)}, none, [&](Ix g, Ix first, Ix steps, ValueRange in) {
    // The offset and the zero point of weights, times the sum of the row's bytes.
    SmallVector<Value> values;
    for (int64_t i = 0; i < mr; ++i) {
      Value sum = k.loadAt(sums[i], g, i32);
      if (!zeros) {
        Value start = k.splat(arith::MulIOp::create(k.b, k.loc, sum, k.constant(i32, double(-offset))), tile.lanes);
        values.append(nv, start);
        continue;
      }
      Value all = k.splat(sum, tile.lanes);
      for (int64_t j = 0; j < nv; ++j) {
        Value zero = k.load(*zeros, at.column * groups + g * (nv * tile.lanes) + j * tile.lanes, tile.lanes);
        zero = arith::ExtSIOp::create(k.b, k.loc, ints, zero);
        zero = arith::SubIOp::create(k.b, k.loc, k.constant(ints, double(-offset)), zero);
        values.push_back(arith::MulIOp::create(k.b, k.loc, zero, all));
      }
    }
    values.append(tileVectors * (sets - 1), k.constant(ints, 0));
    Value groupPanel = k.ptrAdd(panel, first / perRow * (nv * tile.lanes), stored);
    // Word `index` of the group, of which `count` steps exist.
    auto word = [&](Ix index, int64_t count, SmallVector<Value> &next, int64_t number) {
      SmallVector<Value> weights;
      for (int64_t j = 0; j < nv; ++j)
        weights.push_back(loadRow(at, groupPanel, index, j));
      for (int64_t half = 0; half * 4 < count; ++half) {
        SmallVector<Value> bytes;
        for (Value w : weights) {
          if (half)
            w = arith::ShRUIOp::create(k.b, k.loc, w, k.constant(ints, 4));
          bytes.push_back(nibbles ? arith::AndIOp::create(k.b, k.loc, w, k.constant(ints, 0x0f0f0f0f)).getResult() : w);
        }
        int64_t set = (number * (nibbles ? 2 : 1) + half) % sets;
        for (int64_t i = 0; i < mr; ++i) {
          Ix place = (first + index * perRow) / 4 + half;
          Value x = k.splat(loadRowBytes(k, rows[i], place, std::min<int64_t>(count - half * 4, 4), /*moved=*/false), tile.lanes);
          for (int64_t j = 0; j < nv; ++j) {
            Value &sum = next[set * tileVectors + i * nv + j];
            sum = addByteProducts(k, sum, bytes[j], x);
          }
        }
      }
    };
    auto words = [&](Ix index, int64_t count, ValueRange before) {
      SmallVector<Value> next(before);
      for (int64_t u = 0; u < count; ++u)
        word(index + u, perRow, next, u);
      return next;
    };
    int64_t known = *steps.constant(), whole = known / perRow, main = whole / unroll * unroll;
    values = k.loop(k.c(0), k.c(main), unroll, values, [&](Ix index, ValueRange before) { return words(index, unroll, before); });
    values = words(k.c(main), whole - main, values);
    if (int64_t rest = known % perRow)
      word(k.c(whole), rest, values, 0);
    Parameters p = parameters(at, g);
    SmallVector<Value> result;
    for (int64_t t = 0; t < tileVectors; ++t) {
      Value sum = values[t];
      for (int64_t s = 1; s < sets; ++s)
        sum = arith::AddIOp::create(k.b, k.loc, sum, values[s * tileVectors + t]);
      Value product = arith::SIToFPOp::create(k.b, k.loc, floats, sum);
      result.push_back(multiplyAdd(k, p.scales[t % nv], product, in[t]));
    }
    return result;
  });
}

void NarrowPanels::widen(const PanelAt &at, const Part &part, Value scratch) {
  int64_t width = at.nv * tile.lanes;
  Value panel = panelAt(at, part.firstDepth);
  forGroups(part, {}, [&](Ix g, Ix first, Ix steps, ValueRange) {
    Parameters p = parameters(at, g);
    auto run = [&](Ix index, int64_t count) {
      for (int64_t j = 0; j < at.nv; ++j) {
        Value row = loadRow(at, panel, (first + index) / perRow, j);
        for (int64_t u = 0; u < count; ++u) {
          Value w = value(row, u);
          if (!p.zeros.empty())
            w = arith::SubFOp::create(k.b, k.loc, w, p.zeros[j]);
          if (scales)
            w = arith::MulFOp::create(k.b, k.loc, w, p.scales[j]);
          k.storeAt(scratch, (first + index + u) * width + j * tile.lanes, w, tile.lanes * 4);
        }
      }
    };
    Ix whole = steps / perRow * perRow;
    k.loop(k.c(0), whole, perRow, [&](Ix index) { run(index, perRow); });
    if (std::optional<int64_t> known = steps.constant(); known && *known % perRow)
      run(whole, *known % perRow);
    return SmallVector<Value>();
  });
}

} // namespace nnopt::cpu
