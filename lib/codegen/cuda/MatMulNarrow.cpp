//===- MatMulNarrow.cpp - products with weights in fewer bits ---------------===//
//
// Few rows (decoding) are bound by reading the weights: a warp has some columns of one row. More rows are tiles on tensor
// cores, where they multiply the rows' type (TensorNarrow.h), or tiles whose loads widen the weights.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cpu/contraction/NarrowWeights.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Epilogue.h"
#include "lib/codegen/cuda/Gemm.h"
#include "lib/codegen/cuda/Gemv.h"
#include "lib/codegen/cuda/NarrowMatrix.h"
#include "lib/codegen/cuda/TensorNarrow.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t warps = 4, maxFewRows = 4;

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
    int64_t xLanes = std::min(rowLanes(l, Value(op.getA()), l.c(depth)), lanes);
    nn::Dim tiles = l.c(llvm::divideCeil(weights.columns, columns * warps));
    Ix row = k.block / k.dim(tiles), lane = k.thread % warpSize, last = k.c(weights.columns - 1);
    Ix first = (k.block % k.dim(tiles) * warps + k.thread / warpSize) * columns;
    SmallVector<Value> sums(columns, k.f32(0));
    sums = k.loop(lane * lanes, k.c(depth), warpSize * lanes, sums, [&](Ix d, ValueRange in) {
      SmallVector<Value> xs, next;
      for (int64_t i = 0; i < lanes; i += xLanes)
        for (Value v : k.loadLanes(x, row * depth + d + i, xLanes))
          xs.push_back(k.toFloat(v));
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
          [&] { return matrix.loadScaled(prepared[0], d, right.lanes); },
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
    int64_t bytes = nn::elementBytes(l.shapes.info(op.getA()).elementType);
    k.bytes = shape.m * (shape.n + shape.depth) * bytes + int64_t(matrix.bytesPerColumn() * double(weights.columns));
  }
};

bool match(Operation *op, Lowering &l) { return cpu::narrowWeights(l, cast<nn::MatMulOp>(op).getBMutable()).has_value(); }

LogicalResult emit(Operation *op, Lowering &l) {
  Product product(cast<nn::MatMulOp>(op), l);
  // 1 for few rows, 0 for more, perhaps known at run time only.
  nn::Dim few = l.c(maxFewRows).floorDiv(product.shape.m.max(l.c(1))).min(l.c(1));
  if (!few.isConst(0))
    product.emitFewRows(few);
  if (few.isConst(1))
    return success();
  if (isForTensorCores(product.op, l, product.weights))
    return emitNarrowOnTensorCores(product.op, l, product.weights, l.c(1) - few);
  product.emitTiles(l.c(1) - few);
  return success();
}

RegisterEmitter narrow({"nn.matmul", "cuda-matmul-narrow", 30, match, emit});

} // namespace
} // namespace nnopt::cuda
