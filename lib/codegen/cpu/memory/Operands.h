//===- Operands.h - elements of small integer operands ----------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_OPERANDS_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_OPERANDS_H

#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// The elements of a small integer tensor (starts, pads, ...) inside a kernel: expressions over
/// sizes where the shape analysis knows them, else loads when the kernel runs.
class IntOperand {
public:
  IntOperand(Kernel &k, mlir::Value v);
  Ix operator[](int64_t i) const;
  bool isKnown() const { return known; }
  /// The expression of element i, null where it is not known.
  nn::Dim expr(int64_t i) const { return known ? (*known)[i] : nn::Dim(); }

private:
  Kernel &k;
  const llvm::SmallVector<nn::Dim, 8> *known;
  Buffer buf;
};

/// The entries of a starts/pads/... operand by axis of a tensor of `rank` axes: entry i belongs to
/// axis axes[i] (negative: from the end), or i where `axes` is absent. Axes without entry get
/// `otherwise`. The axes may be known only when the kernel runs.
llvm::SmallVector<Ix> entriesByAxis(Kernel &k, mlir::Value axes, int64_t count, int64_t rank, Ix otherwise,
                                    llvm::function_ref<Ix(int64_t entry)> entry);
/// Number of elements of a one-dimensional operand, where it is constant.
std::optional<int64_t> operandSize(Lowering &l, mlir::Value v);

} // namespace nnopt::cpu

#endif
