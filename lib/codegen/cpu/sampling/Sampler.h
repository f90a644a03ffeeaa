//===- Sampler.h - interpolation at positions that channels share -*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_SAMPLING_SAMPLER_H
#define NNOPT_LIB_CODEGEN_CPU_SAMPLING_SAMPLER_H

#include "lib/codegen/cpu/Float.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// How a position between elements is sampled.
struct SampleRule {
  nn::ResizeMode mode = nn::ResizeMode::linear;
  nn::SamplePadding padding = nn::SamplePadding::zeros;
  /// Where an image ends: at the centers of its outermost elements, or half an element further.
  bool alignCorners = true;

  /// Elements of one axis that a sample is made of.
  unsigned taps() const { return mode == nn::ResizeMode::nearest ? 1 : mode == nn::ResizeMode::linear ? 2 : 4; }
};

/// Samples planes (the spatial dimensions of x, for one image and channel) at a block of positions:
/// `fill` computes the elements and weights of a position once, by axis (interpolation is separable),
/// and `sample` uses them for every channel, with neighbouring positions in the lanes of vectors.
class Sampler {
public:
  /// Positions of a block.
  static constexpr int64_t kBlock = 128;

  /// `lanes` 0: scalar code, for every type.
  Sampler(Kernel &k, const Buffer &x, const SampleRule &rule, int64_t lanes);

  /// Position `p` of the block is at `position` (in elements, one for each spatial dimension); what is
  /// sampled is multiplied by `factor`, where given.
  void fill(Ix p, llvm::ArrayRef<Float> position, Float factor = {});
  /// Writes samples of the plane that begins at `plane` for positions [0, count) to out[to...].
  void sample(const Buffer &out, Ix to, Ix plane, Ix count);

  /// Whether samples are weighted sums, that is, not single elements.
  bool blends() const { return rule.mode != nn::ResizeMode::nearest; }
  /// Elements of a plane.
  Ix planeSize();

private:
  Float padPosition(Float c, Ix size);
  Ix padIndex(Ix i, Ix size);
  void fillTap(Ix p, unsigned axis, unsigned tap, Ix index, Float weight);
  Ix at(unsigned axis, unsigned tap, Ix p);
  mlir::Value element(mlir::Value offset, Ix plane, int64_t lanes);
  mlir::Value asSum(mlir::Value v);
  mlir::Value combine(unsigned axis, mlir::Value offset, Ix plane, Ix p, int64_t lanes);

  Kernel &k;
  Buffer x;
  SampleRule rule;
  unsigned spatial;
  int64_t lanes;
  mlir::Type type; // of weights and sums
  llvm::SmallVector<Ix> strides;
  /// [axis][tap][position]: offset in the plane (negative: outside of it) and weight.
  Buffer offsets, weights;
};

} // namespace nnopt::cpu

#endif
