//===- MatMulNarrow.cpp - products with weights in fewer bits ---------------===//
//
// The weights stay in memory as they are stored, [column][depth], and become floats in registers. Few rows (decoding) are
// bound by reading them: a warp has some columns of one row. More rows are tiles whose loads widen the weights.
//
// An integer u below 2^23 becomes a float without a conversion: the bits 0x4b000000 | u are 2^23 + u.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cpu/contraction/NarrowWeights.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Epilogue.h"
#include "lib/codegen/cuda/Gemm.h"
#include "lib/codegen/cuda/Gemv.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t warps = 4, maxFewRows = 4;
constexpr double toFloatBase = 8388608; // 2^23

/// The second operand in a kernel.
class NarrowMatrix {
public:
  NarrowMatrix(Kernel &k, const nn::NarrowWeights &w) : k(k), depth(w.depth), group(w.group), groups(w.groups()) {
    Type type = nn::elementTypeOf(w.values.getType());
    nn::ConstantData data = *k.lowering.constant(w.values);
    padded = llvm::alignTo(depth, 32);
    if (w.isFloat()) {
      bits = 16;
      packFloats(w, data.bytes(), type);
      return;
    }
    bits = type.getIntOrFloatBitWidth() <= 4 ? 4 : 8;
    int64_t offset = type.isUnsignedInteger() ? 0 : int64_t(1) << (bits - 1);
    packIntegers(w, data.bytes(), offset);
    packParameters(w, offset);
  }

  /// Neighbours along the depth that are one load: of one group, and all inside or none.
  int64_t lanes() const {
    for (int64_t n = bits == 16 ? 8 : 16; n > 1; n /= 2)
      if (depth % n == 0 && (group == depth || group % n == 0))
        return n;
    return 1;
  }
  double bytesPerColumn() const { return double(depth) * bits / 8 + (scales ? 4.0 * double(groups) : 0); }

  /// Scale and zero point of the group at `position`; scale null: there are none.
  struct Parameters {
    Value scale, base; // base: what is subtracted from 2^23 + u
  };
  Parameters parameters(Ix column, Ix position) {
    if (!scales)
      return {};
    Ix at = column * groups + (groups == 1 ? k.c(0) : position / group);
    Value base = k.f32(toFloatBase + zero);
    if (zeros)
      base = k.load(*zeros, at);
    return {k.load(*scales, at), base};
  }
  /// `count` (1, 2, 4, 8, 16) weights of a column from `position`, a multiple of it, on; without the scale.
  SmallVector<Value> load(Ix column, Ix position, int64_t count, const Parameters &p) {
    SmallVector<Value> values;
    if (!scales) {
      for (Value v : k.loadLanes(matrix, column * padded + position, count))
        values.push_back(k.toFloat(v));
      return values;
    }
    int64_t perWord = 32 / bits;
    Ix at = column * padded + position;
    if (count < perWord) { // a part of a word
      Value word = loadWord(at / perWord, 1)[0];
      Value shift = arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), Value(at % perWord * bits));
      word = arith::ShRUIOp::create(k.b, k.loc, word, shift);
      for (int64_t i = 0; i < count; ++i)
        values.push_back(widened(word, i, p));
      return values;
    }
    for (Value word : loadWord(at / perWord, count / perWord))
      for (int64_t i = 0; i < perWord; ++i)
        values.push_back(widened(word, i, p));
    return values;
  }

