//===- ConvShape.h - sizes of a convolution ---------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_CONVSHAPE_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_CONVSHAPE_H

#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// One spatial dimension of a convolution that gathers: result position q (of `count`) lies at
/// outPhase + q * outStep in the result and sums, over taps j, input positions
/// q * inStep + first + j * tapStep that are inside [0, in).
struct ConvDim {
  nn::Dim in, out, count;
  int64_t inStep = 1, first = 0, tapStep = 1, taps = 1;
  int64_t outStep = 1, outPhase = 0;
  /// Whether some input position can be outside.
  bool checked = true;
};

/// A convolution or transposed convolution with its operands in channels-last or channels-first
/// layout.
struct ConvShape {
  ConvShape(nn::ConvOp op, Lowering &lowering);
  /// One phase of a transposed convolution: the results whose positions are `phase` modulo the
  /// strides. Only taps that fall on input positions are left; `tapIndex` names them.
  ConvShape(nn::ConvTransposeOp op, Lowering &lowering, llvm::ArrayRef<int64_t> phase);
  /// All phases of a transposed convolution whose windows do not overlap, with one tap each for the same input
  /// positions; nothing for others.
  static std::optional<ConvShape> ofAllPhases(nn::ConvTransposeOp op, Lowering &lowering);

  nn::Dim batch;
  llvm::SmallVector<ConvDim, 3> dims;
  int64_t groups = 1, inPerGroup = 1, outPerGroup = 1; // channels
  /// Results for each position, in row-major order over outStep, when this is all phases; `tapIndex` is that of the first.
  int64_t phases = 1;
  bool channelsLast = false;
  /// Position of each tap in the kernel (row-major over the kernel's dimensions), in the order in
  /// which taps are visited (row-major over dims).
  llvm::SmallVector<int64_t> tapIndex;
  int64_t kernelSize = 1; // product of the kernel's dimensions

  int64_t inChannels() const { return groups * inPerGroup; }
  int64_t outChannels() const { return groups * outPerGroup; }
  int64_t taps() const { return tapIndex.size(); }
  /// Whether result positions are the input's positions: one tap, no step, nothing outside.
  bool isPlain() const;
  /// Result positions (batch included).
  nn::Dim positions(Lowering &lowering) const;
  nn::Dim flops(Lowering &lowering) const;
  /// `56x56x64_128_3x3` and what else tells kernels apart for a reader.
  std::string text() const;
};

} // namespace nnopt::cpu

#endif
