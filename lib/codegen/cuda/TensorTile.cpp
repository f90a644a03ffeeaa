//===- TensorTile.cpp - tiles of a matrix product on tensor cores -----------===//

#include "lib/codegen/cuda/TensorTile.h"
#include "lib/codegen/cuda/Wgmma.h"

using namespace mlir;

namespace nnopt::cuda {

int64_t pieceBytes(nn::Dim length, int64_t elementBytes, bool aligned) {
  for (int64_t bytes : {16, 8, 4})
    if (aligned && elementBytes <= bytes && isMultiple(length, bytes / elementBytes))
      return bytes;
  return 0;
}

namespace {

constexpr int64_t chunkBytes = 16;

/// One operand's part of shared memory: for each stage, lines of chunks. A line is an x with what
/// it has of a step, or, for elements of 16 bits whose neighbours lie along x, an element of the
/// step with all x ("transposed").
class Side {
public:
  Side(Kernel &k, const MmaTypes &types, const TensorTile &tile, const TensorOperand &operand, int64_t size,
       int64_t threads, Ix first)
      : k(k), operand(operand), elementBytes(types.elementBytes()),
        transposed(!operand.alongDepth && elementBytes == 2),
        depth(tile.depthBytes / elementBytes), lines(transposed ? depth : size),
        chunks((transposed ? size : depth) * elementBytes / chunkBytes) {
    memory = k.sharedAt(wgmmaAlignment, k.b.getI8Type(), tile.stages * stageBytes());
    int64_t bytes = operand.piece ? operand.piece : wordBytes,
            perLine = chunks * chunkBytes / bytes;
    for (int64_t i = 0; i < llvm::divideCeil(lines * perLine, threads); ++i)
      pieces.push_back(makePiece(bytes, perLine, threads, i, first));
  }

  /// Begins to fill a stage with the step that starts at this depth.
  void fill(Ix stage, Ix firstDepth) {
    Value to = k.ptrAdd(memory.ptr, stage * stageBytes(), memory.storageType);
    for (const Piece &piece : pieces) {
      auto one = [&] { operand.piece ? copy(piece, to, firstDepth) : put(piece, to, firstDepth); };
      piece.exists ? k.ifThen(piece.exists, one) : one();
    }
  }

  /// Where the lane's row of four matrices begins in a stage: those that make a piece of 16 x from
  /// `x` on (a multiple of 16) and of 32 bytes of a step. Of the left operand, matrices of the same
  /// x are two apart, of the right one neighbours.
  Ix place(Ix x, int64_t part, bool isLeft) {
    Ix lane = k.thread % warpSize, row = lane % 8;
    Ix second = lane / 8 % 2 * 8, fourth = lane / 16 * 8; // of a 16 x 16 piece
    Ix alongX = isLeft ? second : fourth, along = isLeft ? fourth : second;
    if (transposed)
      return offset(along + row + part * 16, (x + alongX) / 8);
    // Lines that are a multiple of 8 apart are swizzled alike: places of pieces differ by
    // constants.
    return offset(alongX + row, along / 8 + part * 2) + x * (chunks * chunkBytes);
  }

  /// The line of x, along the contracted dimension.
  Value line(Ix stage, Ix x) { return k.ptrAdd(memory.ptr, stage * stageBytes() + x * (chunks * chunkBytes), memory.storageType); }

  SmallVector<Value> take(Ix stage, Ix place) {
    Value row = k.ptrAdd(memory.ptr, stage * stageBytes() + place, memory.storageType);
    SmallVector<Value> words = loadMatrices(k, row, transposed);
    if (operand.needsRounding)
      for (Value &word : words)
        word = roundToTf32(k, word);
    return words;
  }

private:
  static constexpr int64_t wordBytes = 4;
  struct Piece {
    Ix place;                              // in a stage
    Ix depth;                              // of its first element, in the step
    Value exists;                          // null: for all threads
    SmallVector<SmallVector<Ix>> prepared; // of each x
  };

  int64_t stageBytes() const { return lines * chunks * chunkBytes; }

