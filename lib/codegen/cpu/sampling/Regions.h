//===- Regions.h - bins and samples of regions of interest ------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_SAMPLING_REGIONS_H
#define NNOPT_LIB_CODEGEN_CPU_SAMPLING_REGIONS_H

#include "lib/codegen/cpu/Float.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// One dimension of a region that nn.roi_align pools: where its bins begin, how large one is, and how many
/// samples each has.
struct RegionAxis {
  Float start, binSize;
  Ix samples;
};

/// The two neighbours of a sample along an axis with their weights. Nothing is sampled where `valid` is off.
struct RegionTap {
  mlir::Value valid;
  Ix low, high;
  Float lowWeight, highWeight;
};

/// The rule of one nn.roi_align, by axis: samples lie on a grid and are interpolated separably.
struct RoiAlignRule {
  Kernel &k;
  nn::RoiAlignOp op;
  Buffer x, rois, images;
  mlir::Type type; // of positions, weights and sums

  RoiAlignRule(Kernel &k, nn::RoiAlignOp op);

  /// The image a region lies in, and whether there is such an image.
  Ix imageOf(Ix region);
  mlir::Value isValid(Ix image) { return image.inRange(k.dim(x.dims[0])); }
  /// Axis 0 is the height, axis 1 the width.
  RegionAxis axis(Ix region, unsigned axis);
  /// Sample i of a bin.
  RegionTap tap(const RegionAxis &a, unsigned axis, Ix bin, Ix i);
  int64_t bins(unsigned axis) { return axis == 0 ? op.getHeight() : op.getWidth(); }
  nn::Dim size(unsigned axis) const { return x.dims[2 + axis]; }
};

} // namespace nnopt::cpu

#endif
