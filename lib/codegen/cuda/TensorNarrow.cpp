//===- TensorNarrow.cpp - weights in fewer bits on tensor cores -------------===//
//
// The weights are copied to shared memory as they are stored, and become words of the right operand in registers. They lie in
// memory in the order in which lanes need them: of a step, a lane has all of its elements of a column side by side, four
// lanes a column, so that a warp reads neighbouring words.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cuda/TensorNarrow.h"
#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/NarrowMatrix.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t columnLanes = 4; // that have elements of a column
constexpr int64_t copyBytes = 16; // that are copied at once

/// Of steps of 64 bytes: groups of weights are often 32.
constexpr int64_t stepBytes = 64;
int64_t stepElements(const MmaTypes &types) { return stepBytes / types.elementBytes(); }

/// The place in a step of element i of a lane's (Mma.h): two halves of two words each.
int64_t depthOf(const MmaTypes &types, int64_t lane, int64_t i) {
  int64_t perWord = 4 / types.elementBytes(), word = i / perWord;
  return word * (columnLanes * perWord) + lane * perWord + i % perWord;
}

class NarrowOperand : public RightOperand {
public:
  NarrowOperand(Kernel &k, const MmaTypes &types, const TensorTile &tile, const nn::NarrowWeights &w, Ix firstColumn)
      : k(k), types(types), codes(w), firstColumn(firstColumn), columns(tile.columns), group(w.group), groups(w.groups()),
        filledColumns(llvm::alignTo(w.columns, tile.columns)), laneElements(stepElements(types) / columnLanes),
        laneBytes(laneElements * codes.bits / 8), lane(k.thread % warpSize) {
    pack(w);
    if (!w.isFloat()) {
      NarrowCodes::Parameters p = codes.parameters(k.lowering, w, groups * filledColumns,
                                                   [&](int64_t g, int64_t n) { return g * filledColumns + n; });
      scales = k.weights(p.scales);
      if (p.equalBases)
        base = k.f32(p.bases[0]);
      else
        bases = k.weights(p.bases);
    }
    codeBytes = columns * columnLanes * laneBytes;
    int64_t tables = groups > 1 ? (scales ? 1 : 0) + (bases ? 1 : 0) : 0;
    stageBytes = codeBytes + tables * columns * 4;
    memory = k.shared(k.b.getI8Type(), tile.stages * stageBytes);
  }

  void fill(Ix stage, Ix firstDepth) override {
    Ix step = firstDepth / stepElements(types);
    int64_t columnBytes = columnLanes * laneBytes;
    copy(packed, (step * filledColumns + firstColumn) * columnBytes, stage * stageBytes, codeBytes);
    if (groups == 1)
      return;
    Ix at = (firstDepth / group * filledColumns + firstColumn) * 4;
    copy(*scales, at, stage * stageBytes + codeBytes, columns * 4);
    if (bases)
      copy(*bases, at, stage * stageBytes + (codeBytes + columns * 4), columns * 4);
  }

  void addColumns(Ix x) override {
    for (int64_t i : {0, 8}) {
      Column column{x + lane / 4 + i, {}, base};
      if (scales && groups == 1) {
        column.scale = k.load(*scales, firstColumn + column.x);
        if (bases)
          column.base = k.load(*bases, firstColumn + column.x);
      }
      taken.push_back(column);
    }
  }

  SmallVector<Value> take(Ix stage, int64_t number, int64_t half) override {
    SmallVector<Value> words;
    for (Column column : ArrayRef(taken).slice(2 * number, 2)) {
      if (scales && groups > 1) {
        column.scale = loadParameter(stage, codeBytes, column.x);
        if (bases)
          column.base = loadParameter(stage, codeBytes + columns * 4, column.x);
      }
      SmallVector<Value> stored = load(stage, column.x), values;
      int64_t count = laneElements / 2;
      for (int64_t i = half * count; i < (half + 1) * count; ++i)
        values.push_back(widened(stored, i, column));
      for (int64_t i = 0; i < count; i += 4 / types.elementBytes())
        words.push_back(types.isTf32() ? roundToTf32(k, LLVM::BitcastOp::create(k.b, k.loc, k.b.getI32Type(), values[i]))
                                       : packHalves(k, types, values[i], values[i + 1]));
    }
    return words;
  }

private:
  /// A column of the tile that the lane has elements of. Scale null: there is none, or it differs from step to step.
  struct Column {
    Ix x;
    Value scale, base;
  };

  void pack(const nn::NarrowWeights &w) {
    nn::ConstantData data = *k.lowering.constant(w.values);
    int64_t perStep = stepElements(types), steps = llvm::divideCeil(w.depth, perStep);
    std::vector<char> bytes(std::max<int64_t>(copyBytes, steps * filledColumns * columnLanes * laneBytes));
    if (w.isFloat())
      floatType = nn::elementTypeOf(w.values.getType());
    for (int64_t step = 0; step < steps; ++step)
      for (int64_t n = 0; n < w.columns; ++n)
        for (int64_t t = 0; t < columnLanes; ++t) {
          char *to = bytes.data() + ((step * filledColumns + n) * columnLanes + t) * laneBytes;
          for (int64_t i = 0; i < laneElements; ++i) {
            int64_t d = step * perStep + depthOf(types, t, i);
            if (d >= w.depth)
              continue;
            if (w.isFloat())
              std::memcpy(to + 2 * i, data.bytes().data() + 2 * w.at(d, n), 2);
            else
              to[i * codes.bits / 8] |= char(codes.code(data.bytes(), w.at(d, n)) << i * codes.bits % 8);
          }
        }
    packed = k.weights(bytes, k.b.getI8Type(), {int64_t(bytes.size())});
  }

