//===- Gather.cpp - gather, gather_elements, gather_nd ----------------------===//
//
// Negative indices count from the end. Indices out of range are an error of the model; here they
// are clamped, so that nothing outside of the tensor is ever read.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Gather.h"
#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {

Ix loadIndex(Kernel &k, const Buffer &indices, Ix at, Ix size) {
  Ix i = k.toIndex(k.load(indices, at), indices.isUnsigned);
  i = k.selectIx(i < 0, i + size, i);
  return i.min(size - 1).max(k.c(0));
}

int64_t rowGrain(nn::Dim row, int64_t bytes) {
  return row.isConst() ? std::max<int64_t>(1, 16384 / std::max<int64_t>(1, row.value() * bytes)) : 8;
}

namespace {

/// Runs `body` unless x has no elements (then there is nothing to read for any index).
void unlessEmpty(Kernel &k, ArrayRef<nn::Dim> dims, function_ref<void()> body) {
  nn::Dim n = nn::product(k.lowering.dimContext(), dims);
  if (n.isAtLeast(1))
    body();
  else
    k.ifThen(k.c(0) < k.dim(n), body);
}

LogicalResult referenceGather(Operation *op, Lowering &l) {
  auto gather = cast<nn::GatherOp>(op);
  Kernel k(l, op, "gather");
  Buffer x = asBits(k, k.read(gather.getX())), out = asBits(k, k.write(gather.getResult()));
  Buffer indices = k.read(gather.getIndices());
  unsigned axis = gather.getAxis(), rank = x.rank();
  nn::Dim inner = l.product(x.dims, axis + 1, rank), m = nn::product(l.dimContext(), indices.dims);
  unlessEmpty(k, x.dims, [&] {
    k.loop(k.begin, k.end, 1, [&](Ix i) {
      Ix column = i % k.dim(inner), rest = i / k.dim(inner);
      Ix size = k.dim(x.dims[axis]);
      Ix at = loadIndex(k, indices, rest % k.dim(m), size);
      k.store(out, i, k.load(x, (rest / k.dim(m) * size + at) * k.dim(inner) + column));
    });
  });
  k.grain = 4096;
  l.launch(k, nn::product(l.dimContext(), out.dims));
  return success();
}

// Whole runs of the axes after `axis` are copied; where there are none (axis is the last), blocks
// of indices are looked up element by element.
LogicalResult emitGather(Operation *op, Lowering &l) {
  auto gather = cast<nn::GatherOp>(op);
  nn::DimContext &ctx = l.dimContext();
  Kernel k(l, op, "gather");
  Buffer x = asBits(k, k.read(gather.getX())), out = asBits(k, k.write(gather.getResult()));
  Buffer indices = k.read(gather.getIndices());
  unsigned axis = gather.getAxis(), rank = x.rank();
  nn::Dim inner = l.product(x.dims, axis + 1, rank), m = nn::product(ctx, indices.dims);
  nn::Dim rows = l.product(x.dims, 0, axis) * m;
  Ix size = k.dim(x.dims[axis]), run = k.dim(inner);
  int64_t bytes = storageBytes(out);
  nn::Dim tasks = rows;
  unlessEmpty(k, x.dims, [&] {
    nn::Dims zero = {l.c(0), l.c(1)}, block = {x.dims[axis] * inner, l.c(0)};
    int64_t perTask = rowGrain(inner, bytes) > 1 && inner.isConst() ? rowGrain(inner, bytes) : 1;
    Ix high = (k.end * perTask).min(k.dim(rows));
    tasks = rows.ceilDiv(l.c(perTask));
    k.grain = perTask > 1 ? 2 : rowGrain(inner, bytes);
    forEachIndex(k, {l.product(x.dims, 0, axis), m}, {zero, block, {inner * m, inner}}, k.begin * perTask, high, {},
                 [&](ArrayRef<Ix> offset, ValueRange) {
                   Ix at = loadIndex(k, indices, offset[0], size);
                   copyRow(k, out, offset[2], x, offset[1] + at * run, run);
                   return SmallVector<Value>();
                 });
  });
  k.bytes = rows * inner * (2 * bytes);
  l.launch(k, tasks);
  return success();
}

LogicalResult emitGatherElements(Operation *op, Lowering &l) {
  auto gather = cast<nn::GatherElementsOp>(op);
  Kernel k(l, op, "gather_elements");
  Buffer x = asBits(k, k.read(gather.getX())), out = asBits(k, k.write(gather.getResult()));
  Buffer indices = k.read(gather.getIndices());
  unsigned axis = gather.getAxis();
  SmallVector<Ix> strides = k.strides(x.dims);
  unlessEmpty(k, x.dims, [&] {
    k.loop(k.begin, k.end, 1, [&](Ix i) {
      SmallVector<Ix> index = k.delinearize(i, out.dims);
      index[axis] = loadIndex(k, indices, i, k.dim(x.dims[axis]));
      Ix offset = k.c(0);
      for (auto [at, s] : llvm::zip(index, strides))
        offset = offset + at * s;
      k.store(out, i, k.load(x, offset));
    });
  });
  k.grain = 2048;
  l.launch(k, nn::product(l.dimContext(), out.dims));
  return success();
}

// indices is [batch..., outer..., n]: the first n axes after the batch are looked up, the rest of x
// is copied as one run.
LogicalResult emitGatherND(Operation *op, Lowering &l) {
  auto gather = cast<nn::GatherNDOp>(op);
  Kernel k(l, op, "gather_nd");
  Buffer x = asBits(k, k.read(gather.getX())), out = asBits(k, k.write(gather.getResult()));
  Buffer indices = k.read(gather.getIndices());
  unsigned batch = gather.getBatchDims(), rank = x.rank();
  nn::Dim depth = indices.dims.back();
  if (!depth.isConst())
    return op->emitError("gather_nd needs a known last dimension of indices");
  unsigned n = depth.value();
  nn::Dim run = l.product(x.dims, batch + n, rank);
  nn::Dim tuples = l.product(indices.dims, 0, indices.rank() - 1);
  nn::Dim perBatch = l.product(indices.dims, batch, indices.rank() - 1);
  SmallVector<Ix> strides = k.strides(x.dims);
  Ix batchStride = k.dim(l.product(x.dims, batch, rank));
  unlessEmpty(k, x.dims, [&] {
    k.loop(k.begin, k.end, 1, [&](Ix i) {
      Ix from = batch ? i / k.dim(perBatch) * batchStride : k.c(0);
      for (unsigned d = 0; d < n; ++d)
        from = from + loadIndex(k, indices, i * int64_t(n) + int64_t(d), k.dim(x.dims[batch + d])) * strides[batch + d];
      copyRow(k, out, i * k.dim(run), x, from, k.dim(run));
    });
  });
  k.grain = rowGrain(run, storageBytes(out));
  l.launch(k, tuples);
  return success();
}

RegisterEmitter gatherReference({"nn.gather", "gather-reference", 0, nullptr, referenceGather});
RegisterEmitter gather({"nn.gather", "gather", 10, nullptr, emitGather});
RegisterEmitter gatherElements({"nn.gather_elements", "gather-elements", 0, nullptr, emitGatherElements});
RegisterEmitter gatherND({"nn.gather_nd", "gather-nd", 0, nullptr, emitGatherND});

} // namespace
} // namespace nnopt::cpu