  /// Bytes before a chunk. Eight chunks are as wide as all banks: lines that are narrower share
  /// them.
  Ix offset(Ix line, Ix chunk) {
    int64_t banks = std::min<int64_t>(chunks, 8);
    Ix swizzle = line / (8 / banks) % banks;
    Ix at(&k, k.b.createOrFold<arith::XOrIOp>(k.loc, chunk, swizzle));
    return (line * chunks + at) * chunkBytes;
  }

  Piece makePiece(int64_t bytes, int64_t perLine, int64_t threads, int64_t i, Ix first) {
    Piece piece;
    Ix line, within;
    // Neighbouring threads copy what are neighbours in memory.
    if (operand.alongDepth || transposed) {
      // With whole lines for the threads, all pieces of a thread are at the same place of their
      // lines.
      bool whole = threads % perLine == 0;
      line =
          whole ? k.thread / perLine + i * (threads / perLine) : (k.thread + i * threads) / perLine;
      within = whole ? k.thread % perLine : (k.thread + i * threads) % perLine;
    } else {
      line = (k.thread + i * threads) % lines;
      within = (k.thread + i * threads) / lines;
    }
    if ((i + 1) * threads > lines * perLine)
      piece.exists = k.thread + i * threads < k.c(lines * perLine);
    Ix byte = within * bytes;
    piece.place = offset(line, byte / chunkBytes) + byte % chunkBytes;
    Ix inLine = byte / elementBytes, x = first + (transposed ? inLine : line);
    piece.depth = transposed ? line : inLine;
    int64_t xs = transposed && !operand.piece ? wordBytes / elementBytes : 1;
    for (int64_t j = 0; j < xs; ++j)
      piece.prepared.push_back(operand.prepare(x + j));
    return piece;
  }

  void copy(const Piece &piece, Value to, Ix firstDepth) {
    auto [offset, inside] = operand.locate(piece.prepared[0], firstDepth + piece.depth);
    Value from = k.ptrAdd(operand.buffer.ptr, offset, operand.buffer.storageType);
    if (inside && operand.outside) {
      from = k.select(inside, from, operand.outside->ptr);
      inside = nullptr;
    }
    copyAsync(k, k.ptrAdd(to, piece.place, memory.storageType), from, operand.piece, inside);
  }

  /// Puts a word together from elements that are loaded one by one.
  void put(const Piece &piece, Value to, Ix firstDepth) {
    Type i32 = k.b.getI32Type(), bits = k.b.getIntegerType(8 * elementBytes);
    Value word;
    for (int64_t j = 0; j < wordBytes / elementBytes; ++j) {
      auto [offset, inside] = transposed
                                  ? operand.locate(piece.prepared[j], firstDepth + piece.depth)
                                  : operand.locate(piece.prepared[0], firstDepth + piece.depth + j);
      Value from = operand.buffer.ptr;
      if (inside && operand.outside) {
        from = k.select(inside, k.ptrAdd(from, offset, bits), operand.outside->ptr);
        offset = k.c(0);
      } else if (inside) {
        offset = k.selectIx(inside, offset, k.c(0)); // the first element exists
      }
      Value v = k.loadAt(from, offset, bits);
      if (inside && !operand.outside)
        v = k.select(inside, v, k.constant(bits, 0));
      if (elementBytes < wordBytes)
        v = arith::ExtUIOp::create(k.b, k.loc, i32, v);
      if (j)
        v = arith::OrIOp::create(
            k.b, k.loc, word,
            arith::ShLIOp::create(k.b, k.loc, v, k.constant(i32, 8 * elementBytes * j)));
      word = v;
    }
    k.storeAt(k.ptrAdd(to, piece.place, memory.storageType), k.c(0), word);
  }

