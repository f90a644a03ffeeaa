//===- SparseRows.h - rows of a sparse product -----------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSEROWS_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSEROWS_H

#include "lib/codegen/cpu/contraction/ConvShape.h"
#include "lib/codegen/cpu/contraction/SparseWeights.h"

namespace nnopt::cpu {

/// The activation of a sparse product.
struct SparseRows {
  mlir::Value x;
  nn::Dim rows;
  /// Where rows are windows of images; null: row r begins at r * steps.
  const ConvShape *windows = nullptr;
  /// Of bytes: they are signed and move by 128; the zero point as it is in memory.
  bool signedBytes = false;
  int64_t zero = 0;
};

/// A block of rows in memory of the thread, transposed part by part: step s of row r lies at s * pitch + r.
class TransposedRows {
public:
  TransposedRows(Kernel &k, const SparseRows &in, const SparsePlan &plan, mlir::Value x, int64_t perStep);

  /// A part of the contracted dimension.
  struct Part {
    Ix firstTap, lastTap, firstStep, lastStep, index;
  };
  Part part(Ix index);
  /// Steps from the first to the last one.
  Ix steps(const Part &part) const;

  /// Memory that a block needs, and where it is.
  int64_t bytes() const;
  void setMemory(mlir::Value memory);
  /// Begins with another block of rows, of `vectors` vectors.
  void beginBlock(Ix firstRow, Ix vectors);
  /// Transposes a part of the block into `rows`. Returns whether all of it is finite (null: nobody asks).
  mlir::Value transpose(const Part &part, Ix firstRow, Ix vectors, Ix pitch);

  mlir::Value rows;

private:
  mlir::VectorType vector() { return k.vec(plan.lanes, element); }
  int64_t tableBytes() const { return plan.vectors * plan.lanes * 8; }
  mlir::Value pointerAt(Ix row) { return k.loadAt(pointers, row, pointers.getType(), 8); }
  void locateTap(Ix tap, Ix firstRow, Ix vectors);

  Kernel &k;
  const SparseRows &in;
  const SparsePlan &plan;
  mlir::Value x;
  int64_t perStep;
  mlir::Type element, rowElement; // transposed (f32, or i32 of four bytes), and in x
  mlir::Value pointers, zeroRow;  // of windows; what lies outside of an image
  llvm::SmallVector<mlir::Value> firsts; // of windows: first position in each dimension of each row of a block
};

} // namespace nnopt::cpu

#endif
