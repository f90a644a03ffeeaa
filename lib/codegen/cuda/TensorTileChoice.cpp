//===- TensorTileChoice.cpp - the tile that is estimated to be fastest ------===//

#include "lib/codegen/cuda/TensorTile.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

/// Estimates, in cycles, from times of all tiles on an H200 (test/bench/gpu/tiles.py). They are of the
/// right size, which is all that a choice among few tiles needs.
constexpr double stepLatency = 300;              // of copies, shared by the steps that are under way
constexpr double cacheBytesPerCycle = 64;       // from the second cache to one multiprocessor
constexpr double cacheBytesPerCycleOfAll = 4200; // to all of them together
constexpr double sharedBytesPerCycle = 128;     // to and from shared memory
constexpr double blockCycles = 1200;            // to fill the stages
constexpr double sumCycles = 5;                 // to store a sum of each thread
constexpr double launchCycles = 2500;           // of a second kernel, in a graph
constexpr double partialBytesPerCycle = 2500;   // of partial sums, which stay in the second cache
constexpr int64_t registers = 64 << 10, threadsAtOnce = 2048, otherRegisters = 90;

struct Sizes {
  int64_t m, n, depthBytes, count;
};

double estimate(const Machine &machine, const TensorTile &tile, const Sizes &s) {
  int64_t blocks = llvm::divideCeil(s.m, tile.rows) * llvm::divideCeil(s.n, tile.columns) *
                   s.count * tile.slices;
  int64_t sums = tile.warpRows * tile.warpColumns / warpSize,
          steps = llvm::divideCeil(llvm::divideCeil(s.depthBytes, tile.depthBytes), tile.slices);
  int64_t resident =
      std::min({machine.sharedBytes / (tile.sharedBytes() + 1024), threadsAtOnce / tile.threads(),
                registers / (tile.threads() * std::min<int64_t>(255, sums + otherRegisters))});
  resident = std::max<int64_t>(1, resident);
  // Of the same bytes, elements of half the size are multiplied twice as fast.
  double products =
      double(tile.rows) * tile.columns * tile.depthBytes / 2 / machine.f16Products;
  // What a step copies, and what all warps read of it.
  double copied = (tile.rows + tile.columns) * tile.depthBytes;
  double taken = tile.warps() * (tile.warpRows + tile.warpColumns) * tile.depthBytes;
  double cacheBytes = std::min(cacheBytesPerCycle,
                               cacheBytesPerCycleOfAll / std::min(blocks, machine.multiprocessors));
  double step = std::max({products, copied / cacheBytes, (copied + taken) / sharedBytesPerCycle});
  auto wave = [&](int64_t together) {
    return together ? steps * std::max(stepLatency, together * step) + blockCycles + sumCycles * sums : 0;
  };
  int64_t own =
      llvm::divideCeil(blocks, machine.multiprocessors); // of the multiprocessor that has most
  double cycles = own / resident * wave(resident) + wave(own % resident);
  if (tile.slices > 1)
    cycles += launchCycles + 8.0 * tile.slices * s.m * s.n * s.count / partialBytesPerCycle;
  return cycles;
}

} // namespace

TensorTile TensorTile::choose(Operation *op, const Machine &machine, const MmaTypes &types,
                              nn::Dim m, nn::Dim n, nn::Dim depth, nn::Dim count, int64_t maxDepthBytes) {
  static constexpr TensorTile tiles[] = {{128, 256, 64, 64}, {128, 128, 64, 64}, {128, 64, 64, 32}, {64, 128, 32, 64},
                                         {64, 64, 32, 32},   {32, 64, 16, 32},   {16, 64, 16, 16}};
  auto sizeOf = [](nn::Dim d) -> int64_t {
    return d.isConst() ? std::max<int64_t>(1, d.value()) : 256;
  };
  bool known = m.isConst() && n.isConst() && depth.isConst() && count.isConst();
  Sizes sizes{sizeOf(m), sizeOf(n), sizeOf(depth) * types.elementBytes(), sizeOf(count)};
  auto wanted = op->getAttrOfType<DictionaryAttr>("nn.kernel");
  // Whether the operation asks for something else than this.
  auto refuses = [&](StringRef name, int64_t value) {
    auto number = wanted ? wanted.getAs<IntegerAttr>(name) : IntegerAttr();
    return number && number.getInt() != value;
  };
  TensorTile best;
  double bestCycles = -1;
  for (TensorTile tile : tiles) {
    // Long steps are as fast as short ones or faster, wherever there is something in them.
    tile.depthBytes = sizes.depthBytes > maxDepthBytes / 2 ? maxDepthBytes : 64;
    if (tile.sharedBytes() > machine.blockSharedBytes)
      tile.stages = 3;
    if (tile.sharedBytes() > machine.blockSharedBytes)
      continue;
    int64_t steps = llvm::divideCeil(sizes.depthBytes, tile.depthBytes);
    for (int64_t slices : {1, 2, 3, 4, 6, 8, 12, 16}) {
      // A slice has work for its stages, and none is empty.
      if (slices > 1 && (!known || steps < slices * tile.stages ||
                         int64_t(llvm::divideCeil(steps, slices)) * (slices - 1) >= steps))
        continue;
      tile.slices = slices;
      double cycles = estimate(machine, tile, sizes);
      if (refuses("rows", tile.rows) || refuses("columns", tile.columns) || refuses("slices", slices))
        cycles += std::numeric_limits<int64_t>::max();
      if (bestCycles < 0 || cycles < bestCycles) {
        best = tile;
        bestCycles = cycles;
      }
    }
  }
  return best;
}

} // namespace nnopt::cuda