  Kernel &k;
  const TensorOperand &operand;
  int64_t elementBytes;
  bool transposed;
  int64_t depth; // elements of a step
  int64_t lines, chunks;
  Buffer memory;
  SmallVector<Piece> pieces; // of a thread
};

/// Stores the sums of pieces of a tile, four of a lane each: `rowPieces` that are `distance` rows apart, from `firstRow` of the
/// tile on, with `columnPieces` beside each other. `totals`: four of each row piece, the left operand's sums, where they are wanted.
void storePieces(Kernel &k, const TensorProduct &p, int64_t rowPieces, int64_t distance, int64_t columnPieces, Ix firstRow,
                 Ix firstColumn, ArrayRef<Value> sums, ArrayRef<Value> totals, StoreSums store) {
  Ix lane = k.thread % warpSize;
  Ix row = p.firstRow + firstRow + lane / 4, column = p.firstColumn + firstColumn;
  Value isOdd = k.thread % 2 == 1;
  auto one = [&](Ix row, Ix column, ArrayRef<Value> values, Value rowSum) {
    k.ifThen(k.land(row < p.rows, column < p.columns), [&] { store(row, column, values, rowSum); });
  };
  // Lanes give each other values of what they do not keep: the one whose number differs in a bit.
  auto exchange = [&](Value isSecond, int64_t bit, ArrayRef<Value> first, ArrayRef<Value> second) {
    SmallVector<Value> got;
    for (auto [a, b] : llvm::zip_equal(first, second))
      got.push_back(k.shuffleXor(k.select(isSecond, a, b), bit));
    SmallVector<Value> both;
    for (auto [a, v] : llvm::zip_equal(first, got))
      both.push_back(k.select(isSecond, v, a));
    for (auto [b, v] : llvm::zip_equal(second, got))
      both.push_back(k.select(isSecond, b, v));
    return both;
  };
  Value isRight = k.thread / 2 % 2 == 1;
  for (int64_t i = 0; i < rowPieces; ++i) {
    Value upper, lower, rowSum;
    if (!totals.empty()) {
      upper = totals[4 * i];
      lower = totals[4 * i + 2];
      rowSum = k.select(isOdd, lower, upper);
    }
    Ix top = row + i * distance;
    auto piece = [&](int64_t j) { return sums.slice(4 * (i * columnPieces + j), 4); };
    // Two lanes have two columns each of two rows: they exchange, and have four columns of a row each, those of the upper row and
    // of the lower one.
    auto four = [&](int64_t j) {
      ArrayRef<Value> c = piece(j);
      return exchange(isOdd, 1, c.take_front(2), c.drop_front(2));
    };
    Ix own = k.selectIx(isOdd, top + 8, top);
    for (int64_t j = 0; j < columnPieces; ++j) {
      if (p.storeLanes == 1) {
        for (int64_t s = 0; s < 4; ++s)
          one(top + s / 2 * 8, column + j * 8 + lane % 4 * 2 + s % 2, piece(j)[s], s < 2 ? upper : lower);
      } else if (p.storeLanes == 4) {
        one(own, column + j * 8 + lane % 4 / 2 * 4, four(j), rowSum);
      } else {
        // The same with the neighbouring piece: all columns of one of the two each.
        SmallVector<Value> eight = exchange(isRight, 2, four(j), four(j + 1));
        one(own, column + j * 8 + lane % 4 / 2 * 8, eight, rowSum);
        ++j;
      }
    }
  }
}

/// The part of a tile that a warp computes.
class Warp {
public:
  /// Stages that may not be filled while a step is multiplied.
  static constexpr int64_t busyStages = 1;

  /// `right`: null where the product has its own.
  Warp(Kernel &k, const TensorProduct &p, Side &left, Side *right)
      : k(k), p(p), left(left), right(right), parts(p.tile.depthBytes / MmaTypes::depthBytes), rowPieces(p.tile.warpRows / MmaTypes::rows),
        columnPieces(p.tile.warpColumns / MmaTypes::columns) {
    Ix warp = k.thread / warpSize;
    int64_t across = p.tile.columns / p.tile.warpColumns;
    firstRow = warp / across * p.tile.warpRows;
    firstColumn = warp % across * p.tile.warpColumns;
    for (int64_t part = 0; part < parts; ++part) {
      for (int64_t i = 0; i < rowPieces; ++i)
        leftPlaces.push_back(left.place(firstRow + i * 16, part, true));
      for (int64_t j = 0; right && j < columnPieces / 2; ++j)
        rightPlaces.push_back(right->place(firstColumn + j * 16, part, false));
    }
    for (int64_t j = 0; p.own && j < columnPieces / 2; ++j)
      p.own->addColumns(firstColumn + j * 16);
  }

