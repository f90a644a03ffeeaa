//===- TransposeTile.cpp - copies that transpose ----------------------------===//

#include "lib/codegen/cpu/memory/TransposeTile.h"

using namespace mlir;

namespace nnopt::cpu {

SmallVector<Value> transposeVectors(Kernel &k, ArrayRef<Value> rows) {
  // Stage s exchanges blocks of 2^s lanes between rows that are 2^s apart; after all stages element
  // (i, j) is where (j, i) was. x86 has an instruction for each stage's shuffles within 128 bits
  // (unpack) and across them (shuffle of 128-bit parts).
  SmallVector<Value> v(rows);
  int64_t n = rows.size();
  for (int64_t distance = 1; distance < n; distance *= 2) {
    SmallVector<int64_t> lower, upper;
    for (int64_t lane = 0; lane < n; ++lane) {
      bool second = lane & distance;
      lower.push_back(second ? lane - distance + n : lane);
      upper.push_back(second ? lane + n : lane + distance);
    }
    for (int64_t i = 0; i < n; ++i) {
      if (i & distance)
        continue;
      Value a = v[i], c = v[i + distance];
      v[i] = vector::ShuffleOp::create(k.b, k.loc, a, c, lower);
      v[i + distance] = vector::ShuffleOp::create(k.b, k.loc, a, c, upper);
    }
  }
  return v;
}

namespace {

/// Copies the block [row, row + nRows) x [col, col + nCols): dst[to + row * dstRow + col] =
/// src[from + row + col * srcCol].
struct TileCopier {
  Kernel &k;
  const Buffer &dst, &src;
  Ix dstRow, srcCol;
  int64_t tile;

  void scalars(Ix to, Ix from, Ix rowLow, Ix rowHigh, Ix colLow, Ix colHigh) {
    k.loop(rowLow, rowHigh, 1, [&](Ix r) {
      Ix toRow = to + r * dstRow, fromRow = from + r;
      k.loop(colLow, colHigh, 1, [&](Ix c) { k.store(dst, toRow + c, k.load(src, fromRow + c * srcCol)); });
    });
  }

  void full(Ix to, Ix from) {
    SmallVector<Value> rows;
    for (int64_t c = 0; c < tile; ++c)
      rows.push_back(k.load(src, from + srcCol * c, tile));
    for (auto [r, v] : llvm::enumerate(transposeVectors(k, rows)))
      k.store(dst, to + dstRow * int64_t(r), v);
  }
};

} // namespace

void launchTransposedCopy(Lowering &l, Kernel &k, const StridedCopy &copy, unsigned axis) {
  const Space &space = copy.space;
  nn::DimContext &ctx = l.dimContext();
  unsigned last = space.rank() - 1;
  int64_t bytes = storageBytes(copy.dst);
  // Rows of the tile are along `axis` (contiguous in the source), columns along the last one.
  int64_t tile = std::clamp<int64_t>(l.target.lanes(bytes), 2, 16);
  nn::Dim rowSize = space.sizes[axis], colSize = space.sizes[last];
  nn::Dim dstRow = space.strides[0][axis], srcCol = space.strides[1][last];

  Space outer = space;
  outer.eraseAxis(last);
  outer.eraseAxis(axis);

  // A task is a band of rows of one outer index. It is several tiles high, so that whole stretches
  // of the source's lines are used while they and their pages are near.
  int64_t bandTiles = 4;
  nn::Dim bandRows = l.c(tile * bandTiles);
  nn::Dims sizes = outer.sizes;
  sizes.push_back(rowSize.ceilDiv(bandRows));
  SmallVector<nn::Dims> strides = outer.strides;
  strides[0].push_back(dstRow * bandRows);
  strides[1].push_back(bandRows);
  // The third operand counts rows, to find the end of the last band.
  nn::Dims count(outer.sizes.size(), l.c(0));
  count.push_back(bandRows);
  strides.push_back(count);

  auto columns = colSize.isConst() ? std::optional<int64_t>(colSize.value()) : std::nullopt;
  TileCopier tiles{k, copy.dst, copy.src, k.dim(dstRow), k.dim(srcCol), tile};
  Ix nRows = k.dim(rowSize), nCols = k.dim(colSize), zero = k.c(0);
  forEachIndex(k, sizes, strides, k.begin, k.end, {}, [&](ArrayRef<Ix> offsets, ValueRange) {
    Ix to = copy.to + offsets[0], from = copy.from + offsets[1];
    Ix height = k.dim(bandRows);
    if (!isMultipleOf(rowSize, tile * bandTiles))
      height = (nRows - offsets[2]).min(height);
    if (columns && *columns < tile) {
      tiles.scalars(to, from, zero, height, zero, nCols);
      return SmallVector<Value>();
    }
    Ix midRow = isMultipleOf(rowSize, tile) ? height : height - height % tile, midCol = nCols - nCols % tile;
    // Each row of the result gets a few cache lines at a time: there are as many rows on the way as
    // a band is high, more than write buffers and TLB entries can follow line by line.
    int64_t chunk = std::max<int64_t>(tile, 256 / bytes);
    k.loop(zero, midCol, chunk, [&](Ix block) {
      Ix blockEnd = columns && *columns % tile == 0 && *columns % chunk == 0 ? block + chunk : (block + chunk).min(midCol);
      k.loop(zero, midRow, tile, [&](Ix r) {
        k.loop(block, blockEnd, tile, [&](Ix c) { tiles.full(to + r * tiles.dstRow + c, from + r + c * tiles.srcCol); });
      });
    });
    tiles.scalars(to, from, zero, midRow, midCol, nCols);
    tiles.scalars(to, from, midRow, height, zero, nCols);
    return SmallVector<Value>();
  });
  int64_t perBand = columns ? *columns * tile * bandTiles * bytes : 16384;
  k.grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, perBand));
  l.launch(k, nn::product(ctx, sizes));
}

} // namespace nnopt::cpu
