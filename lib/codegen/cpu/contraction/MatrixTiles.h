//===- MatrixTiles.h - contractions by the tile registers of AMX -*- C++ -*-===//
//
// AMX has eight registers of 16 rows by 64 bytes. One instruction adds to a tile of 16 x 16 sums the products of 16 rows of 64 bytes
// (32 bf16, 64 bytes) with 16 rows of a panel, whose 32-bit elements hold two bf16 or four bytes of a column: the panels of
// NarrowProduct.h as they are, their runs filled up to whole tiles.
//
//   accumulators   tiles 0 to 3: two by two where rows follow each other in memory at one distance, one by four else
//   rows           read from the operand where their distance is one; else, and where a run ends inside of a tile, from a copy
//   panel          the tiles that are left, in turns
//
// Sums go through memory of the thread; bias and epilogue are applied to one row of them at a time. What instructions do:
// Intel's Architecture Instruction Set Extensions, chapter 3. Rows and columns past the operand's are part of no tile: the number of
// rows is configured, and panels are filled with zero columns.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_MATRIXTILES_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_MATRIXTILES_H

#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"

namespace nnopt::cpu {

class MatrixTiles {
public:
  /// Rows of a tile, and bytes of one of its rows.
  static constexpr int64_t height = 16, rowBytes = 64;

  /// Whether a narrow product (NarrowProduct::matches()) is done by tiles: from a few rows, on columns that fill a tile, and on
  /// runs of `runLength` elements that fill half of one. Weights have no zero points.
  static bool suits(Lowering &lowering, const NarrowOperands &operands, std::optional<int64_t> rows, int64_t columns,
                    int64_t runLength);
  /// The tile of results. `isEven`: rows of the operand have one distance (Accumulate::rowPitch).
  static Tile resultTile(std::optional<int64_t> rows, int64_t columns, bool isEven);

  /// Configures the tiles of a kernel; call before any loop. `runLength`: elements of the longest run that is copied.
  MatrixTiles(Kernel &k, const NarrowProduct &narrow, mlir::Value x, const Tile &tile, int64_t runLength);

  /// Begins a tile of results: sums are 0.
  void begin(int64_t mr);
  /// Adds products to the sums (emitAccumulate() calls it).
  void accumulate(const Accumulate &a);
  /// Hands each row of the sums to `finish`, with what `narrow` adds.
  void end(Finish &finish, NarrowProduct &narrow, int64_t mr, llvm::function_ref<Ix(Ix)> rowOf, const PanelAt &at, Ix column);
  /// Gives the tile registers back; call behind all loops.
  void release();

private:
  int64_t rowTiles(int64_t mr) const { return llvm::divideCeil(mr, height); }
  int64_t sumsTile(int64_t row, int64_t column) const { return row * tile.nv + column; }
  void loadConfiguration(int64_t mr);
  void call(llvm::StringRef name, llvm::ArrayRef<int64_t> tiles, mlir::ValueRange operands = {});
  /// One step of 64 bytes of rows: `rows` points to the first row, rows are `pitch` bytes apart.
  void step(const Accumulate &a, mlir::Value rows, Ix pitch, Ix index);
  /// Copies bytes [64 index, + count) of all rows behind each other, filled with zeros.
  void copyRows(const Accumulate &a, Ix index, int64_t count);
  mlir::Value copyAt(Ix index, int64_t row);

  Kernel &k;
  Tile tile;
  bool pairs, signedRows;
  mlir::Value copies, sums;
};

} // namespace nnopt::cpu

#endif