private:
  void packFloats(const nn::NarrowWeights &w, ArrayRef<char> bytes, Type type) {
    std::vector<char> packed(w.columns * padded * 2);
    for (int64_t n = 0; n < w.columns; ++n)
      for (int64_t d = 0; d < depth; ++d)
        std::memcpy(&packed[(n * padded + d) * 2], bytes.data() + w.at(d, n) * 2, 2);
    matrix = k.weights(packed, type, {w.columns * padded});
  }
  void packIntegers(const nn::NarrowWeights &w, ArrayRef<char> bytes, int64_t offset) {
    std::vector<char> packed(w.columns * padded * bits / 8);
    for (int64_t n = 0; n < w.columns; ++n)
      for (int64_t d = 0; d < depth; ++d) {
        unsigned u = unsigned(bytes[w.at(d, n)] + offset) & ((1u << bits) - 1);
        int64_t at = n * padded + d;
        packed[at * bits / 8] |= char(u << (bits == 4 ? at % 2 * 4 : 0));
      }
    matrix = k.weights(packed, k.b.getI32Type(), {int64_t(packed.size()) / 4});
  }
  void packParameters(const nn::NarrowWeights &w, int64_t offset) {
    nn::ConstantData scaleData = *k.lowering.constant(w.scale);
    std::vector<float> scaleValues, bases;
    std::optional<nn::ConstantData> zeroData;
    if (w.zero)
      zeroData = k.lowering.constant(w.zero);
    for (int64_t n = 0; n < w.columns; ++n)
      for (int64_t g = 0; g < groups; ++g) {
        scaleValues.push_back(float(scaleData.asDouble(w.scaleAt(g, n))));
        int64_t z = offset + (zeroData ? zeroData->asInt(w.zeroAt(g, n)) : 0);
        bases.push_back(float(toFloatBase + double(z))); // exact
      }
    scales = k.weights(scaleValues);
    if (llvm::all_equal(bases))
      zero = double(bases[0]) - toFloatBase;
    else
      zeros = k.weights(bases);
  }

  SmallVector<Value> loadWord(Ix index, int64_t count) { return k.loadLanes(matrix, index, count); }
  Value widened(Value word, int64_t i, const Parameters &p) {
    auto constant = [&](int64_t v) -> Value { return arith::ConstantIntOp::create(k.b, k.loc, v, 32); };
    if (i)
      word = arith::ShRUIOp::create(k.b, k.loc, word, constant(i * bits));
    word = arith::AndIOp::create(k.b, k.loc, word, constant((1 << bits) - 1));
    word = arith::OrIOp::create(k.b, k.loc, word, constant(0x4b000000));
    return cpu::fsub(k, arith::BitcastOp::create(k.b, k.loc, k.b.getF32Type(), word), p.base);
  }

  Kernel &k;
  int64_t depth, group, groups, padded, bits;
  Buffer matrix;
  std::optional<Buffer> scales, zeros;
  double zero = 0; // where all are equal
};

struct Product {
  nn::MatMulOp op;
  Lowering &l;
  nn::NarrowWeights weights;
  cpu::MatMulShape shape;

  Product(nn::MatMulOp op, Lowering &l) : op(op), l(l), weights(*cpu::narrowWeights(l, op.getBMutable())), shape(op, l) {}

  void emitFewRows(nn::Dim when) {
    Kernel k(l, op, "gemv_narrow", warps * warpSize);
    Buffer x = k.read(op.getA());
    NarrowMatrix matrix(k, weights);
    Epilogue epilogue(k, op);
    // Columns of a warp share the loads of x.
    int64_t columns = weights.columns >= 4096 ? 4 : 2, lanes = matrix.lanes(), depth = weights.depth;
    int64_t xLanes = isAligned(l, op.getA()) && depth % 4 == 0 ? std::min<int64_t>(4, lanes) : 1;
    nn::Dim tiles = l.c(llvm::divideCeil(weights.columns, columns * warps));
    Ix row = k.block / k.dim(tiles), lane = k.thread % warpSize, last = k.c(weights.columns - 1);
    Ix first = (k.block % k.dim(tiles) * warps + k.thread / warpSize) * columns;
    SmallVector<Value> sums(columns, k.f32(0));
    sums = k.loop(lane * lanes, k.c(depth), warpSize * lanes, sums, [&](Ix d, ValueRange in) {
      SmallVector<Value> xs, next;
      for (int64_t i = 0; i < lanes; i += xLanes)
        xs.append(k.loadLanes(x, row * depth + d + i, xLanes));
      for (int64_t c = 0; c < columns; ++c) {
        Ix column = (first + c).min(last);
        NarrowMatrix::Parameters p = matrix.parameters(column, d);
        Value sum = p.scale ? k.f32(0) : in[c];
        for (auto [w, v] : llvm::zip(matrix.load(column, d, lanes, p), xs))
          sum = k.fma(w, v, sum);
        next.push_back(p.scale ? k.fma(sum, p.scale, in[c]) : sum);
      }
      return next;
    });
    for (int64_t c = 0; c < columns; ++c) {
      Value sum = sumOfWarp(k, sums[c]);
      Ix column = first + c;
      k.ifThen(k.land(lane == c, column <= last), [&] { epilogue.store(row, column, sum); });
    }
    finish(k, matrix);
    k.launch(shape.m * tiles * when);
  }

