//===- TensorTileChoice.cpp - the tile that is estimated to be fastest ------===//

#include "lib/codegen/cuda/TensorTile.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

/// Estimates, in cycles. They are of the right size, which is all that a choice among few tiles
/// needs.
constexpr double stepLatency = 200;           // of copies, shared by the steps that are under way
constexpr double cacheBytesPerCycle = 48;     // from the second cache to a multiprocessor
constexpr double sharedBytesPerCycle = 128;   // to and from shared memory
constexpr double blockCycles = 1500;          // to fill the stages and to store the sums
constexpr double launchCycles = 2500;         // of a second kernel, in a graph
constexpr double partialBytesPerCycle = 2500; // of partial sums, which stay in the second cache
constexpr int64_t registers = 64 << 10, threadsAtOnce = 2048, otherRegisters = 90;

struct Sizes {
  int64_t m, n, steps, count;
};

double estimate(const Machine &machine, const MmaTypes &types, const TensorTile &tile,
                const Sizes &s) {
  int64_t blocks = llvm::divideCeil(s.m, tile.rows) * llvm::divideCeil(s.n, tile.columns) *
                   s.count * tile.slices;
  int64_t sums = tile.warpRows * tile.warpColumns / warpSize,
          steps = llvm::divideCeil(s.steps, tile.slices);
  int64_t resident =
      std::min({machine.sharedBytes / (tile.sharedBytes() + 1024), threadsAtOnce / tile.threads(),
                registers / (tile.threads() * std::min<int64_t>(255, sums + otherRegisters))});
  resident = std::max<int64_t>(1, resident);
  // Of the same bytes, elements of half the size are multiplied twice as fast.
  double products =
      double(tile.rows) * tile.columns * TensorTile::depthBytes / 2 / machine.f16Products;
  // What a step copies, and what all warps read of it.
  double copied = (tile.rows + tile.columns) * TensorTile::depthBytes;
  double taken = tile.warps() * (tile.warpRows + tile.warpColumns) * TensorTile::depthBytes;
  double step =
      std::max({products, copied / cacheBytesPerCycle, (copied + taken) / sharedBytesPerCycle});
  auto wave = [&](int64_t together) {
    return together ? steps * std::max(stepLatency, together * step) + blockCycles : 0;
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
                              nn::Dim m, nn::Dim n, nn::Dim depth, nn::Dim count) {
  static constexpr TensorTile tiles[] = {{128, 256, 64, 64}, {128, 128, 64, 64}, {128, 64, 64, 32},
                                         {64, 128, 32, 64},  {64, 64, 32, 32},   {32, 64, 16, 32},
                                         {16, 64, 16, 16}};
  auto sizeOf = [](nn::Dim d) -> int64_t {
    return d.isConst() ? std::max<int64_t>(1, d.value()) : 256;
  };
  bool known = m.isConst() && n.isConst() && depth.isConst() && count.isConst();
  Sizes sizes{sizeOf(m), sizeOf(n),
              int64_t(llvm::divideCeil(sizeOf(depth) * types.elementBytes(), depthBytes)),
              sizeOf(count)};
  auto wanted = op->getAttrOfType<DictionaryAttr>("nn.kernel");
  // Whether the operation asks for something else than this.
  auto refuses = [&](StringRef name, int64_t value) {
    auto number = wanted ? wanted.getAs<IntegerAttr>(name) : IntegerAttr();
    return number && number.getInt() != value;
  };
  TensorTile best;
  double bestCycles = -1;
  for (TensorTile tile : tiles) {
    if (tile.sharedBytes() > machine.blockSharedBytes)
      continue;
    for (int64_t slices : {1, 2, 3, 4, 6, 8, 12, 16}) {
      // A slice has work for its stages, and none is empty.
      if (slices > 1 &&
          (!known || sizes.steps < slices * stages ||
           llvm::divideCeil(sizes.steps, slices) * (slices - 1) >= uint64_t(sizes.steps)))
        continue;
      tile.slices = slices;
      double cycles = estimate(machine, types, tile, sizes);
      if (refuses("rows", tile.rows) || refuses("columns", tile.columns) ||
          refuses("slices", slices))
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
