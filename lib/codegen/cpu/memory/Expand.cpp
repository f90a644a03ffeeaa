//===- Expand.cpp - expand and tile -----------------------------------------===//

#include "lib/codegen/cpu/memory/StridedCopy.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

LogicalResult emitExpand(Operation *op, Lowering &l) {
  auto expand = cast<nn::ExpandOp>(op);
  nn::DimContext &ctx = l.dimContext();
  Kernel k(l, op, "expand");
  StridedCopy copy;
  copy.src = k.read(expand.getX());
  copy.dst = k.write(expand.getResult());
  copy.space = broadcastSpace(ctx, copy.dst.dims, {copy.dst.dims, copy.src.dims});
  launchStridedCopy(l, k, copy);
  return success();
}

// Along each axis, the result is [repeats, size] of the source with stride 0 along the repeats.
LogicalResult emitTile(Operation *op, Lowering &l) {
  auto tile = cast<nn::TileOp>(op);
  nn::DimContext &ctx = l.dimContext();
  Kernel k(l, op, "tile");
  StridedCopy copy;
  copy.src = k.read(tile.getX());
  copy.dst = k.write(tile.getResult());
  nn::Dims from = rowMajor(ctx, copy.src.dims), to = rowMajor(ctx, copy.dst.dims);
  auto repeats = l.shapes.content(tile.getRepeats());
  copy.space.strides.resize(2);
  for (auto [axis, size] : llvm::enumerate(copy.src.dims)) {
    nn::Dim times = repeats ? (*repeats)[axis] : copy.dst.dims[axis].floorDiv(size.max(ctx.constant(1)));
    copy.space.sizes.append({times, size});
    copy.space.strides[0].append({to[axis] * size, to[axis]});
    copy.space.strides[1].append({ctx.constant(0), from[axis]});
  }
  launchStridedCopy(l, k, copy);
  return success();
}

LogicalResult referenceTile(Operation *op, Lowering &l) {
  auto tile = cast<nn::TileOp>(op);
  nn::Dims dims = l.dims(tile.getX());
  return emitElementCopy(op, l, tile.getX(), tile.getResult(),
                         [&](Kernel &k, ArrayRef<Ix> index, ArrayRef<Ix> strides) {
                           Ix offset = k.c(0);
                           for (auto [i, s, d] : llvm::zip(index, strides, dims))
                             offset = offset + (i % k.dim(d)) * s;
                           return offset;
                         });
}

RegisterEmitter expand({"nn.expand", "expand", 0, nullptr, emitExpand});
RegisterEmitter tileReference({"nn.tile", "tile-reference", 0, nullptr, referenceTile});
RegisterEmitter tile({"nn.tile", "tile", 10, nullptr, emitTile});

} // namespace
} // namespace nnopt::cpu
