//===- MatMulByteRows.cpp - rows of bytes times weights in fewer bits -------===//
//
// Both operands are integers with scales, of rows of the one and of groups of the other's columns: products of a group add up
// in 32-bit integers (NarrowProduct.h: vpdpbusd, or what is exact in its place), then scales are multiplied. Weights become
// bytes in registers.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/contraction/NarrowWeights.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

bool match(Operation *op, Lowering &lowering) { return bool(byteRows(lowering, cast<nn::MatMulOp>(op))); }

/// Sums of the bytes of each group of each row: weights are moved to be unsigned, and have zero points.
TempTensor emitGroupSums(nn::MatMulOp op, Lowering &lowering, Value rows, nn::Dim count, const nn::NarrowWeights &weights) {
  constexpr int64_t kLanes = 8, kBytes = 4 * kLanes;
  int64_t depth = weights.depth, groups = weights.groups();
  Type i32 = IntegerType::get(op.getContext(), 32);
  TempTensor sums = lowering.temp(i32, {count, lowering.c(groups)});
  Kernel k(lowering, op, "group_sums_" + dimText(count) + "x" + std::to_string(depth));
  Buffer x = k.read(rows), out = k.write(sums);
  VectorType vector = k.vec(kLanes, i32);
  k.loop(k.begin, k.end, 1, [&](Ix row) {
    k.loop(k.c(0), k.c(groups), 1, [&](Ix g) {
      Ix first = g * weights.group, end = (first + weights.group).min(k.c(depth));
      Value start = k.ptrAdd(x.ptr, row * depth, k.b.getI8Type());
      Ix whole = first + (end - first) / kBytes * kBytes;
      Value ones = k.splat(byteMask(k, 4, 1), kLanes);
      Value parts = k.loop(first, whole, kBytes, k.constant(vector, 0), [&](Ix i, ValueRange in) {
        Value bytes = k.loadAt(k.ptrAdd(start, i, k.b.getI8Type()), k.c(0), vector, 1);
        return SmallVector<Value>{addByteProducts(k, in[0], ones, bytes)};
      })[0];
      Value sum = vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::ADD, parts);
      sum = k.loop(whole, end, 1, sum, [&](Ix i, ValueRange in) {
        Value byte = arith::ExtSIOp::create(k.b, k.loc, i32, k.loadAt(start, i, k.b.getI8Type()));
        return SmallVector<Value>{arith::AddIOp::create(k.b, k.loc, in[0], byte)};
      })[0];
      k.store(out, row * groups + g, sum);
    });
  });
  k.bytes = count * depth;
  k.grain = std::max<int64_t>(1, 16384 / depth);
  lowering.launch(k, count);
  return sums;
}

LogicalResult emit(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  MatMulShape shape(op, lowering);
  nn::NarrowWeights weights = *narrowWeights(lowering, op.getBMutable());
  nn::DequantizeOp bytes = byteRows(lowering, op);
  int64_t depth = weights.depth, groups = weights.groups();
  TempTensor groupSums = emitGroupSums(op, lowering, bytes.getX(), shape.m, weights);

  Type i32 = IntegerType::get(op.getContext(), 32), f32 = Float32Type::get(op.getContext());
  TileQuery query;
  query.rows = constantDim(shape.m);
  query.columns = weights.columns;
  query.depth = llvm::divideCeil(depth, 4);
  // Sums of several groups wait in registers beside those of one.
  query.maxRows = groups > 1 ? 4 : maxRowsForPitch(lowering.target, depth);
  Tile tile = chooseTile(lowering.target, query);

  Kernel k(lowering, op, "matmul_bytes_" + dimText(shape.m) + "x" + dimText(shape.n) + "x" + dimText(shape.depth));
  Buffer a = k.read(bytes.getX()), scales = k.read(bytes.getScale()), sums = k.read(groupSums);
  NarrowPanels panels(k, weights, tile, NarrowPanels::Rows::Bytes);
  Finish finish(k, op, op.getBias(), f32);
  finish.allowInPlace();
  PanelLoop loop;
  loop.tile = tile;
  loop.rows = shape.m;
  loop.columns = shape.n;
  loop.outer = shape.outer;
  loop.blockTiles = chooseBlockTiles(lowering.target, tile, query.rows, depth, constantDim(loop.panels()));
  emitPanelLoop(
      k, loop, [&](PanelAt &) { return SmallVector<Value>(); },
      [&](PanelAt &at, TileAt &t, ValueRange) {
        SmallVector<Value> rows, rowSums;
        for (int64_t i = 0; i < t.mr; ++i) {
          rows.push_back(k.ptrAdd(a.ptr, (t.row + i) * depth, k.b.getI8Type()));
          rowSums.push_back(k.ptrAdd(sums.ptr, (t.row + i) * groups, i32));
        }
        SmallVector<Value> products = panels.multiplyBytes(at, rows, rowSums);
        SmallVector<Value> acc = finish.start(t.mr, at.column, at.nv, tile.lanes, at.masks);
        for (int64_t i = 0; i < t.mr; ++i) {
          Value scale = k.splat(k.load(scales, t.row + i), tile.lanes);
          for (int64_t v = i * at.nv; v < (i + 1) * at.nv; ++v)
            acc[v] = multiplyAdd(k, scale, products[v], acc[v]);
        }
        finish.store(t.mr, [&](Ix i) { return t.row + i; }, at.column, at.nv, tile.lanes, at.masks, acc);
      });

  double columnBytes = NarrowPanels::columnBytes(weights);
  k.flops = shape.m * shape.n * depth * 2;
  k.bytes = shape.m * (shape.n * 4 + depth) + int64_t(columnBytes * double(weights.columns));
  // Four products of bytes take the time of one of floats.
  k.grain = taskGrain(0.5 * tile.mr * tile.nr() * double(depth), columnBytes * tile.nr());
  lowering.launch(k, loop.tasks());
  return success();
}

RegisterEmitter byteRowsEmitter({"nn.matmul", "matmul-byte-rows", 40, match, emit});

} // namespace
} // namespace nnopt::cpu
