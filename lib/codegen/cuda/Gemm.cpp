//===- Gemm.cpp - tiles of a matrix product ---------------------------------===//

#include "lib/codegen/cuda/Gemm.h"

using namespace mlir;

namespace nnopt::cuda {

/// Multiprocessors of the machine that tiles are chosen for: an A100 has 108, an H100 132.
static constexpr int64_t multiprocessors = 108;

Tile Tile::choose(nn::Dim m, nn::Dim n, nn::Dim count) {
  // Big tiles read least from memory; smaller ones are more.
  static constexpr Tile tiles[] = {{128, 128, 2, 2, 1}, {64, 64, 2, 1, 2}, {32, 64, 1, 1, 2}, {32, 32, 1, 1, 4}};
  if (!m.isConst() || !n.isConst() || !count.isConst())
    return tiles[1];
  for (const Tile &tile : tiles)
    if (llvm::divideCeil(m.value(), tile.rows) * llvm::divideCeil(n.value(), tile.columns) * count.value() >= multiprocessors)
      return tile;
  return tiles[std::size(tiles) - 1];
}

TileOperand matrixOperand(Kernel &k, const Buffer &buf, bool aligned, Ix base, nn::Dim size, nn::Dim depth, bool along) {
  TileOperand operand;
  operand.alongDepth = along;
  operand.lanes = aligned && isMultiple(along ? depth : size, 4) ? 4 : 1;
  int64_t lanes = operand.lanes;
  Ix n = k.dim(size), d = k.dim(depth);
  operand.prepare = [&k, base, along, n, d](Ix x) -> SmallVector<Ix> { return {base + (along ? x * d : x), x}; };
  operand.load = [&k, buf, along, n, d, lanes](ArrayRef<Ix> prepared, Ix depth) {
    Value inside = k.land(prepared[1] < n, depth < d);
    return k.ifElse(
        inside, SmallVector<Type>(lanes, k.b.getF32Type()),
        [&] {
          SmallVector<Value> values = k.loadLanes(buf, prepared[0] + (along ? depth : depth * n), lanes);
          for (Value &v : values)
            v = k.toFloat(v);
          return values;
        },
        [&] { return SmallVector<Value>(lanes, k.f32(0)); });
  };
  return operand;
}

namespace {

/// The part of one operand that a slice has in shared memory: two halves of [depth][size + padding].
struct Side {
  Kernel &k;
  const TileOperand &operand;
  Buffer memory;
  int64_t size, pitch, vectors; // vectors: loads of a thread
  SmallVector<Ix> x, depth;     // of each load, in the tile
  SmallVector<SmallVector<Ix>> prepared;

  Side(Kernel &k, const TileOperand &operand, int64_t size, int64_t threads, int64_t slices, Ix slice, Ix t, Ix first)
      : k(k), operand(operand), size(size), pitch(size + 4) {
    memory = k.shared(k.b.getF32Type(), 2 * slices * Tile::depth * pitch);
    memory.ptr = k.ptrAdd(memory.ptr, slice * (2 * Tile::depth * pitch), memory.storageType);
    vectors = llvm::divideCeil(size * Tile::depth, threads * operand.lanes);
    for (int64_t i = 0; i < vectors; ++i) {
      Ix v = t + i * threads;
      int64_t perLine = (operand.alongDepth ? Tile::depth : size) / operand.lanes;
      Ix along = v % perLine * operand.lanes, across = v / perLine;
      x.push_back(operand.alongDepth ? across : along);
      depth.push_back(operand.alongDepth ? along : across);
      prepared.push_back(operand.prepare(first + x.back()));
    }
  }

  SmallVector<Value> fetch(Ix firstDepth) {
    SmallVector<Value> values;
    for (int64_t i = 0; i < vectors; ++i)
      values.append(operand.load(prepared[i], firstDepth + depth[i]));
    return values;
  }

  void put(Ix half, ArrayRef<Value> values) {
    for (int64_t i = 0; i < vectors; ++i) {
      ArrayRef<Value> mine = values.slice(i * operand.lanes, operand.lanes);
      Ix at = (half * Tile::depth + depth[i]) * pitch + x[i];
      if (!operand.alongDepth)
        k.storeLanes(memory, at, mine);
      else
        for (int64_t lane = 0; lane < operand.lanes; ++lane)
          k.store(memory, at + lane * pitch, mine[lane]);
    }
  }

