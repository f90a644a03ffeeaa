//===- GatherNarrowRows.cpp - rows of a table in fewer bits -----------------===//
//
// Embeddings: rows of a constant table of 16-bit floats or of integers with scales become 32-bit floats as they are read.
// A table is stored as it is, row after row, but for integers of 4 and 2 bits: a byte holds element i of one vector and of
// the next one.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/NarrowWeights.h"
#include "lib/codegen/cpu/memory/Gather.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

class NarrowRows {
public:
  NarrowRows(Kernel &k, const nn::NarrowWeights &table);
  /// Writes row `row` to elements [to, to + depth) of `out`.
  void widen(Ix row, const Buffer &out, Ix to);
  double rowBytes() const;

private:
  void packIntegers(const nn::NarrowWeights &table);
  void packParameters(const nn::NarrowWeights &table);
  Value loadVector(const Buffer &buffer, Ix at) { return lanes == 1 ? k.load(buffer, at) : k.load(buffer, at, lanes); }
  Value inAllLanes(Value scalar) { return lanes == 1 ? scalar : k.splat(scalar, lanes); }

  Kernel &k;
  int64_t depth, group, groups, lanes;
  bool paired = false; // two elements in a byte
  Buffer values;
  std::optional<Buffer> scales, zeros;
};

NarrowRows::NarrowRows(Kernel &k, const nn::NarrowWeights &table)
    : k(k), depth(table.depth), group(table.group), groups(table.groups()), lanes(k.target().lanes(4)) {
  Type type = nn::elementTypeOf(table.values.getType());
  paired = type.getIntOrFloatBitWidth() <= 4 && depth % 2 == 0 && group % 2 == 0;
  // Whole vectors are of one group.
  int64_t unit = paired ? 2 : 1;
  while (depth % (lanes * unit) || group % (lanes * unit))
    lanes /= 2;
  if (table.isFloat()) {
    values = k.weights(k.lowering.constant(table.values)->bytes(), type, {table.columns, depth});
    return;
  }
  packIntegers(table);
  packParameters(table);
}

/// Unsigned integers move down by half of their range, their zero points with them.
int64_t offsetOf(const nn::NarrowWeights &table) {
  Type type = nn::elementTypeOf(table.values.getType());
  return type.isUnsignedInteger() ? int64_t(1) << (type.getIntOrFloatBitWidth() - 1) : 0;
}

void NarrowRows::packIntegers(const nn::NarrowWeights &table) {
  nn::ConstantData data = *k.lowering.constant(table.values);
  int64_t offset = offsetOf(table);
  std::vector<char> bytes(table.columns * depth / (paired ? 2 : 1));
  for (int64_t row = 0; row < table.columns; ++row)
    for (int64_t i = 0; i < depth; ++i) {
      int64_t value = data.asInt(table.at(i, row)) - offset;
      if (!paired) {
        bytes[row * depth + i] = char(value);
        continue;
      }
      int64_t block = i / (2 * lanes), lane = i % lanes;
      bool isSecond = i / lanes % 2;
      bytes[row * depth / 2 + block * lanes + lane] |= char((value & 15) << (isSecond ? 4 : 0));
    }
  values = k.weights(bytes, k.b.getI8Type(), {int64_t(bytes.size())});
}

void NarrowRows::packParameters(const nn::NarrowWeights &table) {
  nn::ConstantData scaleData = *k.lowering.constant(table.scale);
  std::optional<nn::ConstantData> zeroData = table.zero ? k.lowering.constant(table.zero) : std::nullopt;
  std::vector<float> scaleValues;
  std::vector<char> zeroValues;
  for (int64_t row = 0; row < table.columns; ++row)
    for (int64_t g = 0; g < groups; ++g) {
      scaleValues.push_back(float(scaleData.asDouble(table.scaleAt(g, row))));
      zeroValues.push_back(char((zeroData ? zeroData->asInt(table.zeroAt(g, row)) : 0) - offsetOf(table)));
    }
  scales = k.weights(scaleValues);
  if (llvm::any_of(zeroValues, [](char zero) { return zero != 0; }))
    zeros = k.weights(zeroValues, k.b.getI8Type(), {int64_t(zeroValues.size())});
}

double NarrowRows::rowBytes() const {
  double width = double(values.valueType.getIntOrFloatBitWidth()) / 8;
  return double(depth) * (paired ? 0.5 : width) + (scales ? 4.0 : 0.0) * double(groups);
}

void NarrowRows::widen(Ix row, const Buffer &out, Ix to) {
  int64_t unit = paired ? 2 : 1, step = lanes * unit;
  k.loop(k.c(0), k.c(groups), 1, [&](Ix g) {
    Value scale, zero;
    if (scales)
      scale = inAllLanes(k.load(*scales, row * groups + g));
    if (zeros)
      zero = inAllLanes(k.toFloat(k.load(*zeros, row * groups + g)));
    auto store = [&](Value v, Ix at) {
      v = k.toFloat(v);
      if (zero)
        v = arith::SubFOp::create(k.b, k.loc, v, zero);
      if (scale)
        v = arith::MulFOp::create(k.b, k.loc, v, scale);
      k.store(out, to + at, v);
    };
    // The last group may be shorter.
    Ix first = g * group, end = (first + group).min(k.c(depth));
    k.loop(first, end, step, [&](Ix i) {
      if (!paired)
        return store(loadVector(values, row * depth + i), i);
      Value pair = loadVector(values, (row * depth + i) / 2), four = k.constant(pair.getType(), 4);
      Value high = arith::ShLIOp::create(k.b, k.loc, pair, four);
      store(arith::ShRSIOp::create(k.b, k.loc, high, four), i);
      store(arith::ShRSIOp::create(k.b, k.loc, pair, four), i + lanes);
    });
  });
}

bool match(Operation *op, Lowering &lowering) {
  return narrowWeights(lowering, cast<nn::GatherOp>(op).getXMutable()).has_value();
}

LogicalResult emit(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::GatherOp>(operation);
  nn::NarrowWeights table = *narrowWeights(lowering, op.getXMutable());
  Kernel k(lowering, op, "gather_narrow_" + std::to_string(table.depth));
  Buffer indices = k.read(op.getIndices()), out = k.write(op.getResult());
  NarrowRows rows(k, table);
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    rows.widen(loadIndex(k, indices, i, k.c(table.columns)), out, i * table.depth);
  });
  nn::Dim count = nn::product(lowering.dimContext(), indices.dims);
  k.grain = rowGrain(lowering.c(table.depth), 4);
  k.bytes = count * (table.depth * 4 + int64_t(rows.rowBytes()));
  lowering.launch(k, count);
  return success();
}

RegisterEmitter narrow({"nn.gather", "gather-narrow-rows", 20, match, emit});

} // namespace
} // namespace nnopt::cpu