  /// Four sums of each piece of the result, then, where they are wanted, those of the left
  /// operand's rows.
  SmallVector<Value> zeros() {
    int64_t count = 4 * rowPieces * (columnPieces + (p.rowSums ? 1 : 0));
    return SmallVector<Value>(count, k.constant(p.types.sumType(k.b.getContext()), 0));
  }

  SmallVector<Value> multiply(Ix stage, ValueRange sums) {
    SmallVector<Value> acc(sums);
    MutableArrayRef<Value> all(acc);
    // The product with ones has the sums of rows in all columns.
    SmallVector<Value> ones(2, p.rowSums ? k.constant(k.b.getI32Type(), 0x01010101) : Value());
    MmaTypes withOnes{p.types.left, NVVM::MMATypes::s8};
    for (int64_t part = 0; part < parts; ++part) {
      SmallVector<SmallVector<Value>> as, bs;
      for (int64_t i = 0; i < rowPieces; ++i)
        as.push_back(left.take(stage, leftPlaces[part * rowPieces + i]));
      for (int64_t j = 0; j < columnPieces / 2; ++j)
        bs.push_back(p.own ? p.own->take(stage, j, part) : right->take(stage, rightPlaces[part * (columnPieces / 2) + j]));
      for (int64_t i = 0; i < rowPieces; ++i) {
        for (int64_t j = 0; j < columnPieces; ++j)
          multiplyAdd(k, p.types, as[i], ArrayRef(bs[j / 2]).slice(j % 2 * 2, 2),
                      all.slice(4 * (i * columnPieces + j), 4));
        if (p.rowSums)
          multiplyAdd(k, withOnes, as[i], ones, all.slice(4 * (rowPieces * columnPieces + i), 4));
      }
    }
    return acc;
  }

  void store(SmallVector<Value> sums, StoreSums store) {
    size_t count = 4 * rowPieces * columnPieces;
    storePieces(k, p, rowPieces, MmaTypes::rows, columnPieces, firstRow, firstColumn, ArrayRef(sums).take_front(count),
                ArrayRef(sums).drop_front(count), store);
  }

  /// What a step waits for before all have it.
  void finishCopies() {}

private:
  Kernel &k;
  const TensorProduct &p;
  Side &left, *right;
  int64_t parts; // of a step
  int64_t rowPieces, columnPieces;
  Ix firstRow, firstColumn;
  SmallVector<Ix> leftPlaces, rightPlaces;
};

/// The part that four warps compute together, on sm_90a. Products are under way while the next step is waited for: the stage that is
/// filled then is not that of the last step, but of the one before.
class WarpGroup {
public:
  static constexpr int64_t busyStages = 2;

  static bool canMultiply(const TensorProduct &p, int64_t threads) {
    return !p.own && !p.types.isInteger() && !p.types.isTf32() && p.left.alongDepth && p.right.alongDepth &&
           threads % warpgroupThreads == 0 && p.tile.columns <= 256 && p.tile.rows % (wgmmaRows * (threads / warpgroupThreads)) == 0;
  }

  WarpGroup(Kernel &k, const TensorProduct &p, Side &left, Side &right)
      : k(k), p(p), left(left), right(right), pieces(p.tile.rows / wgmmaRows * warpgroupThreads / k.threads) {
    firstRow = k.thread / warpgroupThreads * (pieces * wgmmaRows);
  }

  SmallVector<Value> zeros() { return SmallVector<Value>(pieces * p.tile.columns / 2, k.f32(0)); }

