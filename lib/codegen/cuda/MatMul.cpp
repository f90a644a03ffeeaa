//===- MatMul.cpp - matrix products of floats -------------------------------===//

#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cuda/Epilogue.h"
#include "lib/codegen/cuda/Gemm.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

bool match(Operation *op, Lowering &l) {
  auto matmul = cast<nn::MatMulOp>(op);
  return areFloats(l, {matmul.getA(), matmul.getB(), matmul.getResult()}) &&
         canRunEpilogue(matmul.getEpilogue());
}

LogicalResult emit(Operation *op, Lowering &l) {
  auto matmul = cast<nn::MatMulOp>(op);
  cpu::MatMulShape shape(matmul, l);
  Tile tile = Tile::choose(shape.m, shape.n, shape.outer);
  Kernel k(l, op, "matmul", tile.threads());
  Buffer a = k.read(matmul.getA()), b = k.read(matmul.getB());
  Epilogue epilogue(k, matmul, shape.bVector);
  nn::Dim rowTiles = shape.m.ceilDiv(l.c(tile.rows)), columnTiles = shape.n.ceilDiv(l.c(tile.columns));
  Ix columnTile = k.block % k.dim(columnTiles), rest = k.block / k.dim(columnTiles);
  Ix rowTile = rest % k.dim(rowTiles), index = rest / k.dim(rowTiles);
  Ix m = k.dim(shape.m), n = k.dim(shape.n);
  nn::Dim aMatrix = shape.m * shape.depth, bMatrix = shape.depth * shape.n;
  Ix aBase = shape.batchOffset(k, index, shape.aBatch, aMatrix), bBase = shape.batchOffset(k, index, shape.bBatch, bMatrix);
  // Matrices of a batch must start at multiples of 4 too.
  bool aAligned = isAligned(l, matmul.getA()) && (shape.outer.isConst(1) || isMultiple(aMatrix, 4));
  bool bAligned = isAligned(l, matmul.getB()) && (shape.outer.isConst(1) || isMultiple(bMatrix, 4));
  TileOperand left = matrixOperand(k, a, aAligned, aBase, shape.m, shape.depth, !shape.transposeA);
  TileOperand right = matrixOperand(k, b, bAligned, bBase, shape.n, shape.depth, shape.transposeB);
  emitTile(k, tile, shape.depth, left, right, rowTile * tile.rows, columnTile * tile.columns, m, n, epilogue.lanes(),
           [&](Ix row, Ix column, ArrayRef<Value> sums) { epilogue.store(index * m + row, column, sums); });
  k.flops = shape.outer * shape.m * shape.n * shape.depth * 2;
  k.launch(shape.outer * rowTiles * columnTiles);
  return success();
}

RegisterEmitter matmul({"nn.matmul", "cuda-matmul", 10, match, emit});

} // namespace
} // namespace nnopt::cuda
