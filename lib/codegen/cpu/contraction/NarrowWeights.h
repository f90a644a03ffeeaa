//===- NarrowWeights.h - panels of weights in fewer bits --------*- C++ -*-===//
//
// The second operand of a product of f32 rows, packed into panels (Microkernel.h) as it is stored: weights become floats in
// registers, or a part of a panel is widened into scratch memory where many rows read it.
//
//   16-bit floats, 8-bit integers    one element a column and step
//   4-bit integers                   words of 32 bits, eight steps of one column from the low bits on
//
// With w = scale (q - zero), where scale and zero point may differ between columns and groups of the depth: few rows sum
// x (q - zero) of a group and multiply by the scale then; more rows multiply the weights, once for all of them.
//
// Where the rows are bytes, too, weights are unsigned bytes of which four neighbours along the depth share a lane, or two
// such words in one: byte b of a word of 4-bit weights holds step b in its low bits and step 4 + b in its high ones.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_NARROWWEIGHTS_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_NARROWWEIGHTS_H

#include "dialects/nn/NarrowWeights.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"

namespace nnopt::cpu {

/// The weights or the table that an operand is, where the kernel for them reads them as they are stored.
std::optional<nn::NarrowWeights> narrowWeights(Lowering &lowering, mlir::OpOperand &operand);

/// The rows of `op`, signed bytes, where the kernel for them reads them as they are.
nn::DequantizeOp byteRows(Lowering &lowering, nn::MatMulOp op);

class NarrowPanels {
public:
  enum class Rows { Floats, Bytes };
  NarrowPanels(Kernel &k, const nn::NarrowWeights &weights, const Tile &tile, Rows rows = Rows::Floats);

  /// Parts of the depth begin at multiples of this; 0: the depth cannot be divided.
  static int64_t partUnit(const nn::NarrowWeights &weights);
  /// Bytes of a column of the panels, parameters included.
  static double columnBytes(const nn::NarrowWeights &weights);

  /// Positions [firstDepth, firstDepth + depth) of the depth.
  struct Part {
    Ix firstDepth, depth;
  };
  /// acc[i * nv + j] += the sum over the part of rows[i] (pointers to its first position) times the weights of a panel.
  llvm::SmallVector<mlir::Value> accumulate(const PanelAt &at, const Part &part, llvm::ArrayRef<mlir::Value> rows,
                                            mlir::ValueRange acc);
  /// [i * nv + j]: the sum over the depth of rows[i] (pointers to bytes) times the weights of a panel. `sums`: pointers to
  /// the sum of each group of a row.
  llvm::SmallVector<mlir::Value> multiplyBytes(const PanelAt &at, llvm::ArrayRef<mlir::Value> rows,
                                               llvm::ArrayRef<mlir::Value> sums);
  /// Steps that share an element of the panels.
  int64_t stepsPerElement() const { return perRow; }
  /// Where the panel behind one of full width has the part in memory, and lines of 64 bytes of a step.
  mlir::Value nextPanel(const PanelAt &at, const Part &part);
  double linesPerStep() const { return tile.nr() * stored.getIntOrFloatBitWidth() / 8.0 / double(perRow) / 64; }
  /// Writes the weights of the part as floats, [depth][nv vectors], to `scratch`.
  void widen(const PanelAt &at, const Part &part, mlir::Value scratch);

private:
  void packValues(const nn::NarrowWeights &weights);
  /// Steps of `bits` bits in words, step s of a word from bit placeOf(s) on; `offset` is subtracted.
  void packWords(const nn::NarrowWeights &weights, int64_t bits, int64_t offset, llvm::function_ref<int64_t(int64_t)> placeOf);
  void packParameters(const nn::NarrowWeights &weights);
  /// What is loaded where a group begins.
  struct Parameters {
    llvm::SmallVector<mlir::Value> scales, zeros; // one for each vector, or none
  };
  Parameters parameters(const PanelAt &at, Ix group);
  /// The weights of one step in vector j of a panel as floats, without the scale; `row` as loadRow() gave it.
  mlir::Value value(mlir::Value row, int64_t step);
  mlir::Value loadRow(const PanelAt &at, mlir::Value panel, Ix index, int64_t j);
  mlir::Value panelAt(const PanelAt &at, Ix depth);
  /// Calls `body(group, first position within the part, steps)` for the groups of a part.
  using Group = llvm::function_ref<llvm::SmallVector<mlir::Value>(Ix, Ix, Ix, mlir::ValueRange)>;
  llvm::SmallVector<mlir::Value> forGroups(const Part &part, mlir::ValueRange init, Group body);

  Kernel &k;
  Tile tile;
  mlir::Type stored;         // element of the panels
  int64_t depth, group;
  int64_t perRow = 1;        // steps in one row of a panel
  Rows rowKind;
  Buffer panels;
  std::optional<Buffer> scales, zeros;
};

} // namespace nnopt::cpu

#endif
