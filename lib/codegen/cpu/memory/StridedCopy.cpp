//===- StridedCopy.cpp - moving elements between strided spaces -------------===//

#include "lib/codegen/cpu/memory/StridedCopy.h"
#include "lib/codegen/cpu/memory/TransposeTile.h"

using namespace mlir;

namespace nnopt::cpu {

LogicalResult emitElementCopy(Operation *op, Lowering &l, Value x, Value result,
                              function_ref<Ix(Kernel &, ArrayRef<Ix>, ArrayRef<Ix>)> source) {
  Kernel k(l, op, op->getName().stripDialect());
  Buffer src = asBits(k, k.read(x)), dst = asBits(k, k.write(result));
  SmallVector<Ix> strides = k.strides(src.dims);
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    SmallVector<Ix> index = k.delinearize(i, dst.dims);
    k.store(dst, i, k.load(src, source(k, index, strides)));
  });
  k.grain = 4096;
  l.launch(k, nn::product(l.dimContext(), dst.dims));
  return success();
}

/// The axis along which the source is contiguous, if that is not the innermost one.
static std::optional<unsigned> transposedAxis(const Space &space) {
  unsigned last = space.rank() - 1;
  if (!space.strides[0][last].isConst(1) || space.strides[1][last].isConst(1) || space.strides[1][last].isConst(0))
    return std::nullopt;
  for (unsigned axis = 0; axis < last; ++axis)
    if (space.strides[1][axis].isConst(1))
      return axis;
  return std::nullopt;
}

void launchStridedCopy(Lowering &l, Kernel &k, StridedCopy copy) {
  nn::DimContext &ctx = l.dimContext();
  copy.dst = asBits(k, copy.dst);
  copy.src = asBits(k, copy.src);
  int64_t bytes = storageBytes(copy.dst);
  if (!Value(copy.to))
    copy.to = k.c(0);
  if (!Value(copy.from))
    copy.from = k.c(0);
  Space &space = copy.space;
  k.bytes = nn::product(ctx, space.sizes) * (2 * bytes);
  space.collapse(ctx);

  // A fastest source axis somewhere else: transpose tiles.
  if (auto axis = transposedAxis(space)) {
    launchTransposedCopy(l, k, copy, *axis);
    return;
  }

  space.splitInner(ctx, 32768 / bytes, 64);
  Tasks tasks = divide(l, space, 16384 / bytes, 64);
  nn::Dim dstStride = space.strides[0].back(), srcStride = space.strides[1].back();
  forRows(k, space, tasks, [&](ArrayRef<Ix> offsets, Ix low, Ix high) {
    Ix to = copy.to + offsets[0], from = copy.from + offsets[1];
    auto scalars = [&] {
      k.loop(low, high, 1, [&](Ix i) {
        k.store(copy.dst, to + i * k.dim(dstStride), k.load(copy.src, from + i * k.dim(srcStride)));
      });
    };
    auto vectors = [&] { copyRow(k, copy.dst, to + low, copy.src, from + low, high - low); };
    if (!dstStride.isConst(1))
      scalars();
    else if (srcStride.isConst(1))
      vectors();
    else if (srcStride.isConst(0))
      fillRow(k, copy.dst, to + low, k.load(copy.src, from), high - low);
    else if (srcStride.isConst())
      scalars();
    else
      k.ifThen(k.dim(srcStride) == 1, vectors, scalars);
  });
  l.launch(k, copy.times ? tasks.count * copy.times : tasks.count);
}

} // namespace nnopt::cpu
