//===- Gather.cpp - lookups of rows -----------------------------------------===//
//
// A thread moves as much of a row as one access holds, its neighbours what is beside it. Rows of a constant table in fewer
// bits are widened on the way.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Gather.h"
#include "lib/codegen/cpu/contraction/NarrowWeights.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/NarrowMatrix.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t threads = 256;

LogicalResult emit(Operation *op, Lowering &l) {
  auto gather = cast<nn::GatherOp>(op);
  Kernel k(l, op, "gather", threads);
  Buffer x = cpu::asBits(k, k.read(gather.getX())), out = cpu::asBits(k, k.write(gather.getResult()));
  Buffer indices = k.read(gather.getIndices());
  unsigned axis = gather.getAxis();
  nn::Dim inner = l.product(x.dims, axis + 1, x.rank()), count = nn::product(l.dimContext(), indices.dims);
  int64_t bytes = cpu::storageBytes(x), lanes = 1;
  if (isAligned(l, gather.getX()) && isAligned(l, gather.getResult()))
    for (lanes = 16 / bytes; lanes > 1 && !isMultiple(inner, lanes);)
      lanes /= 2;
  nn::Dim pieces = inner.floorDiv(lanes), total = l.product(x.dims, 0, axis) * count * pieces;
  Ix i = k.block * threads + k.thread;
  // Of an empty tensor there is nothing to read for any index.
  nn::Dim elements = nn::product(l.dimContext(), x.dims);
  Value exists = i < k.dim(total);
  if (!elements.isAtLeast(1))
    exists = k.land(exists, k.c(0) < k.dim(elements));
  k.ifThen(exists, [&] {
    Ix column = i % k.dim(pieces) * lanes, row = i / k.dim(pieces), size = k.dim(x.dims[axis]);
    Ix at = cpu::loadIndex(k, indices, row % k.dim(count), size);
    Ix from = (row / k.dim(count) * size + at) * k.dim(inner) + column;
    k.storeLanes(out, i * lanes, k.loadLanes(x, from, lanes));
  });
  k.bytes = total * (2 * lanes * bytes);
  k.launch(total.ceilDiv(l.c(threads)));
  return success();
}

bool matchNarrow(Operation *op, Lowering &l) {
  return cpu::narrowWeights(l, cast<nn::GatherOp>(op).getXMutable()).has_value();
}

LogicalResult emitNarrow(Operation *op, Lowering &l) {
  auto gather = cast<nn::GatherOp>(op);
  nn::NarrowWeights table = *cpu::narrowWeights(l, gather.getXMutable());
  Kernel k(l, op, "gather_narrow", threads);
  Buffer indices = k.read(gather.getIndices()), out = k.write(gather.getResult());
  NarrowMatrix rows(k, table); // whose columns are the table's rows
  int64_t lanes = isAligned(l, gather.getResult()) ? std::min<int64_t>(4, rows.lanes()) : 1, pieces = table.depth / lanes;
  nn::Dim count = nn::product(l.dimContext(), indices.dims), total = count * pieces;
  Ix i = k.block * threads + k.thread;
  k.ifThen(i < k.dim(total), [&] {
    Ix row = cpu::loadIndex(k, indices, i / pieces, k.c(table.columns));
    k.storeLanes(out, i * lanes, rows.loadScaled(row, i % pieces * lanes, lanes));
  });
  k.bytes = count * (table.depth * 4 + int64_t(rows.bytesPerColumn()));
  k.launch(total.ceilDiv(l.c(threads)));
  return success();
}

RegisterEmitter gather({"nn.gather", "cuda-gather", 10, nullptr, emit});
RegisterEmitter narrow({"nn.gather", "cuda-gather-narrow", 20, matchNarrow, emitNarrow});

} // namespace
} // namespace nnopt::cuda
