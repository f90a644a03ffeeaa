//===- LaneConv.h - the inner loops of a depthwise convolution --*- C++ -*-===//
//
// Lanes are output channels. A step computes several neighbouring outputs of a row, which share inputs and weights. Borders
// are separate code: rows outside are skipped by a branch, columns outside are left out of the code where the width is known
// and tested one output at a time where it is not.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_LANECONV_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_LANECONV_H

#include "lib/codegen/cpu/contraction/ConvShape.h"
#include "lib/codegen/cpu/contraction/Finish.h"

namespace nnopt::cpu {

/// Taps up to which all of them are unrolled (one row of taps is always unrolled).
constexpr int64_t maxUnrolledTaps = 32;
constexpr int64_t maxRowTaps = 64;

/// Chooses outputs per step: as many as registers hold beside the weights, in equal steps.
int64_t chooseWidth(const Target &target, const ConvShape &shape, std::optional<int64_t> count);

/// Emits rows of the result.
struct LaneConv {
  Kernel &k;
  const ConvShape &shape;
  mlir::Type element; // that is computed with
  int64_t lanes;
  Finish &finish;
  Buffer x;
  mlir::Value zero; // bytes: the zero point of x in all lanes; else null
  mlir::Value weights; // of the current channel block: [taps][inPerGroup][lanes]
  int64_t width = 1; // outputs per step

  /// Where x is not the whole input but its current rows, channel block by channel block: row y is row y % ringRows.
  int64_t ringRows = 0;

  // The current block of channels.
  Ix column;           // first output channel
  Ix inColumn;         // first input channel
  mlir::Value outMask; // null: all lanes
  llvm::SmallVector<mlir::Value> inMasks;
  llvm::SmallVector<mlir::Value> bias;
  llvm::SmallVector<mlir::Value> held; // weights kept in registers, or empty

  // The current row.
  struct TapRow {
    mlir::Value pointer; // at input column 0, first channel of the block
    mlir::Value valid;   // null: inside
  };
  llvm::SmallVector<Ix> leadingFirst; // first input position in each leading dimension
  Ix imageOffset, resultRow;            // result row of output column 0

  const ConvDim &last() const { return shape.dims.back(); }
  int64_t leadingTaps() const { return shape.taps() / last().taps; }
  int64_t inputVectors() const { return llvm::divideCeil(lanes / shape.outPerGroup * shape.inPerGroup, lanes); }
  mlir::VectorType vectorType() { return k.vec(lanes, element); }

  /// Elements between neighbours of a row of x.
  int64_t pixelPitch() const { return ringRows ? lanes : shape.inChannels(); }
  /// Loads the weights of the block, where the registers can hold them.
  void holdWeights();
  bool unrolled() const { return shape.taps() <= maxUnrolledTaps; }
  TapRow tapRow(llvm::ArrayRef<Ix> taps, bool checked);
  mlir::Value weight(Ix leadingTap, int64_t tap, int64_t channel);
  llvm::SmallVector<mlir::Value> inputs(mlir::Value pointer, Ix offset);
  mlir::Value variant(llvm::ArrayRef<mlir::Value> inputs, int64_t c);
  llvm::SmallVector<mlir::Value> tapRowProducts(const TapRow &row, Ix leadingTap, Ix first, int64_t count,
                                                llvm::function_ref<bool(int64_t, int64_t)> inside, mlir::ValueRange acc,
                                                bool checkColumns);
  void step(Ix output, int64_t count, bool checkRows, llvm::function_ref<bool(int64_t, int64_t)> inside, bool checkColumns);
  /// The row whose first input positions are `leadingFirst`.
  void row();
  void row(bool checkRows);
  void knownRow(bool checkRows, int64_t in, int64_t count);
  void unknownRow(bool checkRows);
};

} // namespace nnopt::cpu

#endif
