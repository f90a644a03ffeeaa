//===- LinearForm.h - compositions and sums of convolutions -----*- C++ -*-===//
//
// Convolutions with zero padding, depthwise average pooling, affine maps of channels, the identity
// and (with no spatial dimension) matrix products with constant weights are all of one form. So are
// compositions and sums of them, under conditions, as structural re-parameterization uses them
// (Ding et al. 2021, "RepVGG", section 3.3; "Diverse Branch Block", transforms I to VI; Ding et al.
// 2019, "ACNet"; Vasu et al. 2023, "MobileOne"; Ding et al. 2024, "UniRepLKNet", section 3.1).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_LINEARFORM_H
#define NNOPT_PASSES_COMMON_LINEARFORM_H

#include "passes/common/ChannelMap.h"

namespace nnopt {

/// What the form does with positions and channels. Along spatial dimension i it reads
///   x[r * strides[i] + j * dilations[i] - padsBegin[i]],  0 <= j < kernel[i],
/// zero outside of x, for result position r. A matrix product has no spatial dimensions.
struct LinearGeometry {
  int64_t in = 0, out = 0, groups = 1;
  llvm::SmallVector<int64_t> kernel, dilations, strides, padsBegin, padsEnd;

  static LinearGeometry identity(int64_t channels, unsigned spatialRank);
  unsigned spatialRank() const { return kernel.size(); }
  int64_t taps() const;
  /// Multiply-adds for each position of the result.
  double cost() const { return double(out) * (in / groups) * taps(); }
};

/// second(first(x)), where the padding of `second` is already part of `first`.
LinearGeometry composeGeometry(const LinearGeometry &first, const LinearGeometry &second);
/// The smallest form that holds both, of the same strides and numbers of channels: windows are
/// aligned at the position that the padding puts them, taps lie on a common grid.
LinearGeometry uniteGeometry(const LinearGeometry &a, const LinearGeometry &b);

struct LinearForm : LinearGeometry {
  /// [out, in / groups, kernel...] and [out].
  std::vector<double> weights, bias;

  static LinearForm identity(int64_t channels, unsigned spatialRank);
};

/// A step from one value to the next that has the form.
struct LinearStep {
  enum Kind { Linear, AvgPool, Affine, Pad } kind;
  /// In program order, the last one computes the step's result.
  llvm::SmallVector<mlir::Operation *> ops;
  mlir::Value x;
  /// Linear, AvgPool; without their padding's effect on what comes before.
  LinearGeometry geometry;
  ChannelMap map;
  /// Pad: what each channel is padded with.
  llvm::SmallVector<int64_t> padsBegin, padsEnd;
  std::vector<double> padValues;
  /// Operations per element of the step's own result.
  double cost = 0;

  mlir::Operation *last() const { return ops.back(); }
  bool isMatMul() const { return kind == Linear && geometry.spatialRank() == 0; }
  /// Whether it works on channels in dimension 1 and positions behind.
  bool isSpatial() const {
    return kind == Pad || kind == AvgPool || (kind == Linear && !isMatMul());
  }
};

/// The step that computes `v`, or why there is none.
std::optional<LinearStep> readLinearStep(mlir::Value v, std::string &why);

/// Geometry of a step behind `form`; a reason when padding cuts windows. Updates form.
std::string applyGeometry(LinearGeometry &form, const LinearStep &step);
/// The same with numbers; a reason also when padding holds another value than `form` gives there.
std::string applyStep(LinearForm &form, const LinearStep &step);

/// The weights of `form` where `geometry`, which holds it, has them, plus those in `sum`, times
/// sign.
void addInto(LinearForm &sum, const LinearForm &form, double sign);
/// A form of that geometry with zeros.
LinearForm zeroForm(const LinearGeometry &geometry);

/// The operation of a form on x at the insertion point.
mlir::Value emitForm(mlir::OpBuilder &b, mlir::Location loc, const LinearForm &form, mlir::Value x,
                     mlir::Type resultType);

} // namespace nnopt

#endif
