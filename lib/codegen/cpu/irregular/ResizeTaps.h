//===- ResizeTaps.h - where resize samples its input ------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_IRREGULAR_RESIZETAPS_H
#define NNOPT_LIB_CODEGEN_CPU_IRREGULAR_RESIZETAPS_H

#include "lib/codegen/cpu/irregular/Helpers.h"

namespace nnopt::cpu {

/// A sample of one axis: its position in the input (clamped to the input) and its weight (f32).
struct Tap {
  Ix index;
  mlir::Value weight;
};

/// The sampling rule of one nn.resize, by axis: interpolation is separable.
class ResizeTaps {
public:
  /// Finds the axes that change. Nothing is emitted.
  ResizeTaps(nn::ResizeOp op, Lowering &lowering);

  /// Axes along which the result differs from the input, ascending.
  llvm::ArrayRef<unsigned> axes() const { return resized; }
  /// Samples for each axis and result position: 1 for nearest, 2 for linear, 4 for cubic.
  unsigned count();

  /// How many neighbours of the result along `axis` are each element of the input, one after the other: of nearest with an integral
  /// scale. 0 where it is not so.
  int64_t repeats(unsigned axis);

  /// Gives sizes that are known only at run time their values. Before any kernel is built.
  mlir::LogicalResult defineSizes();
  /// Reads the operands of the kernel and the scales of all changing axes.
  void prepare(Kernel &k);
  /// Whether a part of the input is resized, beyond whose ends there is the extrapolation value.
  bool crops();
  /// Whether result position `o` lies beyond the ends of `axis`.
  mlir::Value isOutside(Kernel &k, unsigned axis, Ix o);
  /// The position in the input that result position `o` stands for, and the factor between the two.
  mlir::Value coordinate(Kernel &k, unsigned axis, Ix o);
  mlir::Value scale(unsigned axis) const { return scales[axis]; }
  /// The samples of result position `o` along `axis`. Weights are null for nearest.
  llvm::SmallVector<Tap, 4> taps(Kernel &k, unsigned axis, Ix o);

private:
  mlir::Value scaleOf(Kernel &k, unsigned axis);

  nn::ResizeOp op;
  Lowering &lowering;
  nn::Dims in, out;
  std::optional<nn::ConstantData> constantScales;
  llvm::SmallVector<unsigned, 4> resized;
  llvm::SmallVector<mlir::Value, 6> scales, begins, ends; // by axis, null where it does not change
};

/// Calls `leaf` for every combination of one tap of each axis with the combined input offset and
/// weight (null when no axis has weights).
void forCombinations(Kernel &k, llvm::ArrayRef<llvm::SmallVector<Tap, 4>> axisTaps, llvm::ArrayRef<Ix> strides, Ix offset,
                     mlir::Value weight, llvm::function_ref<void(Ix, mlir::Value)> leaf);

} // namespace nnopt::cpu

#endif