  void emitTiles(nn::Dim when) {
    Tile tile = Tile::choose(shape.m, shape.n, l.c(1));
    Kernel k(l, op, "matmul_narrow", tile.threads());
    Buffer x = k.read(op.getA());
    NarrowMatrix matrix(k, weights);
    Epilogue epilogue(k, op);
    nn::Dim rowTiles = shape.m.ceilDiv(tile.rows), columnTiles = shape.n.ceilDiv(tile.columns);
    Ix columnTile = k.block % k.dim(columnTiles), rowTile = k.block / k.dim(columnTiles);
    TileOperand left = matrixOperand(k, x, isAligned(l, op.getA()), k.c(0), shape.m, shape.depth, /*along=*/true);
    TileOperand right;
    right.alongDepth = true;
    right.lanes = std::min<int64_t>(4, matrix.lanes());
    right.prepare = [](Ix column) -> SmallVector<Ix> { return {column}; };
    right.load = [&](ArrayRef<Ix> prepared, Ix d) {
      Value inside = k.land(prepared[0] < k.c(weights.columns), d < k.c(weights.depth));
      return k.ifElse(
          inside, SmallVector<Type>(right.lanes, k.b.getF32Type()),
          [&] {
            NarrowMatrix::Parameters p = matrix.parameters(prepared[0], d);
            SmallVector<Value> values = matrix.load(prepared[0], d, right.lanes, p);
            for (Value &v : values)
              v = p.scale ? cpu::fmul(k, v, p.scale) : v;
            return values;
          },
          [&] { return SmallVector<Value>(right.lanes, k.f32(0)); });
    };
    emitTile(k, tile, shape.depth, left, right, rowTile * tile.rows, columnTile * tile.columns, k.dim(shape.m),
             k.dim(shape.n), epilogue.lanes(), [&](Ix row, Ix column, ArrayRef<Value> sums) { epilogue.store(row, column, sums); });
    finish(k, matrix);
    k.launch(rowTiles * columnTiles * when);
  }

private:
  void finish(Kernel &k, const NarrowMatrix &matrix) {
    k.flops = shape.m * shape.n * shape.depth * 2;
    k.bytes = shape.m * (shape.n + shape.depth) * 4 + int64_t(matrix.bytesPerColumn() * double(weights.columns));
  }
};

bool match(Operation *op, Lowering &l) { return cpu::narrowWeights(l, cast<nn::MatMulOp>(op).getBMutable()).has_value(); }

LogicalResult emit(Operation *op, Lowering &l) {
  Product product(cast<nn::MatMulOp>(op), l);
  // 1 for few rows, 0 for more, perhaps known at run time only.
  nn::Dim few = l.c(maxFewRows).floorDiv(product.shape.m.max(l.c(1))).min(l.c(1));
  if (!few.isConst(0))
    product.emitFewRows(few);
  if (!few.isConst(1))
    product.emitTiles(l.c(1) - few);
  return success();
}

RegisterEmitter narrow({"nn.matmul", "cuda-matmul-narrow", 30, match, emit});

} // namespace
} // namespace nnopt::cuda
