//===- Transpose.cpp - operands whose neighbours lie along another axis -----===//
//
// A block has a tile: parts of neighbouring lines of the operand, along its axis `across`. Threads copy them to shared memory, wait,
// and pick up what lies across them, which is lines of the result. Both are accesses of 16 bytes where sizes allow, and whole
// sectors of memory by neighbouring threads where they do not.
//
// Lines are cut into pieces of 128 bytes, which is all banks once, of 8 chunks. Chunk c of line b is kept at place
// c ^ (b / lanes % 8), where lanes is how many neighbours of the result a thread has: threads that pick up at once come from
// lines that differ in b / lanes, and so meet no bank twice (where sizes only allow accesses of a byte or two: four times or twice).
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Elementwise.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t pieceBytes = 128, chunkBytes = 16, sectorBytes = 32, tileBytes = 16384, maxShared = 49152, minLines = 16,
                  batch = 8;
/// Results of fewer bytes have smaller tiles, so that there are enough for all multiprocessors.
constexpr int64_t fewBytes = 2 << 20, smallTileBytes = 4096;

/// The axis along which neighbours of operand `i` lie, if it is not the last one.
std::optional<unsigned> axisAcross(const Elements &e, size_t i) {
  const nn::Dims &strides = e.space.strides[i];
  if (e.operands[i].folded || strides.back().isConst(0) || strides.back().isConst(1))
    return std::nullopt;
  for (unsigned axis = 0; axis + 1 < strides.size(); ++axis)
    if (strides[axis].isConst(1))
      return axis;
  return std::nullopt;
}

class Tiles {
public:
  Tiles(Kernel &k, Lowering &l, const Elements &e) : k(k), l(l), e(e) {}

  /// Whether there is something to turn, and it is worth it.
  bool plan() {
    for (size_t i = 0; i < e.operands.size(); ++i) {
      std::optional<unsigned> axis = axisAcross(e, i);
      if (!e.isInput(i) && !e.space.strides[i].back().isConst(1))
        return false;
      if (!axis)
        continue;
      if (!e.isInput(i) || (!turned.empty() && (*axis != across || e.bytes(i) != bytes)))
        return false;
      across = *axis;
      bytes = e.bytes(i);
      turned.push_back(i);
    }
    if (turned.empty())
      return false;
    columnDim = e.space.sizes[across], lineDim = e.space.sizes.back();
    // Short lines are in the cache when their other elements are read.
    auto isShort = [&](nn::Dim d) { return d.isConst() && d.value() * bytes < sectorBytes; };
    if (isShort(columnDim) || isShort(lineDim))
      return false;

    // As many lines as waste the least; fewer only where that saves a tenth.
    nn::Dim total = nn::product(l.dimContext(), e.space.sizes);
    int64_t most = total.isConst() && total.value() * bytes < fewBytes ? smallTileBytes : tileBytes;
    lines = std::min<int64_t>(128, most / pieceBytes);
    if (lineDim.isConst())
      for (int64_t n = lines / 2; n >= minLines; n /= 2)
        if (llvm::alignTo(lineDim.value(), n) * 10 < llvm::alignTo(lineDim.value(), lines) * 9)
          lines = n;
    width = pieceBytes / bytes;
    pieces = most / (lines * pieceBytes);
    if (columnDim.isConst())
      pieces = std::min<int64_t>(pieces, llvm::divideCeil(columnDim.value(), width));
    if (int64_t(turned.size()) * lines * pieces * pieceBytes > maxShared)
      return false;

    int64_t widest = bytes;
    for (size_t i = 0; i < e.operands.size(); ++i)
      if (!e.operands[i].folded)
        widest = std::max(widest, e.bytes(i));
    auto fitsResult = [&](int64_t n) {
      for (size_t i = 0; i < e.operands.size(); ++i)
        if (!llvm::is_contained(turned, i) && !e.areLines(i, e.space.rank() - 1, n))
          return false;
      return isMultiple(lineDim, n);
    };
    auto fitsOperand = [&](int64_t n) {
      return isMultiple(columnDim, n) && llvm::all_of(turned, [&](size_t i) { return e.areLines(i, across, n); });
    };
    for (lanes = std::min(chunkBytes / widest, lines); lanes > 1 && !fitsResult(lanes);)
      lanes /= 2;
    for (loaded = chunkBytes / bytes; loaded > 1 && !fitsOperand(loaded);)
      loaded /= 2;
    return true;
  }

  nn::Dim emit(Compute compute) {
    nn::DimContext &ctx = l.dimContext();
    // Tiles beside each other read the same lines of memory, and so come one after the other.
    nn::Dims sizes;
    for (unsigned axis = 0; axis + 1 < e.space.rank(); ++axis)
      if (axis != across)
        sizes.push_back(e.space.sizes[axis]);
    sizes.push_back(lineDim.ceilDiv(l.c(lines)));
    sizes.push_back(columnDim.ceilDiv(l.c(width * pieces)));
    SmallVector<Ix> index = k.delinearize(k.block, sizes);
    firstColumn = index.pop_back_val() * (width * pieces);
    firstLine = index.pop_back_val() * lines;
    outer = index;
    columns = k.dim(columnDim);
    lineCount = k.dim(lineDim);

    for (size_t i : turned)
      tiles.push_back(k.sharedAt(pieceBytes, integer(bytes), lines * pieces * width));
    load();
    k.barrier();
    store(compute);
    return nn::product(ctx, sizes);
  }

private:
  Type integer(int64_t size) { return k.b.getIntegerType(size * 8); }

