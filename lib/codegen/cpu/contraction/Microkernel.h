//===- Microkernel.h - register tiles shared by all contractions -*- C++ -*-===//
//
// Matrix product, convolution and transposed convolution are one computation here: a tile of MR
// result rows by NR result columns stays in registers while a loop over the contracted dimension
// loads NV vectors of the second operand, broadcasts one scalar of each row of the first, and
// multiplies and adds. The rows are pointers: a matrix gives row starts, a convolution gives input
// pixels. The second operand is a *panel*, [depth][NR], packed at compile time where it is constant.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_MICROKERNEL_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_MICROKERNEL_H

#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

class MatrixTiles;

/// A register tile: mr rows by nv vectors of `lanes` elements.
struct Tile {
  int64_t mr = 1, nv = 1, lanes = 1;
  int64_t nr() const { return nv * lanes; }
};

/// What chooseTile() looks at. Sizes that are not known are absent.
struct TileQuery {
  std::optional<int64_t> rows, columns, depth;
  int64_t elementBytes = 4;
  int64_t maxRows = 14;
  /// Whether vectors of half a register will do. Where they cost half as much, 24 columns are three of them.
  bool mayHalve = false;
};
/// Rows whose distance in memory is `pitchBytes` that L1 can hold at once: rows a multiple of 4 KiB
/// apart share one set.
int64_t maxRowsForPitch(const Target &target, std::optional<int64_t> pitchBytes);
/// The tile with the least estimated cycles for a shape: multiply-add throughput and latency, loads,
/// instruction slots, panel traffic from L2, and the waste in the last tile of each direction.
Tile chooseTile(const Target &target, const TileQuery &query);
/// The tile that `op` asks for in its attribute `nn.kernel = {mr = 6, nv = 4, lanes = 16}` (or no lanes: whole registers),
/// which tuning sets, where the query and the registers allow it, else chooseTile().
Tile chooseTile(Lowering &lowering, mlir::Operation *op, const TileQuery &query);

/// a * b + c: fused where the target can.
mlir::Value multiplyAdd(Kernel &k, mlir::Value a, mlir::Value b, mlir::Value c);

/// Packs `groups` matrices of n columns by taps x channels rows into panels
/// [group][ceil(n / NR)][taps][channels][NR]. The last panel of a group is only as many vectors wide
/// as it needs and zero-padded. Element (g, n, t, c) comes from
/// source[g * groupStride + n * columnStride + tapOffsets[t] + c * channelStride].
struct PanelSource {
  int64_t groups = 1, columns = 0, channels = 0;
  int64_t groupStride = 0, columnStride = 1, channelStride = 1;
  llvm::SmallVector<int64_t> tapOffsets = {0};
};
std::vector<char> packPanels(const PanelSource &source, llvm::ArrayRef<char> bytes, int64_t elementBytes,
                             const Tile &tile);

/// acc[i * nv + j] += sum over k < depth of rows[i][k * rowStep] * panel[k * pitch + j * lanes].
struct Accumulate {
  mlir::Type element; // of the panel; of the rows too, but for bytes and bf16
  llvm::SmallVector<mlir::Value> rows; // pointers
  Ix rowStep;                          // elements; null: 1
  mlir::Value panel;                   // pointer
  Ix pitch;                            // elements between panel rows; null: nv * lanes
  Ix depth;
  int64_t nv = 1, lanes = 1;
  /// One mask per vector, or null: for panels that are read in place and end inside a vector.
  llvm::ArrayRef<mlir::Value> masks;
  /// Where to prefetch one cache line per 2^prefetchShift steps (null: nowhere).
  mlir::Value prefetch;
  int64_t prefetchShift = 0;
  /// The panel is packed: its rows are aligned to whole vectors.
  bool aligned = true;
  /// Rows of bytes or bf16 (NarrowProduct.h): `depth`, a constant, counts elements of rows; a panel element is an i32
  /// that holds `perStep` elements of a column (4 signed bytes, 2 bf16), and a step multiplies as many of a row with them.
  int64_t perStep = 1;
  /// Of bytes. `movedRows`: bytes of rows move by 128 into the range that is multiplied. `rowSums`: the sum of each
  /// row's (moved) bytes is accumulated in mr more values behind the tile.
  bool movedRows = false, rowSums = false;
  /// Of narrow products: multiplies, and holds the sums, so that there are no accumulators; or null.
  MatrixTiles *tiles = nullptr;
  /// For tiles: bytes from each row to the next, where they are the same for all; else null.
  Ix rowPitch;
};
/// Returns the new accumulators.
llvm::SmallVector<mlir::Value> emitAccumulate(Kernel &k, const Accumulate &a, mlir::ValueRange acc);