  /// Four neighbours from x at depth d.
  SmallVector<Value> take(Ix half, int64_t d, Ix x) { return k.loadLanes(memory, (half * Tile::depth + d) * pitch + x, 4); }
};

} // namespace

void emitTile(Kernel &k, const Tile &tile, nn::Dim depthDim, const TileOperand &left, const TileOperand &right, Ix firstRow,
              Ix firstColumn, Ix rows, Ix columns, int64_t storeLanes,
              function_ref<void(Ix, Ix, ArrayRef<Value>)> store) {
  int64_t threads = tile.sliceThreads();
  Ix slice = k.thread / threads, t = k.thread % threads;
  Side a(k, left, tile.rows, threads, tile.slices, slice, t, firstRow);
  Side b(k, right, tile.columns, threads, tile.slices, slice, t, firstColumn);
  Ix ty = t / tile.threadColumns(), tx = t % tile.threadColumns();
  auto rowOf = [&](int64_t square) { return ty * 4 + square * (4 * tile.threadRows()); };
  auto columnOf = [&](int64_t square) { return tx * 4 + square * (4 * tile.threadColumns()); };

  auto firstDepth = [&](Ix step) { return (step * tile.slices + slice) * Tile::depth; };
  auto putBoth = [&](Ix half, ArrayRef<Value> fromA, ArrayRef<Value> fromB) {
    a.put(half, fromA);
    b.put(half, fromB);
    k.barrier();
  };
  auto multiply = [&](Ix half, ValueRange sums) {
    SmallVector<Value> acc(sums);
    for (int64_t d = 0; d < Tile::depth; ++d) {
      SmallVector<Value> as, bs;
      for (int64_t s = 0; s < tile.rowSquares; ++s)
        as.append(a.take(half, d, rowOf(s)));
      for (int64_t s = 0; s < tile.columnSquares; ++s)
        bs.append(b.take(half, d, columnOf(s)));
      for (size_t i = 0; i < as.size(); ++i)
        for (size_t j = 0; j < bs.size(); ++j)
          acc[i * bs.size() + j] = k.fma(as[i], bs[j], acc[i * bs.size() + j]);
    }
    return acc;
  };

  Ix steps = k.dim(depthDim.ceilDiv(k.lowering.c(Tile::depth * tile.slices)));
  putBoth(k.c(0), a.fetch(firstDepth(k.c(0))), b.fetch(firstDepth(k.c(0))));
  int64_t count = 16 * tile.rowSquares * tile.columnSquares;
  SmallVector<Value> zeros(count, k.f32(0));
  SmallVector<Value> sums = k.loop(k.c(0), steps, 1, zeros, [&](Ix step, ValueRange acc) {
    // Behind the last step these are zeros that nobody reads.
    SmallVector<Value> nextA = a.fetch(firstDepth(step + 1)), nextB = b.fetch(firstDepth(step + 1));
    SmallVector<Value> next = multiply(step % 2, acc);
    putBoth((step + 1) % 2, nextA, nextB);
    return next;
  });

  auto finish = [&] {
    int64_t width = 4 * tile.columnSquares;
    for (int64_t i = 0; i < 4 * tile.rowSquares; ++i) {
      Ix row = firstRow + rowOf(i / 4) + i % 4;
      for (int64_t j = 0; j < width; j += storeLanes) {
        Ix column = firstColumn + columnOf(j / 4) + j % 4;
        k.ifThen(k.land(row < rows, column < columns),
                 [&] { store(row, column, ArrayRef(sums).slice(i * width + j, storeLanes)); });
      }
    }
  };
  if (tile.slices == 1)
    return finish();
  // The others' sums go through the memory of the left operand, which is not needed any more.
  Buffer parts = k.at(a.memory.ptr, k.b.getF32Type());
  parts.ptr = k.ptrAdd(parts.ptr, slice * (-2 * Tile::depth * a.pitch), parts.storageType);
  assert((tile.slices - 1) * threads * count <= 2 * tile.slices * Tile::depth * (a.pitch + b.pitch) && "sums do not fit");
  auto place = [&](Ix slice, int64_t i) { return (slice * count + i) * threads + t; };
  k.ifThen(k.c(1) <= slice, [&] {
    for (int64_t i = 0; i < count; ++i)
      k.store(parts, place(slice - 1, i), sums[i]);
  });
  k.barrier();
  k.ifThen(slice == 0, [&] {
    for (int64_t s = 1; s < tile.slices; ++s)
      for (int64_t i = 0; i < count; ++i)
        sums[i] = arith::AddFOp::create(k.b, k.loc, sums[i], k.load(parts, place(k.c(s - 1), i)));
    finish();
  });
}

} // namespace nnopt::cuda