  /// The offset of an operand's element at (column, line) of this block's part of the space.
  Ix offset(size_t i, Ix column, Ix line) {
    const nn::Dims &strides = e.space.strides[i];
    Ix at = column * k.dim(strides[across]) + line * k.dim(strides.back());
    for (unsigned axis = 0, o = 0; axis + 1 < e.space.rank(); ++axis)
      if (axis != across)
        at = at + outer[o++] * k.dim(strides[axis]);
    return at;
  }

  /// Where the tile has the element at (column, line), in elements.
  Ix place(Ix column, Ix line) {
    int64_t perChunk = chunkBytes / bytes;
    Ix chunk = column % width / perChunk, turn = line / lanes % (pieceBytes / chunkBytes);
    Ix swizzled(&k, arith::XOrIOp::create(k.b, k.loc, chunk, turn));
    return (column / width * lines + line) * width + swizzled * perChunk + column % perChunk;
  }

  /// Calls body(n) for all n below `count` that are this thread's, some at a time, so that their accesses overlap.
  void forUnits(int64_t count, function_ref<void(Ix)> body) {
    int64_t rounds = llvm::divideCeil(count, k.threads), some = batch;
    while (rounds % some)
      --some;
    k.loop(k.c(0), k.c(rounds), some, [&](Ix round) {
      for (int64_t i = 0; i < some; ++i)
        body((round + i) * k.threads + k.thread);
    });
  }

  void load() {
    int64_t perLine = width / loaded, count = perLine * lines * pieces;
    for (auto [i, tile] : llvm::zip(turned, tiles)) {
      Buffer from = cpu::asBits(k, e.operands[i].buffer);
      forUnits(count, [&, i = i, tile = tile](Ix n) {
        // A piece of all lines, then the next.
        Ix column = n / (perLine * lines) * width + n % perLine * loaded, line = n / perLine % lines;
        auto copy = [&] {
          // Beyond the ends: the last element inside, which nobody will pick up.
          Ix sourceColumn = firstColumn + column, sourceLine = firstLine + line;
          if (!isMultiple(columnDim, width * pieces))
            sourceColumn = sourceColumn.min(columns - loaded);
          if (!isMultiple(lineDim, lines))
            sourceLine = sourceLine.min(lineCount - 1);
          k.storeLanes(tile, place(column, line), k.loadLanes(from, offset(i, sourceColumn, sourceLine), loaded));
        };
        count % k.threads ? k.ifThen(n < k.c(count), copy) : copy();
      });
    }
  }

  void store(Compute compute) {
    int64_t perLine = lines / lanes, count = perLine * width * pieces;
    // Neighbouring threads have a piece or at least a sector of a line of the result, then the next line.
    int64_t beside = std::min(perLine, std::max(pieceBytes / chunkBytes, sectorBytes / (bytes * lanes)));
    forUnits(count, [&](Ix n) {
      Ix column = n / beside % (width * pieces), line = (n / (beside * width * pieces) * beside + n % beside) * lanes;
      Ix toColumn = firstColumn + column, toLine = firstLine + line;
      Value inside = arith::ConstantIntOp::create(k.b, k.loc, 1, 1);
      if (count % k.threads)
        inside = k.land(inside, n < k.c(count));
      if (!isMultiple(columnDim, width * pieces))
        inside = k.land(inside, toColumn < columns);
      if (!isMultiple(lineDim, lines))
        inside = k.land(inside, toLine < lineCount);
      k.ifThen(inside, [&] {
        computeLanes(
            k, e, lanes, [&](size_t i) { return operand(i, column, line, toColumn, toLine); },
            [&](size_t i) { return offset(i, toColumn, toLine); }, compute);
      });
    });
  }

  /// The elements of an operand for neighbours of the result; one where they are all the same.
  SmallVector<Value> operand(size_t i, Ix column, Ix line, Ix toColumn, Ix toLine) {
    const Operand &o = e.operands[i];
    if (o.folded)
      return {o.folded};
    auto found = llvm::find(turned, i);
    if (found == turned.end())
      return k.loadLanes(o.buffer, offset(i, toColumn, toLine), e.space.strides[i].back().isConst(0) ? 1 : lanes);
    Buffer tile = tiles[found - turned.begin()];
    tile.valueType = o.buffer.valueType, tile.storageType = o.buffer.storageType, tile.isUnsigned = o.buffer.isUnsigned;
    SmallVector<Value> values;
    Ix first = place(column, line);
    for (int64_t lane = 0; lane < lanes; ++lane) // lines that are `lanes` together have their chunks in the same order
      values.push_back(k.load(tile, first + lane * width));
    return values;
  }

  Kernel &k;
  Lowering &l;
  const Elements &e;
  SmallVector<size_t> turned; // operands
  SmallVector<Buffer> tiles;  // of each of them
  unsigned across = 0;
  nn::Dim columnDim, lineDim; // sizes along `across`, and along the last axis
  int64_t bytes = 0;          // of an element of what is turned
  int64_t lines = 0, width = 0, pieces = 0; // of a tile; width: columns of a piece
  int64_t loaded = 1, lanes = 1;            // elements of an access to what is turned, and to all others
  Ix firstColumn, firstLine, columns, lineCount;
  SmallVector<Ix> outer; // this block's index along the other axes
};

} // namespace

nn::Dim emitTiles(Kernel &k, Lowering &l, const Elements &e, Compute compute) {
  Tiles tiles(k, l, e);
  return tiles.plan() ? tiles.emit(compute) : nn::Dim();
}

} // namespace nnopt::cuda