/// The iteration over (outer, panel, tile of rows): task t is one tile of one panel, and the order
/// keeps a panel in cache while the rows stream by, block of rows by block of rows. Any contiguous
/// range of tasks can be run by itself, so a static partition balances to one tile.
struct PanelLoop {
  Tile tile;
  nn::Dim rows, columns, outer; // rows and columns of one of `outer` products
  int64_t blockTiles = 0;       // tiles of rows in a block; 0: all
  /// The `outer` products have the same rows: all of them run over a block of rows before the next one begins.
  bool sharedRows = false;
  /// Parts of the contracted dimension. Each runs over all panels of a block of rows before the next
  /// one begins; partial sums wait in the result.
  int64_t depthBlocks = 1;
  /// Panels are packed weights of this depth (elements per column): they are prefetched.
  int64_t packedDepth = 0;
  nn::Dim panels() const { return columns.ceilDiv(tile.nr()); }
  nn::Dim rowTiles() const { return rows.ceilDiv(tile.mr); }
  nn::Dim tasks() const { return outer * panels() * rowTiles(); }
};
/// Where the iteration is: a panel of one of the products.
struct PanelAt {
  Ix outer, panel, column; // column: first column of the panel
  Ix depthBlock;
  int64_t nv = 1;          // vectors in this panel
  /// Per vector: null where all lanes are columns.
  llvm::SmallVector<mlir::Value> masks;
  bool tail = false;
  Ix firstTile; // first tile of rows that is run here
  Ix tiles;     // how many
};
struct TileAt {
  Ix row;         // first row
  int64_t mr = 1; // rows in the tile
  Ix index;       // number of the tile among those run in this panel
};
/// Emits the loops. `enter` is called where a panel begins (in two versions where the last panel
/// differs) and returns a value that is handed to `body`, which is called in one version per number
/// of rows.
void emitPanelLoop(Kernel &k, const PanelLoop &loop, llvm::function_ref<llvm::SmallVector<mlir::Value>(PanelAt &)> enter,
                   llvm::function_ref<void(PanelAt &, TileAt &, mlir::ValueRange)> body);

/// Packs columns [at.column, +nv vectors) of the depth x n matrix at `b` (n x depth when transposed), whose
/// rows in memory are `pitch` elements apart, into `panel`. Columns past the end hold anything; where there are some, at.masks is set.
void packPanel(Kernel &k, mlir::Value b, Ix depth, Ix n, Ix pitch, bool transposed, mlir::Value panel, const PanelAt &at,
               int64_t lanes, mlir::Type element);

/// Tiles of rows in a block such that a block of the first operand takes half of L2, or 0 (all) when
/// the whole is known to fit. `rowBytes`: bytes of the first operand that a row reads alone.
int64_t chooseBlockTiles(const Target &target, const Tile &tile, std::optional<int64_t> rows, int64_t rowBytes,
                         std::optional<int64_t> panels);

/// Parts of the contracted dimension such that the rows of a block and two panels fit L2 together.
int64_t chooseDepthBlocks(const Target &target, std::optional<int64_t> rows, int64_t depth, int64_t elementBytes);

/// How slowly to prefetch the next panel so that it takes about as long as the tiles of this one.
int64_t choosePrefetchShift(const Tile &tile, std::optional<int64_t> rows);

/// Fewest tasks worth a thread, from the work of one task.
int64_t taskGrain(double flopsPerTask, double bytesPerTask);

/// A constant dimension's value.
inline std::optional<int64_t> constantDim(nn::Dim d) {
  if (d && d.isConst())
    return d.value();
  return std::nullopt;
}
/// Text of a dimension in a kernel's name: the constant, or `d`.
std::string dimText(nn::Dim d);

} // namespace nnopt::cpu

#endif
