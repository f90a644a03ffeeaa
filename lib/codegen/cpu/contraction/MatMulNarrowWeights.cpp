//===- MatMulNarrowWeights.cpp - products with weights in fewer bits --------===//
//
// Weight-only quantization and 16-bit storage of weights. Up to two tiles of rows (a step of decoding) are bound by memory:
// they read the narrow panels and widen them in registers. More rows widen a part of a panel into scratch memory once and
// run the loops of f32 over it.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cpu/contraction/NarrowWeights.h"
#include "lib/codegen/cpu/contraction/Reference.h"
#include <cmath>

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// Tiles of rows from which on a panel is widened into memory.
constexpr int64_t kScratchTiles = 3;

bool match(Operation *op, Lowering &lowering) { return narrowWeights(lowering, cast<nn::MatMulOp>(op).getBMutable()).has_value(); }

LogicalResult emit(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  MatMulShape shape(op, lowering);
  nn::NarrowWeights weights = *narrowWeights(lowering, op.getBMutable());
  Type f32 = Float32Type::get(op.getContext());
  int64_t depth = weights.depth;

  TileQuery query;
  query.rows = constantDim(shape.m);
  query.columns = weights.columns;
  query.depth = depth;
  query.maxRows = maxRowsForPitch(lowering.target, depth * 4);
  int64_t parts = 1, unit = NarrowPanels::partUnit(weights);
  if (unit && lowering.shapes.info(op.getResult()).elementType.isF32())
    parts = chooseDepthBlocks(lowering.target, query.rows, depth, 4);
  int64_t partDepth = llvm::alignTo(llvm::divideCeil(depth, parts), std::max<int64_t>(unit, 1));
  parts = llvm::divideCeil(depth, partDepth);
  query.depth = partDepth;
  Tile tile = chooseTile(lowering.target, query);

  Kernel k(lowering, op, "matmul_narrow_" + dimText(shape.m) + "x" + dimText(shape.n) + "x" + dimText(shape.depth));
  Buffer a = k.read(op.getA());
  NarrowPanels panels(k, weights, tile);
  Finish finish(k, op, op.getBias(), f32);
  if (parts == 1)
    finish.allowInPlace();
  PanelLoop loop;
  loop.tile = tile;
  loop.rows = shape.m;
  loop.columns = shape.n;
  loop.outer = shape.outer;
  loop.depthBlocks = parts;
  loop.blockTiles = chooseBlockTiles(lowering.target, tile, query.rows, partDepth * 4, constantDim(loop.panels()));

  std::optional<int64_t> tiles = constantDim(loop.rowTiles());
  bool inRegisters = !tiles || *tiles < kScratchTiles, inScratch = !tiles || !inRegisters;
  int64_t prefetchShift = choosePrefetchShift(tile, query.rows);
  Value scratch = inScratch ? k.scratch(lowering.c(partDepth * tile.nr() * 4)) : Value();
  auto partAt = [&](const PanelAt &at) {
    Ix first = at.depthBlock * partDepth;
    bool even = depth % partDepth == 0;
    return NarrowPanels::Part{parts == 1 ? k.c(0) : first, even ? k.c(partDepth) : (k.c(depth) - first).min(k.c(partDepth))};
  };
  emitPanelLoop(
      k, loop,
      [&](PanelAt &at) {
        auto widen = [&] { panels.widen(at, partAt(at), scratch); };
        if (inScratch && inRegisters)
          k.ifThen(k.c(kScratchTiles) <= at.tiles, widen);
        else if (inScratch)
          widen();
        return SmallVector<Value>();
      },
      [&](PanelAt &at, TileAt &t, ValueRange) {
        NarrowPanels::Part part = partAt(at);
        SmallVector<Value> rows;
        for (int64_t i = 0; i < t.mr; ++i)
          rows.push_back(k.ptrAdd(a.ptr, (t.row + i) * depth + part.firstDepth, f32));
        auto rowOf = [&](Ix i) { return t.row + i; };
        SmallVector<Value> acc =
            finish.startPart(at.depthBlock, parts, t.mr, rowOf, at.column, at.nv, tile.lanes, at.masks);
        auto fromRegisters = [&] { return panels.accumulate(at, part, rows, acc); };
        auto fromScratch = [&] {
          Accumulate inner;
          inner.element = f32;
          inner.rows = rows;
          inner.panel = scratch;
          inner.depth = part.depth;
          inner.nv = at.nv;
          inner.lanes = tile.lanes;
          if (!at.tail && t.mr == tile.mr) {
            // The tiles of a panel bring the next one to L2, a line in some steps.
            inner.prefetchShift = prefetchShift;
            Ix steps = part.depth / (int64_t(1) << prefetchShift);
            Value line = k.ptrAdd(panels.nextPanel(at, part), t.index * steps * 64, k.b.getI8Type());
            int64_t tilesThatPrefetch = int64_t(std::ceil(panels.linesPerStep() * double(int64_t(1) << prefetchShift)));
            inner.prefetch = k.select(t.index < tilesThatPrefetch, line, scratch);
          }
          return emitAccumulate(k, inner, acc);
        };
        if (inScratch && inRegisters)
          acc = k.ifElse(k.c(kScratchTiles) <= at.tiles, ValueRange(acc).getTypes(), fromScratch, fromRegisters);
        else
          acc = inScratch ? fromScratch() : fromRegisters();
        finish.storePart(at.depthBlock, parts, t.mr, rowOf, at.column, at.nv, tile.lanes, at.masks, acc);
      });

  double columnBytes = NarrowPanels::columnBytes(weights);
  k.flops = shape.m * shape.n * depth * 2;
  k.bytes = shape.m * (shape.n + depth) * 4 + int64_t(columnBytes * double(weights.columns));
  k.grain = taskGrain(2.0 * tile.mr * tile.nr() * double(depth), columnBytes * tile.nr());
  lowering.launch(k, loop.tasks());
  return success();
}

RegisterEmitter narrow({"nn.matmul", "matmul-narrow-weights", 30, match, emit});

} // namespace
} // namespace nnopt::cpu