  /// Copies bytes from byte `from` of `buffer` on, all threads together.
  void copy(const Buffer &buffer, Ix from, Ix to, int64_t bytes) {
    for (int64_t i = 0; i < llvm::divideCeil(bytes, k.threads * copyBytes); ++i) {
      Ix at = (k.thread + i * k.threads) * copyBytes;
      auto one = [&] {
        copyAsync(k, k.ptrAdd(memory.ptr, to + at, memory.storageType), k.ptrAdd(buffer.ptr, from + at, memory.storageType),
                  copyBytes, Value());
      };
      if ((i + 1) * k.threads * copyBytes > bytes)
        k.ifThen(at < k.c(bytes), one);
      else
        one();
    }
  }

  Value loadParameter(Ix stage, int64_t table, Ix x) {
    return k.loadAt(k.ptrAdd(memory.ptr, stage * stageBytes + table, memory.storageType), x, k.b.getF32Type(), 4);
  }

  /// What the lane has of a column, in words (or less than one).
  SmallVector<Value> load(Ix stage, Ix x) {
    Type i32 = k.b.getI32Type(), type = k.b.getIntegerType(8 * laneBytes);
    Ix at = stage * stageBytes + (x * columnLanes + lane % columnLanes) * laneBytes;
    Value all = k.loadAt(k.ptrAdd(memory.ptr, at, memory.storageType), k.c(0), type, laneBytes);
    if (laneBytes < 4)
      return {arith::ExtUIOp::create(k.b, k.loc, i32, all)};
    if (laneBytes == 4)
      return {all};
    Value high = arith::ShRUIOp::create(k.b, k.loc, all, k.constant(type, 32));
    return {arith::TruncIOp::create(k.b, k.loc, i32, all), arith::TruncIOp::create(k.b, k.loc, i32, high)};
  }

  Value widened(ArrayRef<Value> stored, int64_t i, const Column &column) {
    int64_t bit = i * codes.bits % 32;
    Value word = stored[i * codes.bits / 32];
    if (bit)
      word = arith::ShRUIOp::create(k.b, k.loc, word, k.constant(k.b.getI32Type(), double(bit)));
    if (!scales) {
      Value half = arith::TruncIOp::create(k.b, k.loc, k.b.getI16Type(), word);
      return k.toFloat(LLVM::BitcastOp::create(k.b, k.loc, floatType, half));
    }
    return cpu::fmul(k, codes.widened(k, word, column.base), column.scale);
  }

  Kernel &k;
  MmaTypes types;
  NarrowCodes codes;
  Ix firstColumn;
  int64_t columns, group, groups, filledColumns;
  int64_t laneElements, laneBytes; // of a column in a step
  int64_t codeBytes, stageBytes;
  Ix lane;
  Type floatType;
  Buffer packed, memory;
  std::optional<Buffer> scales, bases;
  Value base; // where all are equal
  SmallVector<Column> taken;
};

} // namespace

bool isForTensorCores(nn::MatMulOp op, Lowering &l, const nn::NarrowWeights &weights) {
  std::optional<MmaTypes> types = tensorTypes(op, l, Value(), Value());
  // A step is of one group.
  return types && (weights.groups() == 1 || weights.group % stepElements(*types) == 0);
}

LogicalResult emitNarrowOnTensorCores(nn::MatMulOp op, Lowering &l, const nn::NarrowWeights &weights, nn::Dim when) {
  cpu::MatMulShape shape(op, l);
  TensorContraction c;
  c.op = op;
  c.name = "matmul_w" + std::to_string(NarrowCodes(weights).bits);
  c.types = *tensorTypes(op, l, Value(), Value());
  c.m = shape.m;
  c.n = shape.n;
  c.depth = shape.depth;
  c.count = l.c(1);
  c.when = when;
  c.tile = TensorTile::choose(op, machineOf(l), c.types, c.m, c.n, c.depth, c.count, stepBytes);
  c.flops = shape.m * shape.n * shape.depth * 2;
  c.place = [](Kernel &, Ix, Ix row, Ix column) { return std::pair(row, column); };
  c.left = [&](Kernel &k, Ix) {
    return tensorMatrix(k, c, k.read(op.getA()), isAligned(l, op.getA()), k.c(0), shape.m, shape.depth, /*along=*/true);
  };
  c.narrow = [&](Kernel &k, Ix firstColumn) {
    return std::make_unique<NarrowOperand>(k, c.types, c.tile, weights, firstColumn);
  };
  return emitTensorContraction(l, c);
}

} // namespace nnopt::cuda
