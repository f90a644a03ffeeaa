//===- Dft.h - lines of a Fourier transform ---------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_IRREGULAR_DFT_H
#define NNOPT_LIB_CODEGEN_CPU_IRREGULAR_DFT_H

#include "lib/codegen/cpu/Float.h"
#include "lib/codegen/cpu/irregular/Helpers.h"

namespace nnopt::cpu {

/// One nn.dft being emitted: lines of complex numbers in f64 are read into scratch memory, transformed, and
/// written. The axis may be known only at run time.
class DftLines {
public:
  DftLines(nn::DFTOp op, Lowering &lowering);

  /// Gives sizes that are known only at run time their values. Before a kernel is built.
  static mlir::LogicalResult defineSizes(nn::DFTOp op, Lowering &lowering);
  /// The axis, where it is known.
  static std::optional<unsigned> knownAxis(nn::DFTOp op, Lowering &lowering);
  /// The length of the transform, where it is known; null else.
  static nn::Dim knownLength(nn::DFTOp op, Lowering &lowering);

  /// Builds the kernel and launches it. `transform` reads `re`, `im` (`length` elements each) and calls
  /// `writeResult` for each of the first `outputs` results.
  void emit(llvm::function_ref<void(DftLines &)> transform);
  void writeResult(Ix i, Float re, Float im);

  Kernel k;
  Ix length, outputs;
  /// The line, and cos and sin of 2 pi i / length (the sine negated for the forward transform).
  Buffer re, im, cosine, sine;

private:
  void locate();
  void readLine();

  nn::DFTOp op;
  Lowering &lowering;
  Buffer x, y;
  Ix inSize, outSize, inner; // sizes along the axis, elements behind it
  Ix inBase, outBase;
  Ix inParts; // 1 (real), 2 (complex)
  int64_t outParts;
};

} // namespace nnopt::cpu

#endif
