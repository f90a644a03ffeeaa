//===- Microkernel.cpp - register tiles shared by all contractions ----------===//

#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/contraction/MatrixTiles.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "llvm/ADT/SmallSet.h"
#include <cmath>

using namespace mlir;

namespace nnopt::cpu {

std::string dimText(nn::Dim d) { return d && d.isConst() ? std::to_string(d.value()) : "d"; }

//===----------------------------------------------------------------------===//
// Choosing a tile
//===----------------------------------------------------------------------===//

/// Estimated cycles of one step of the contracted dimension. Fitted to measurements with AVX-512 on
/// a core with two multiply-adds and two loads per cycle.
static double stepCycles(const Target &target, int64_t mr, int64_t nv, int64_t lanes, int64_t elementBytes,
                         std::optional<int64_t> depth) {
  double fmas = mr * nv, pass = lanes < target.lanes(elementBytes) ? 0.5 : 1;
  // Two multiply-adds and two loads per cycle, latency 4, six instructions. Half vectors: twice as many, for the units.
  double cycles = std::max({pass * fmas / 2, 4.0, pass * (nv + mr) / 2, (fmas + nv + mr + 3) / 6});
  // Row pointers beyond the general registers are loaded from the stack.
  if (mr > 10)
    cycles += 0.15 * (mr - 10);
  // A panel beyond L1 streams from L2 once per tile. The next one is prefetched meanwhile: both have
  // to fit L2 with something to spare for the rows.
  double stepBytes = double(nv) * lanes * elementBytes, lines = stepBytes / 64;
  double panelBytes = stepBytes * depth.value_or(512);
  if (panelBytes > target.l1Bytes * 0.6)
    cycles += 0.4 * lines;
  if (2 * panelBytes > target.l2Bytes * 0.7)
    cycles += 1.5 * lines;
  return cycles;
}

int64_t maxRowsForPitch(const Target &target, std::optional<int64_t> pitchBytes) {
  int64_t ways = target.l1Bytes / 4096;
  bool conflicts = !pitchBytes || *pitchBytes % 4096 == 0;
  return conflicts ? std::clamp<int64_t>(ways - 2, 4, 14) : 14;
}

static bool fitsRegisters(const Target &target, int64_t mr, int64_t nv) {
  return mr * nv + nv + 1 <= target.vectorRegisters;
}

/// Estimated cycles of the whole with such tiles.
static double productCycles(const Target &target, const TileQuery &query, Tile tile) {
  auto [mr, nv, lanes] = tile;
  // Per tile: coordinates of the rows, and the epilogue and store of each vector.
  auto tileCost = [&, lanes = lanes](int64_t rows, int64_t vectors) {
    double depth = query.depth.value_or(512);
    return stepCycles(target, rows, vectors, lanes, query.elementBytes, query.depth) * depth + 20 + 4 * rows +
           2.0 * rows * vectors;
  };
  // Vectors of full panels and of the last one.
  int64_t vectors = llvm::divideCeil(query.columns.value_or(4096), lanes);
  int64_t fullPanels = vectors / nv, lastVectors = vectors % nv;
  auto rowCost = [&, nv = nv](int64_t rows) {
    return fullPanels * tileCost(rows, nv) + (lastVectors ? tileCost(rows, lastVectors) : 0);
  };
  int64_t rows = query.rows.value_or(720);
  return rows / mr * rowCost(mr) + (rows % mr ? rowCost(rows % mr) : 0);
}

/// Whether tiles may be of vectors of so many lanes: of whole registers, or of halves that save the last half.
static bool takesLanes(const Target &target, const TileQuery &query, int64_t lanes) {
  int64_t whole = target.lanes(query.elementBytes);
  if (lanes != whole / 2)
    return lanes == whole;
  // Below 5 % of the work it does not pay: half vectors are more instructions, and wide rows go through memory.
  int64_t halves = query.columns ? llvm::divideCeil(*query.columns, lanes) : 0;
  return query.mayHalve && halves % 2 == 1 && halves <= 20 && lanes > 1 && target.multiplyBits * 2 <= target.vectorBits;
}

/// All tiles that fit, each with its estimated cycles, fewer vectors and rows first.
static std::vector<std::pair<double, Tile>> allTiles(const Target &target, const TileQuery &query) {
  std::vector<std::pair<double, Tile>> tiles;
  int64_t whole = target.lanes(query.elementBytes);
  for (int64_t lanes : {whole, whole / 2}) {
    int64_t maxVectors = target.vectorBits <= 128 ? 6 : target.vectorRegisters < 32 ? 3 : lanes < whole ? 5 : 4;
    for (int64_t nv = 1; takesLanes(target, query, lanes) && nv <= maxVectors; ++nv)
      for (int64_t mr = 1; mr <= query.maxRows; ++mr)
        if (Tile tile{mr, nv, lanes}; fitsRegisters(target, mr, nv))
          tiles.push_back({productCycles(target, query, tile), tile});
  }
  return tiles;
}

Tile chooseTile(const Target &target, const TileQuery &query) {
  Tile best;
  double bestCost = INFINITY;
  for (auto &[cost, tile] : allTiles(target, query))
    // Without a known row count the rest is done in pieces of 4, 2 and 1 rows; more code for more rows.
    if (cost < bestCost * 0.999) {
      best = tile;
      bestCost = cost;
    }
  return best;
}

Tile chooseTile(Lowering &lowering, Operation *op, const TileQuery &query) {
  if (lowering.options.tiles) {
    // What tuning tries: the best by estimate, and the best of each width.
    std::vector<std::pair<double, Tile>> tiles = allTiles(lowering.target, query);
    llvm::stable_sort(tiles, [](auto &a, auto &b) { return a.first < b.first; });
    llvm::SmallSet<int64_t, 4> widths;
    for (auto [i, tile] : llvm::enumerate(tiles))
      if (bool isNew = widths.insert(tile.second.nr()).second; isNew || i < 4)
        lowering.options.tiles->push_back(tile.second);
  }
  auto wanted = op->getAttrOfType<DictionaryAttr>("nn.kernel");
  auto mr = wanted ? wanted.getAs<IntegerAttr>("mr") : IntegerAttr();
  auto nv = wanted ? wanted.getAs<IntegerAttr>("nv") : IntegerAttr();
  auto lanesAttr = wanted ? wanted.getAs<IntegerAttr>("lanes") : IntegerAttr();
  int64_t lanes = lanesAttr ? lanesAttr.getInt() : lowering.target.lanes(query.elementBytes);
  if (mr && nv && mr.getInt() > 0 && nv.getInt() > 0 && mr.getInt() <= query.maxRows &&
      takesLanes(lowering.target, query, lanes) && fitsRegisters(lowering.target, mr.getInt(), nv.getInt()))
    return {mr.getInt(), nv.getInt(), lanes};
  return chooseTile(lowering.target, query);
}

int64_t chooseBlockTiles(const Target &target, const Tile &tile, std::optional<int64_t> rows, int64_t rowBytes,
                         std::optional<int64_t> panels) {
  // With one panel every row is read once anyhow.
  if (panels && *panels <= 1)
    return 0;
  int64_t budget = target.l2Bytes / 2;
  if (rows && *rows * rowBytes <= budget)
    return 0;
  return std::max<int64_t>(8, budget / std::max<int64_t>(1, rowBytes * tile.mr));
}

int64_t chooseDepthBlocks(const Target &target, std::optional<int64_t> rows, int64_t depth, int64_t elementBytes) {
  // Every part reads and writes the results once more: not below about a thousand steps.
  constexpr int64_t leastDepth = 1024;
  int64_t blockRows = std::min<int64_t>(rows.value_or(256), 256);
  int64_t bytes = (blockRows + 2 * 64) * depth * elementBytes;
  int64_t parts = llvm::divideCeil(bytes, target.l2Bytes * 6 / 10);
  return std::max<int64_t>(1, std::min(parts, depth / leastDepth));
}

int64_t choosePrefetchShift(const Tile &tile, std::optional<int64_t> rows) {
  if (!rows)
    return 0;
  int64_t rounds = *rows / tile.mr / tile.nv;
  return rounds < 2 ? 0 : std::min<int64_t>(3, llvm::Log2_64(rounds));
}

int64_t taskGrain(double flopsPerTask, double bytesPerTask) {
  // 8 microseconds at 150 GFLOP/s or 15 GB/s: forking and joining costs well below one.
  double seconds = std::max(flopsPerTask / 150e9, bytesPerTask / 15e9);
  if (seconds <= 0)
    return 1;
  return std::clamp<int64_t>(std::llround(8e-6 / seconds), 1, 1 << 20);
}

//===----------------------------------------------------------------------===//
// Packing
//===----------------------------------------------------------------------===//

template <typename T>
static void packTyped(const PanelSource &s, const char *source, T *target, const Tile &tile) {
  int64_t nr = tile.nr();
  for (int64_t g = 0; g < s.groups; ++g) {
    for (int64_t n0 = 0; n0 < s.columns; n0 += nr) {
      int64_t valid = std::min(nr, s.columns - n0);
      int64_t width = llvm::alignTo(valid, tile.lanes);
      const char *panel = source + (g * s.groupStride + n0 * s.columnStride) * int64_t(sizeof(T));
      for (int64_t tap : s.tapOffsets) {
        for (int64_t c = 0; c < s.channels; ++c) {
          const char *from = panel + (tap + c * s.channelStride) * int64_t(sizeof(T));
          if (s.columnStride == 1) {
            memcpy(target, from, valid * sizeof(T));
          } else {
            for (int64_t n = 0; n < valid; ++n)
              memcpy(target + n, from + n * s.columnStride * int64_t(sizeof(T)), sizeof(T));
          }
          target += width; // the rest is zero already
        }
      }
    }
  }
}

std::vector<char> packPanels(const PanelSource &s, ArrayRef<char> bytes, int64_t elementBytes, const Tile &tile) {
  int64_t width = llvm::alignTo(s.columns, tile.lanes);
  std::vector<char> packed(s.groups * width * int64_t(s.tapOffsets.size()) * s.channels * elementBytes);
  switch (elementBytes) {
  case 1:
    packTyped(s, bytes.data(), reinterpret_cast<uint8_t *>(packed.data()), tile);
    break;
  case 2:
    packTyped(s, bytes.data(), reinterpret_cast<uint16_t *>(packed.data()), tile);
    break;
  case 4:
    packTyped(s, bytes.data(), reinterpret_cast<uint32_t *>(packed.data()), tile);
    break;
  default:
    packTyped(s, bytes.data(), reinterpret_cast<uint64_t *>(packed.data()), tile);
    break;
  }
  return packed;
}

//===----------------------------------------------------------------------===//
// The inner loop
//===----------------------------------------------------------------------===//

Value multiplyAdd(Kernel &k, Value a, Value b, Value c) {
  if (k.target().fma)
    return k.fma(a, b, c);
  Value product = arith::MulFOp::create(k.b, k.loc, a, b);
  return arith::AddFOp::create(k.b, k.loc, product, c);
}

SmallVector<Value> emitAccumulate(Kernel &k, const Accumulate &a, ValueRange acc) {
  if (a.tiles) {
    a.tiles->accumulate(a);
    return {};
  }
  int64_t mr = a.rows.size();
  int64_t bytes = a.element.getIntOrFloatBitWidth() / 8;
  VectorType type = k.vec(a.lanes, a.element);
  std::optional<int64_t> knownDepth = a.depth.constant();
  int64_t rowRest = knownDepth ? *knownDepth % a.perStep : 0;
  Ix depthSteps = knownDepth ? k.c(*knownDepth / a.perStep) : a.perStep > 1 ? a.depth / a.perStep : a.depth;
  auto step = [&](Ix index, ValueRange in, int64_t rowBytes = 4, bool prefetches = true) {
    Ix b = Value(a.pitch) ? index * a.pitch : index * (a.nv * a.lanes);
    SmallVector<Value> panel, next(in.size());
    for (int64_t j = 0; j < a.nv; ++j) {
      Ix at = b + j * a.lanes;
      if (!a.masks.empty() && a.masks[j])
        panel.push_back(k.loadMasked(k.at(a.panel, a.element), at, a.lanes, a.masks[j]));
      else
        panel.push_back(k.loadAt(a.panel, at, type, a.aligned ? a.lanes * bytes : bytes));
    }
    if (a.prefetch && prefetches) {
      // One line per 2^prefetchShift steps, into L2: over nv << prefetchShift tiles of rows that is
      // the whole next panel.
      Ix line(&k, arith::ShRUIOp::create(k.b, k.loc, index, k.c(a.prefetchShift)));
      Value address = k.ptrAdd(a.prefetch, line * a.lanes, a.element);
      LLVM::Prefetch::create(k.b, k.loc, address, /*rw=*/0u, /*hint=*/2u, /*cache=*/1u);
    }
    for (int64_t i = 0; i < mr; ++i) {
      if (a.perStep > 1) {
        auto addProducts = a.perStep == 2 ? addPairProducts : addByteProducts;
        Value x = k.splat(loadRowBytes(k, a.rows[i], index, rowBytes, a.movedRows), a.lanes);
        for (int64_t j = 0; j < a.nv; ++j)
          next[i * a.nv + j] = addProducts(k, in[i * a.nv + j], x, panel[j]);
        if (a.rowSums) {
          Value ones = k.splat(byteMask(k, rowBytes, 1), a.lanes);
          next[mr * a.nv + i] = addByteProducts(k, in[mr * a.nv + i], x, ones);
        }
        continue;
      }
      Ix at = Value(a.rowStep) ? index * a.rowStep : index;
      Value x = k.splat(k.loadAt(a.rows[i], at, a.element), a.lanes);
      for (int64_t j = 0; j < a.nv; ++j)
        next[i * a.nv + j] = multiplyAdd(k, x, panel[j], in[i * a.nv + j]);
    }
    return next;
  };
  // The last one to three elements of rows, where there are some.
  auto rest = [&](SmallVector<Value> values) {
    return rowRest ? step(depthSteps, values, rowRest * 4 / a.perStep) : values;
  };

  // Small tiles are bound by the loop's own instructions and, when constant trip counts are short,
  // by the mispredicted exit: several steps per iteration.
  // So are those of which two are multiplied in a cycle: instructions of the loop take their ports, or a decoder of four (4 to 8 % with
  // registers of 512 bits).
  bool isBusy = k.target().multiplyBits >= k.target().vectorBits;
  int64_t unroll = isBusy || mr * a.nv < 8 ? 4 : mr * a.nv < 16 ? 2 : 1;
  std::optional<int64_t> depth = depthSteps.constant();
  if (depth && *depth <= 8)
    unroll = std::max<int64_t>(1, *depth);
  auto oneStep = [&](Ix index, ValueRange in) { return step(index, in); };
  if (unroll == 1)
    return rest(k.loop(k.c(0), depthSteps, 1, acc, oneStep));
  Ix whole = depth ? k.c(*depth / unroll * unroll) : depthSteps / unroll * unroll;
  SmallVector<Value> mid = k.loop(k.c(0), whole, unroll, acc, [&](Ix index, ValueRange in) {
    SmallVector<Value> values(in);
    for (int64_t u = 0; u < unroll; ++u)
      values = step(index + u, values, 4, u % (int64_t(1) << a.prefetchShift) == 0);
    return values;
  });
  return rest(k.loop(whole, depthSteps, 1, mid, oneStep));
}

//===----------------------------------------------------------------------===//
// Panels and tiles of rows
//===----------------------------------------------------------------------===//

/// Tiles of rows [lo, hi) of one panel: full tiles in a loop, the rest exactly where the number of
/// rows is known, else in pieces of powers of two.
static void emitRowTiles(Kernel &k, const PanelLoop &loop, PanelAt &at, Ix lo, Ix hi, ValueRange state,
                         function_ref<void(PanelAt &, TileAt &, ValueRange)> body) {
  int64_t mr = loop.tile.mr;
  Ix rows = k.dim(loop.rows);
  Ix full = rows / mr;
  k.loop(lo, hi.min(full), 1, [&](Ix t) {
    TileAt tile{t * mr, mr, t - lo};
    body(at, tile, state);
  });
  std::optional<int64_t> known = constantDim(loop.rows);
  if (mr == 1 || (known && *known % mr == 0))
    return;
  k.ifThen(full < hi, [&] {
    Ix row = full * mr;
    if (known) {
      TileAt tile{row, *known % mr, full - lo};
      body(at, tile, state);
      return;
    }
    Ix rest = rows - row;
    for (int64_t piece = llvm::bit_floor(uint64_t(mr - 1)); piece >= 1; piece /= 2) {
      // The bits of the rest say which pieces there are; bits above say where each begins.
      Ix before = rest / (2 * piece) * (2 * piece);
      k.ifThen(k.c(0) < rest / piece % 2, [&] {
        TileAt tile{row + before, piece, full - lo};
        body(at, tile, state);
      });
    }
  });
}

void emitPanelLoop(Kernel &k, const PanelLoop &loop, function_ref<SmallVector<Value>(PanelAt &)> enter,
                   function_ref<void(PanelAt &, TileAt &, ValueRange)> body) {
  int64_t nr = loop.tile.nr();
  // With shared rows the panels of all products are those of one.
  nn::Dim together = loop.sharedRows ? loop.outer : k.lowering.c(1);
  Ix panels = k.dim(loop.panels() * together), tiles = k.dim(loop.rowTiles());
  Ix perOuter = k.dim(loop.panels() * together * loop.rowTiles());
  bool oneOuter = loop.sharedRows || loop.outer.isConst(1);
  bool blocked = loop.blockTiles > 0;
  std::optional<int64_t> knownTiles = constantDim(loop.rowTiles());
  if (knownTiles && *knownTiles <= loop.blockTiles)
    blocked = false;

  // The tasks of a block (of one of the products) are its panels times its tiles of rows.
  Ix blocks = k.c(1), perBlock = perOuter;
  if (blocked) {
    blocks = k.dim(loop.rowTiles().ceilDiv(loop.blockTiles));
    perBlock = panels * loop.blockTiles;
  }
  auto blockOf = [&](Ix task) {
    if (!blocked)
      return oneOuter ? k.c(0) : task / perOuter;
    Ix outer = oneOuter ? k.c(0) : task / perOuter;
    return outer * blocks + (oneOuter ? task : task % perOuter) / perBlock;
  };
  Ix first = blockOf(k.begin), last = blockOf((k.end - 1).max(k.begin)) + 1;

  std::optional<int64_t> columns = constantDim(loop.columns);
  auto runPanel = [&](Ix outer, Ix depthBlock, Ix panel, Ix lo, Ix hi) {
    auto run = [&](bool tail) {
      PanelAt at;
      at.outer = outer;
      at.depthBlock = depthBlock;
      at.panel = panel;
      at.column = panel * nr;
      at.firstTile = lo;
      at.tiles = hi - lo;
      at.tail = tail;
      at.nv = loop.tile.nv;
      if (tail && columns)
        at.nv = llvm::divideCeil(*columns % nr, loop.tile.lanes);
      at.masks.assign(at.nv, Value());
      if (tail) {
        for (int64_t j = 0; j < at.nv; ++j) {
          if (columns && *columns % nr >= (j + 1) * loop.tile.lanes)
            continue;
          Ix left = columns ? k.c(*columns % nr - j * loop.tile.lanes)
                            : k.dim(loop.columns) - at.column - j * loop.tile.lanes;
          at.masks[j] = k.mask(left, loop.tile.lanes);
        }
      }
      SmallVector<Value> state = enter(at);
      emitRowTiles(k, loop, at, lo, hi, state, body);
    };
    if (columns && *columns % nr == 0)
      return run(false);
    if (columns && *columns < nr)
      return run(true);
    Ix total = k.dim(loop.columns);
    k.ifThen((panel + 1) * nr <= total, [&] { run(false); }, [&] { run(true); });
  };

  k.loop(first, last, 1, [&](Ix outerBlock) {
    Ix block = blocked ? outerBlock % blocks : k.c(0);
    Ix outer = oneOuter ? k.c(0) : outerBlock / blocks;
    Ix firstTile = blocked ? block * loop.blockTiles : k.c(0);
    Ix count = blocked ? (tiles - firstTile).min(k.c(loop.blockTiles)) : tiles;
    Ix start = outer * perOuter + block * perBlock;
    Ix low = (k.begin - start).max(k.c(0)), high = (k.end - start).min(count * panels);
    k.loop(k.c(0), k.c(loop.depthBlocks), 1, [&](Ix depthBlock) {
      k.loop(low / count, (high - 1).max(low) / count + 1, 1, [&](Ix panel) {
        Ix lo = (low - panel * count).max(k.c(0)), hi = (high - panel * count).min(count);
        if (loop.sharedRows)
          runPanel(panel / k.dim(loop.panels()), depthBlock, panel % k.dim(loop.panels()), firstTile + lo, firstTile + hi);
        else
          runPanel(outer, depthBlock, panel, firstTile + lo, firstTile + hi);
      });
    });
  });
}

} // namespace nnopt::cpu
