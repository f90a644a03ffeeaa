//===- NarrowProduct.h - contractions of 8-bit integers and bf16 -*- C++ -*-===//
//
// Instructions that multiply several neighbours of two 32-bit lanes and add all products to a lane: as many elements
// along the contracted dimension are one element of a panel, so tiles, panels and loops are those of 32-bit floats with
// a part of the depth (Microkernel.h).
//
// bf16: two to a lane, products added in f32 (AVX512-BF16's vdpbf16ps, which takes denormals for zeros).
//
// Bytes: sum (x - xZero) (w - wZero) in i32 by the instruction that multiplies four unsigned bytes with four signed ones
// and adds all four products to an i32 lane (VNNI's vpdpbusd; exact replacements where there is none). AArch64's sdot
// multiplies signed bytes with signed ones.
//
// Unsigned w is moved by 128 into the signed range, x into the one that the instruction takes, and so are their zero
// points; then
//
//   sum (x - xZero)(w - wZero) = sum x w  -  xZero sum (w - wZero)  -  wZero sum x
//
// The second term is known per column at compile time but for xZero and begins the accumulator with the bias. The
// third is nothing where weights are symmetric, as they nearly always are; else the sums of rows are accumulated
// beside the tile.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_NARROWPRODUCT_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_NARROWPRODUCT_H

#include "lib/codegen/cpu/contraction/Microkernel.h"

namespace nnopt::cpu {

/// Whether bytes of rows are multiplied as signed numbers, else as unsigned ones.
inline bool multipliesSignedRows(const Target &target) { return target.isAArch64; }
/// acc + the sum of the four products of bytes of x (multipliesSignedRows()) with signed bytes of w, lane by lane; all
/// vectors of i32.
mlir::Value addByteProducts(Kernel &k, mlir::Value acc, mlir::Value x, mlir::Value w);
/// An i32 whose lowest `count` bytes are `byte`, the others 0.
mlir::Value byteMask(Kernel &k, int64_t count, uint8_t byte);
/// acc + the sum of the two products of bf16 pairs in the i32 lanes of x and w; acc is a vector of f32.
mlir::Value addPairProducts(Kernel &k, mlir::Value acc, mlir::Value x, mlir::Value w);
/// `count` (1 to 4) bytes from row + 4 * index as an i32 with zeros above; `moved` by 128, from one range to the other.
mlir::Value loadRowBytes(Kernel &k, mlir::Value row, Ix index, int64_t count, bool moved);

/// The operands of a contraction; zero points, of bytes, may be null.
struct NarrowOperands {
  mlir::Value x, w, xZero, wZero;
};
inline NarrowOperands narrowOperands(nn::ConvOp op) { return {op.getX(), op.getW(), op.getXZero(), op.getWZero()}; }
inline NarrowOperands narrowOperands(nn::MatMulOp op) { return {op.getA(), op.getB(), op.getAZero(), op.getBZero()}; }

class NarrowProduct {
public:
  /// bf16 with constant weights that accumulates in f32, or bytes with constant weights, one zero point of x, constant
  /// zero points of w (one, or one for each column), an i32 bias, and a target with the instructions.
  static bool matches(Lowering &lowering, const NarrowOperands &operands, mlir::Value bias, mlir::Value result,
                      mlir::Region &epilogue);

  /// What multiplies: vectors, or tiles (MatrixTiles.h), for which runs are filled up to 16 steps.
  enum class Unit { Vectors, Tiles };

  /// Reads operands; call before any loop. `source` describes the weights as for packPanels(); `tapsPerRun`
  /// neighbouring taps are contracted as one run of channels.
  NarrowProduct(Kernel &k, const NarrowOperands &operands, const PanelSource &source, int64_t tapsPerRun, const Tile &tile,
                Unit unit);

  /// Steps (i32 elements of a panel) of one run of channels, which are of type `element`.
  static int64_t steps(mlir::Type element, int64_t run, Unit unit) {
    int64_t steps = llvm::divideCeil(run, 32 / element.getIntOrFloatBitWidth());
    return unit == Unit::Tiles ? llvm::alignTo(steps, 16) : steps;
  }
  int64_t steps(mlir::Type element, int64_t run) const { return steps(element, run, unit); }
  /// Sets what emitAccumulate() needs to know.
  void configure(Accumulate &accumulate) const;
  /// Adds to the accumulators of a tile what they begin with besides the bias, and appends the row sums.
  void start(llvm::SmallVectorImpl<mlir::Value> &acc, int64_t mr, Ix column, int64_t nv, llvm::ArrayRef<mlir::Value> masks);
  /// Takes the row sums off again and subtracts their share.
  void finish(llvm::SmallVectorImpl<mlir::Value> &acc, int64_t mr, Ix column, int64_t nv, llvm::ArrayRef<mlir::Value> masks);

  /// The element of x, as bits, that stands for 0.
  mlir::Value zeroElement();
  /// `count` of them in memory.
  mlir::Value zeroRow(int64_t count);
  /// Of the accumulators: i32 or f32.
  mlir::Type accumulator() const;

  Buffer panels;
  int64_t packedBytes = 0;

private:
  void packPairs(const nn::ConstantData &weights, const PanelSource &source, int64_t tapsPerRun);
  /// Packs columns of `runs` runs of `runSteps` i32 elements each into panels; `source` has groups and columns.
  void packRuns(llvm::ArrayRef<char> columns, const PanelSource &source, int64_t runs, int64_t runSteps);
  mlir::Value columnVector(const Buffer &buffer, Ix column, mlir::Value mask);

  Kernel &k;
  Tile tile;
  Unit unit;
  bool pairs = false; // bf16
  bool movedRows = false;
  /// The zero point of x as it is in memory, where it is known; else it is read.
  std::optional<int64_t> knownZero;
  Buffer zero;
  /// Per column: sum of (w - wZero), times -xZero where that is known.
  Buffer startTerm;
  bool hasStartTerm = false;
  /// Minus the zero point of x, moved, where it is not known.
  mlir::Value negativeZero;
  /// Per column: wZero; only where one is not 0.
  std::optional<Buffer> weightZeros;
};

} // namespace nnopt::cpu

#endif
