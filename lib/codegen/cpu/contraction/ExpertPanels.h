//===- ExpertPanels.h - matrices of experts in register tiles ---*- C++ -*-===//
//
// Rows of any places times a matrix of constant weights that was chosen for them: shared by nn.moe and
// nn.grouped_matmul.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_EXPERTPANELS_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_EXPERTPANELS_H

#include "lib/codegen/cpu/contraction/Microkernel.h"

namespace nnopt::cpu {

/// Constant matrices [experts, columns, depth], packed to panels.
struct ExpertPanels {
  Buffer buffer;
  int64_t columns, depth;
  Tile tile;

  static bool fits(mlir::Value w, Lowering &lowering) {
    return lowering.constant(w) && llvm::all_of(lowering.dims(w), [](nn::Dim d) {
             return d.isConst() && d.value() > 0;
           });
  }
  ExpertPanels(Kernel &k, mlir::Value w, Tile tile) : tile(tile) {
    const nn::Dims &dims = k.lowering.dims(w);
    mlir::Type element = nn::elementTypeOf(w.getType());
    int64_t bytes = nn::elementBytes(element);
    columns = dims[1].value();
    depth = dims[2].value();
    PanelSource source;
    source.groups = dims[0].value();
    source.columns = columns;
    source.channels = depth;
    source.groupStride = columns * depth;
    source.columnStride = depth;
    source.channelStride = 1;
    std::vector<char> packed = packPanels(source, k.lowering.constant(w)->bytes(), bytes, tile);
    buffer = k.weights(packed, element, {int64_t(packed.size()) / bytes});
  }
  /// Columns with those that fill the last vector.
  int64_t padded() const { return llvm::alignTo(columns, tile.lanes); }

  /// Calls `body` with the first column and the number of vectors of each panel from `low` to
  /// `high`, which begin panels or are the end.
  void forEach(Kernel &k, Ix low, Ix high, llvm::function_ref<void(Ix, int64_t)> body) const {
    int64_t whole = columns / tile.nr() * tile.nr();
    k.loop(low, high.min(k.c(whole)), tile.nr(), [&](Ix column) { body(column, tile.nv); });
    if (whole < columns)
      k.ifThen(k.c(whole) < high, [&] { body(k.c(whole), (padded() - whole) / tile.lanes); });
  }
  void forEach(Kernel &k, llvm::function_ref<void(Ix, int64_t)> body) const {
    forEach(k, k.c(0), k.c(columns), body);
  }
  /// The mask for a vector of a panel, null where all of it are columns.
  mlir::Value mask(Kernel &k, Ix column, int64_t vector, int64_t vectors) const {
    int64_t rest = columns % tile.lanes;
    bool isLast = column.constant() == padded() - vectors * tile.lanes && vector == vectors - 1;
    return isLast && rest ? k.mask(k.c(rest), tile.lanes) : mlir::Value();
  }
  /// Adds to `start` the products of rows (pointers) with the panel from `column` on of an expert.
  llvm::SmallVector<mlir::Value> accumulate(Kernel &k, Ix expert, Ix column, int64_t vectors,
                                            llvm::ArrayRef<mlir::Value> rows,
                                            mlir::ValueRange start) const {
    Accumulate inner;
    inner.element = buffer.valueType;
    inner.nv = vectors;
    inner.lanes = tile.lanes;
    inner.rows.assign(rows.begin(), rows.end());
    inner.depth = k.c(depth);
    inner.panel = k.ptrAdd(buffer.ptr, (expert * padded() + column) * depth, buffer.valueType);
    return emitAccumulate(k, inner, start);
  }
};

/// Calls `body` with the first and the number of places: `height` at a time, then what is left in
/// pieces of powers of two.
inline void forPieces(Kernel &k, Ix count, int64_t height,
                      llvm::function_ref<void(Ix, int64_t)> body) {
  Ix whole = count / height * height, rest = count - whole;
  k.loop(k.c(0), whole, height, [&](Ix i) { body(i, height); });
  for (int64_t piece = llvm::bit_floor(uint64_t(height - 1)); piece >= 1; piece /= 2)
    k.ifThen(k.c(0) < rest / piece % 2, [&] {
      body(whole + rest / (2 * piece) * (2 * piece), piece);
    });
}

/// The tile for matrices of `columns`: two vectors wide, since experts are narrow and get few rows
/// each.
inline Tile expertTile(const Target &target, int64_t columns, int64_t elementBytes) {
  Tile tile;
  tile.lanes = target.lanes(elementBytes);
  tile.nv = columns > tile.lanes ? 2 : 1;
  tile.mr = target.vectorRegisters >= 32 ? 8 : 4;
  return tile;
}

} // namespace nnopt::cpu

#endif