  SmallVector<Value> multiply(Ix stage, ValueRange sums) {
    SmallVector<Value> acc(sums);
    int64_t count = p.tile.columns / 2;
    beginProducts(k);
    for (int64_t byte = 0; byte < p.tile.depthBytes; byte += MmaTypes::depthBytes)
      for (int64_t i = 0; i < pieces; ++i) {
        auto at = [&](Value line) { return describeLines(k, k.ptrAdd(line, k.c(byte), k.b.getI8Type()), p.tile.depthBytes); };
        addProduct(k, p.types, p.tile.columns, at(left.line(stage, firstRow + i * wgmmaRows)), at(right.line(stage, k.c(0))),
                   MutableArrayRef(acc).slice(i * count, count));
      }
    commitProducts(k);
    // Those of the step before are done: when all threads have come to the next barrier, its stage can be filled.
    waitForProducts(k, 1, {});
    return acc;
  }

  void finishCopies() { fenceForProducts(k); }

  void store(SmallVector<Value> sums, StoreSums store) {
    waitForProducts(k, 0, sums);
    Ix warp = k.thread / warpSize % (warpgroupThreads / warpSize);
    storePieces(k, p, pieces, wgmmaRows, p.tile.columns / MmaTypes::columns, firstRow + warp * MmaTypes::rows, k.c(0), sums, {}, store);
  }

private:
  Kernel &k;
  const TensorProduct &p;
  Side &left, &right;
  int64_t pieces; // of 64 rows
  Ix firstRow;
};

} // namespace

void emitTensorTile(Kernel &k, const TensorProduct &p, StoreSums store) {
  k.letNextLaunchBegin();
  Side left(k, p.types, p.tile, p.left, p.tile.rows, k.threads, p.firstRow);
  std::optional<Side> right;
  if (!p.own)
    right.emplace(k, p.types, p.tile, p.right, p.tile.columns, k.threads, p.firstColumn);
  int64_t depth = p.tile.depthBytes / p.types.elementBytes();
  nn::Dim steps = p.depth.ceilDiv(k.lowering.c(depth)),
          share = steps.ceilDiv(k.lowering.c(p.tile.slices));
  Ix firstStep = p.slice * k.dim(share), count = k.dim(share);
  if (p.tile.slices > 1)
    count = count.min(k.dim(steps) - firstStep);
  auto begin = [&](Ix step, bool fillsLeft, bool fillsRight) {
    k.ifThen(step < count, [&] {
      Ix stage = step % p.tile.stages, firstDepth = (firstStep + step) * depth;
      if (fillsLeft)
        left.fill(stage, firstDepth);
      if (fillsRight)
        p.own ? p.own->fill(stage, firstDepth) : right->fill(stage, firstDepth);
    });
    // There is a group for each step, if only of no copies, so that the same wait fits all steps.
    if (fillsLeft)
      commitCopies(k);
  };
  auto run = [&](auto &&part) {
    int64_t ahead = p.tile.stages - std::remove_reference_t<decltype(part)>::busyStages;
    if (p.rightIsConstant)
      k.loop(k.c(0), k.c(ahead), 1, [&](Ix step) { begin(step, false, true); });
    k.waitForLaunches();
    k.loop(k.c(0), k.c(ahead), 1, [&](Ix step) { begin(step, true, !p.rightIsConstant); });
    SmallVector<Value> sums = k.loop(k.c(0), count, 1, part.zeros(), [&](Ix step, ValueRange acc) {
      waitForCopies(k, ahead - 1);
      part.finishCopies();
      k.barrier();
      begin(step + ahead, true, true); // into a stage that all have read
      return part.multiply(step % p.tile.stages, acc);
    });
    part.store(sums, store);
  };
  auto byWarps = [&] { run(Warp(k, p, left, right ? &*right : nullptr)); };
  if (WarpGroup::canMultiply(p, k.threads))
    k.ifThen(hasWgmma(k), [&] { run(WarpGroup(k, p, left, *right)); }, byWarps);
  else
    byWarps();
}

} // namespace nnopt::cuda
